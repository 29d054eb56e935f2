-- One kind: the triggers that keep sugang.{kind}_search.

create or replace function sugang.{kind}_search_inserted() returns trigger language plpgsql as $$
begin
    insert into sugang.{kind}_search (item_id, created_at, start_at, end_at, search_vector)
        select id, created_at, start_at, end_at, sugang.search_vector(title, description)
        from changed order by created_at;
    return null;
end $$;
create or replace function sugang.{kind}_search_updated() returns trigger language plpgsql as $$
begin
    if old.id <> new.id then delete from sugang.{kind}_search where item_id = old.id; end if;
    insert into sugang.{kind}_search as s (item_id, created_at, start_at, end_at, search_vector)
        values (new.id, new.created_at, new.start_at, new.end_at, sugang.search_vector(new.title, new.description))
        on conflict (item_id) do update
        set created_at = excluded.created_at, start_at = excluded.start_at, end_at = excluded.end_at,
            search_vector = excluded.search_vector;
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
-- For each row, because a statement's trigger would run on every change of registration_count.
create or replace trigger sugang_search_table_update
    after update of id, title, description, created_at, start_at, end_at on {items} for each row
    when ((old.id, old.title, old.description, old.created_at, old.start_at, old.end_at)
          is distinct from (new.id, new.title, new.description, new.created_at, new.start_at, new.end_at))
    execute function sugang.{kind}_search_updated();
create or replace trigger sugang_search_table_delete after delete on {items} referencing old table as changed
    for each statement execute function sugang.{kind}_search_deleted();
create or replace trigger sugang_search_table_truncate after truncate on {items}
    for each statement execute function sugang.{kind}_search_truncated();
