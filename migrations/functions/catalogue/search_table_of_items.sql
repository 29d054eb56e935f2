-- One kind: the triggers that keep sugang.{kind}_search.

create or replace function sugang.{kind}_search_inserted() returns trigger language plpgsql as $$
begin
    insert into sugang.{kind}_search (item_id, created_at, start_at, end_at, search_vector)
        select id, created_at, start_at, end_at, sugang.search_vector(title, description)
        from changed where not hidden order by created_at;
    return null;
end $$;
create or replace function sugang.{kind}_search_updated() returns trigger language plpgsql as $$
begin
    if old.id <> new.id or new.hidden then delete from sugang.{kind}_search where item_id = old.id; end if;
    if new.hidden then return null; end if;
    insert into sugang.{kind}_search as s (item_id, created_at, start_at, end_at, search_vector)
        values (new.id, new.created_at, new.start_at, new.end_at, sugang.search_vector(new.title, new.description))
        on conflict (item_id) do update
        set created_at = excluded.created_at, start_at = excluded.start_at, end_at = excluded.end_at,
            search_vector = excluded.search_vector;
    return null;
end $$;
-- Only periods: what is searched stays. Joins in another way would read the whole table for one row.
create or replace function sugang.{kind}_search_moved() returns trigger language plpgsql
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update sugang.{kind}_search s
        set created_at = moved.created_at, start_at = moved.start_at, end_at = moved.end_at
        from (select id, created_at, start_at, end_at from added
              except select id, created_at, start_at, end_at from removed) moved
        where s.item_id = moved.id
          and (s.created_at, s.start_at, s.end_at) is distinct from (moved.created_at, moved.start_at, moved.end_at);
    return null;
end $$;
create or replace function sugang.{kind}_search_deleted() returns trigger language plpgsql as $$
begin
    delete from sugang.{kind}_search where item_id in (select id from changed);
    return null;
end $$;
create or replace function sugang.{kind}_search_truncated() returns trigger language plpgsql as $$
begin
    truncate sugang.{kind}_search;
    return null;
end $$;

create or replace trigger sugang_search_table_insert after insert on {items} referencing new table as changed
    for each statement execute function sugang.{kind}_search_inserted();
-- The columns of the words are compared only where a statement sets them: a description may be long.
create or replace trigger sugang_search_table_update after update of id, title, description, hidden on {items}
    for each row
    when ((old.id, old.title, old.description, old.hidden)
          is distinct from (new.id, new.title, new.description, new.hidden))
    execute function sugang.{kind}_search_updated();
-- As in bucket_counts_of_items.sql.
create or replace trigger sugang_search_table_move after update on {items}
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.{kind}_search_moved();
create or replace trigger sugang_search_table_nested_move after update of created_at, start_at, end_at on {items}
    for each row
    when (pg_trigger_depth() > 0
          and (old.created_at, old.start_at, old.end_at) is distinct from (new.created_at, new.start_at, new.end_at))
    execute function sugang.{kind}_search_updated();
create or replace trigger sugang_search_table_delete after delete on {items} referencing old table as changed
    for each statement execute function sugang.{kind}_search_deleted();
create or replace trigger sugang_search_table_truncate after truncate on {items}
    for each statement execute function sugang.{kind}_search_truncated();
