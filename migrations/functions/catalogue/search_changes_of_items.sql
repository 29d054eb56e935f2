-- One kind: records periods that move in sugang.search_changes, and items that move in the list. All else is recorded
-- where sugang.{kind}_search is written, in search_table_of_items.sql, and an item whose words change as well is
-- recorded there alone.

-- jit as in change_log_of_items.sql.
create or replace function sugang.record_{kind}_moves() returns trigger language plpgsql
set work_mem = '64MB' set jit = off as $$
declare
    moved bigint[] := array(
        select id from removed o join added n using (id)
        where (o.title, o.description, o.hidden) is not distinct from (n.title, n.description, n.hidden)
          and not o.hidden and (o.created_at, o.start_at, o.end_at) <> (n.created_at, n.start_at, n.end_at)
        limit 501);
begin
    if sugang.records_search_changes('{kind}', 2 * cardinality(moved)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select '{kind}', sign, id, created_at, (select search_vector from sugang.{kind}_search where item_id = id),
                   start_at, end_at
            from (select -1 as sign, id, created_at, start_at, end_at from removed
                  union all
                  select 1, id, created_at, start_at, end_at from added) versions
            where id = any (moved);
    end if;
    return null;
end $$;
-- As in bucket_counts_of_items.sql.
create or replace trigger sugang_search_changes_move after update on {items}
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.record_{kind}_moves();
