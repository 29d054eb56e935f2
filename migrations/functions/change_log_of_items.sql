-- One kind: the editable fields of its items, their version, and the triggers that log their changes.

-- The editable fields, in a form that depends on no setting of the session.
create or replace function sugang.{kind}_fields(i {items}) returns jsonb language sql stable as $$
    select jsonb_build_object('title', i.title, 'description', i.description, 'price', i.price::text,
                              'capacity', i.capacity, 'start_at', sugang.iso(i.start_at),
                              'end_at', sugang.iso(i.end_at), 'hidden', i.hidden)
$$;

-- The version of an item, its ETag: a digest of the editable fields, so an edit by any other program changes it too.
create or replace function sugang.{kind}_version(i {items}) returns text language sql stable as $$
    select substr(encode(sha256(convert_to(sugang.{kind}_fields(i)::text, 'UTF8')), 'hex'), 1, 32)
$$;

create or replace function sugang.{kind}_version_of_id(p_id bigint) returns text language sql stable as $$
    select sugang.{kind}_version(i) from {items} i where id = p_id
$$;

-- Once for a statement: a file of items, or a demo catalogue, is created in few of them.
create or replace function sugang.log_{kind}_creation() returns trigger language plpgsql as $$
begin
    insert into sugang.change_log (subject, subject_id, action, actor_id, request_id)
        select '{kind}', id, 'created', sugang.actor(), sugang.request() from added;
    return null;
end $$;
create or replace trigger sugang_change_log_insert after insert on {items}
    referencing new table as added
    for each statement execute function sugang.log_{kind}_creation();

-- Of the editable fields, those in which an item differs from another version of it.
create or replace function sugang.{kind}_changes(i {items}, other {items}) returns jsonb language sql stable as $$
    select case when i.title <> other.title then jsonb_build_object('title', i.title) else '{}' end
        || case when i.description is distinct from other.description
                then jsonb_build_object('description', i.description) else '{}' end
        || case when i.price <> other.price then jsonb_build_object('price', i.price::text) else '{}' end
        || case when i.capacity is distinct from other.capacity
                then jsonb_build_object('capacity', i.capacity) else '{}' end
        || case when i.start_at <> other.start_at
                then jsonb_build_object('start_at', sugang.iso(i.start_at)) else '{}' end
        || case when i.end_at <> other.end_at
                then jsonb_build_object('end_at', sugang.iso(i.end_at)) else '{}' end
        || case when i.hidden <> other.hidden then jsonb_build_object('hidden', i.hidden) else '{}' end
$$;

-- An item that gets another id is logged as one that goes and one that comes: nothing but the id says which versions
-- belong together. Without jit = off, PostgreSQL compiles the expressions for longer than it evaluates them.
create or replace function sugang.log_{kind}_edits() returns trigger language plpgsql
set work_mem = '64MB' set jit = off as $$
begin
    -- Without offset 0, each mention of a field would make a row of all columns.
    insert into sugang.change_log (subject, subject_id, action, before, after, actor_id, request_id)
        select '{kind}', id, action, before,
               case action when 'edited' then sugang.{kind}_changes(n.item, o.item) end, actor, request
        from (select id, r::{items} as item from removed r offset 0) o
        full join (select id, a::{items} as item from added a offset 0) n using (id)
        cross join (select sugang.actor() as actor, sugang.request() as request offset 0) by
        cross join lateral (
            select case when o.id is null then 'created' when n.id is null then 'deleted' else 'edited' end as action,
                   case when n.id is null then sugang.{kind}_fields(o.item)
                        when o.id is not null then sugang.{kind}_changes(o.item, n.item) end as before offset 0) c
        where before is distinct from '{}'
        order by id;
    return null;
end $$;
-- Once for a statement, except within a trigger, as in bucket_counts_of_items.sql. Neither it nor the trigger of a row
-- names columns, which would keep an operator from changing their types.
create or replace trigger sugang_change_log_update after update on {items}
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.log_{kind}_edits();

-- Within a trigger, for one row: see edited_items.sql.
create or replace function sugang.log_{kind}_nested_edit(i_old {items}, i_new {items}) returns void
language plpgsql as $$
declare
    before jsonb;
begin
    if i_new.id <> i_old.id then
        perform sugang.log_change('{kind}', i_old.id, 'deleted', sugang.{kind}_fields(i_old), null);
        perform sugang.log_change('{kind}', i_new.id, 'created', null, null);
        return;
    end if;
    before := sugang.{kind}_changes(i_old, i_new);
    if before <> '{}' then
        perform sugang.log_change('{kind}', i_new.id, 'edited', before, sugang.{kind}_changes(i_new, i_old));
    end if;
end $$;

create or replace function sugang.log_{kind}_deletion() returns trigger language plpgsql as $$
begin
    insert into sugang.change_log (subject, subject_id, action, before, actor_id, request_id)
        select '{kind}', id, 'deleted', sugang.{kind}_fields(r), sugang.actor(), sugang.request() from removed r;
    return null;
end $$;
create or replace trigger sugang_change_log_delete after delete on {items}
    referencing old table as removed
    for each statement execute function sugang.log_{kind}_deletion();
