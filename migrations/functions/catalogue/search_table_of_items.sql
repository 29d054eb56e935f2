-- One kind: the triggers that keep sugang.{kind}_search, and record what a search sees of it in sugang.search_changes.
-- Periods stand with the items alone: to move one would otherwise write all words of the item to an index again.

create or replace function sugang.{kind}_search_inserted() returns trigger language plpgsql as $$
begin
    insert into sugang.{kind}_search (item_id, created_at, search_vector)
        select id, created_at, sugang.search_vector(title, description) from changed where not hidden
        order by created_at;
    if sugang.records_search_changes('{kind}', (select count(*) from (
            select from changed where not hidden limit 1001) c)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select '{kind}', 1, id, created_at, (select search_vector from sugang.{kind}_search where item_id = id),
                   start_at, end_at
            from changed where not hidden;
    end if;
    return null;
end $$;
create or replace function sugang.{kind}_search_updated() returns trigger language plpgsql as $$
declare
    -- A changed id counts as too many: sugang.record_{kind}_moves() takes the id for the same item before and after.
    is_recorded boolean := sugang.records_search_changes('{kind}',
        (2 - old.hidden::integer - new.hidden::integer) * case when old.id = new.id then 1 else 1001 end);
begin
    if is_recorded and not old.hidden then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select '{kind}', -1, old.id, old.created_at, search_vector, old.start_at, old.end_at
            from sugang.{kind}_search where item_id = old.id;
    end if;
    if old.id <> new.id or new.hidden then delete from sugang.{kind}_search where item_id = old.id; end if;
    if new.hidden then return null; end if;
    insert into sugang.{kind}_search as s (item_id, created_at, search_vector)
        values (new.id, new.created_at, sugang.search_vector(new.title, new.description))
        on conflict (item_id) do update
        set created_at = excluded.created_at, search_vector = excluded.search_vector;
    if is_recorded then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select '{kind}', 1, new.id, new.created_at, search_vector, new.start_at, new.end_at
            from sugang.{kind}_search where item_id = new.id;
    end if;
    return null;
end $$;
-- Only the place in the list. Joins in another way would read the whole table for one row.
create or replace function sugang.{kind}_search_moved() returns trigger language plpgsql
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update sugang.{kind}_search s set created_at = moved.created_at
        from (select id, created_at from added except select id, created_at from removed) moved
        where s.item_id = moved.id and s.created_at is distinct from moved.created_at;
    return null;
end $$;
create or replace function sugang.{kind}_search_deleted() returns trigger language plpgsql as $$
begin
    if sugang.records_search_changes('{kind}', (select count(*) from (
            select from changed where not hidden limit 1001) c)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select '{kind}', -1, id, created_at, (select search_vector from sugang.{kind}_search where item_id = id),
                   start_at, end_at
            from changed where not hidden;
    end if;
    delete from sugang.{kind}_search where item_id in (select id from changed);
    return null;
end $$;
create or replace function sugang.{kind}_search_truncated() returns trigger language plpgsql as $$
begin
    truncate sugang.{kind}_search;
    insert into sugang.search_changes (kind) values ('{kind}');
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
          and (old.created_at, old.start_at, old.end_at) is distinct from (new.created_at, new.start_at, new.end_at)
          and (old.id, old.title, old.description, old.hidden)
              is not distinct from (new.id, new.title, new.description, new.hidden))
    execute function sugang.{kind}_search_updated();
create or replace trigger sugang_search_table_delete after delete on {items} referencing old table as changed
    for each statement execute function sugang.{kind}_search_deleted();
create or replace trigger sugang_search_table_truncate after truncate on {items}
    for each statement execute function sugang.{kind}_search_truncated();
