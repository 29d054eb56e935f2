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

create or replace function sugang.log_{kind}_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        perform sugang.log_change('{kind}', old.id, 'deleted', sugang.{kind}_fields(old), null);
        return null;
    end if;
    -- A registration sets none of the fields.
    if pg_trigger_depth() > 1 and new.registration_count <> old.registration_count then return null; end if;
    if (old.title, old.description, old.price, old.capacity, old.start_at, old.end_at, old.hidden)
       is distinct from
       (new.title, new.description, new.price, new.capacity, new.start_at, new.end_at, new.hidden) then
        perform sugang.log_change('{kind}', new.id, 'edited', sugang.{kind}_fields(old), sugang.{kind}_fields(new));
    end if;
    return null;
end $$;
-- Without a list of columns, which would keep an operator from changing their types.
create or replace trigger sugang_change_log after update or delete on {items}
    for each row execute function sugang.log_{kind}_change();
