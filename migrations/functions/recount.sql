-- One kind: for an operator who has written items or registrations while the triggers were disabled, or has restored
-- data alone.

-- Lists and counts the items as they are: puts into the table of the search what it lacks, and fills the buckets again.
-- The words of an item that is there already stay as they are. The caller has locked the items against writers.
create or replace function sugang.relist_{kind}() returns void language plpgsql
set work_mem = '64MB' set jit = off as $$
begin
    delete from sugang.{kind}_search s
        where not exists (select from {items} i where i.id = s.item_id and not i.hidden);
    update sugang.{kind}_search s set created_at = i.created_at
        from {items} i where i.id = s.item_id and i.created_at <> s.created_at;
    insert into sugang.{kind}_search (item_id, created_at, search_vector)
        select id, created_at, sugang.search_vector(title, description) from {items} i
        where not hidden and not exists (select from sugang.{kind}_search s where s.item_id = i.id)
        order by created_at;
    insert into sugang.search_changes (kind) values ('{kind}');
    delete from sugang.search_counts where kind = '{kind}';
    -- As in fold_bucket_changes(), but this waits.
    perform from sugang.available_counts where kind = '{kind}' for update;
    delete from sugang.bucket_changes where kind = '{kind}';
    delete from sugang.bucket_counts where kind = '{kind}';
    perform sugang.add_to_bucket_counts('{kind}', array_agg(1), array_agg(created_at), array_agg(start_at),
                                        array_agg(end_at))
        from {items} where not hidden having count(*) > 0;
    update sugang.available_counts set valid_from = 'infinity' where kind = '{kind}';
end $$;

-- Counts every item again, and returns how many counts were wrong.
create or replace function sugang.recount_{kind}() returns bigint language plpgsql as $$
declare
    corrected bigint;
begin
    lock table {registrations}, sugang.orders, {items} in share row exclusive mode;
    perform set_config('sugang.recount', 'on', true);
    update {items} i set registration_count = coalesce(r.n, 0), held_count = coalesce(o.n, 0)
        from {items} j
        left join (select {item_id}, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
            on r.{item_id} = j.id
        left join (select item_id, count(*) as n from sugang.orders where kind = '{kind}' and is_live group by 1) o
            on o.item_id = j.id
        where i.id = j.id
          and (j.registration_count, j.held_count) is distinct from (coalesce(r.n, 0), coalesce(o.n, 0));
    get diagnostics corrected = row_count;
    perform set_config('sugang.recount', '', true);
    perform sugang.relist_{kind}();
    return corrected;
end $$;

-- Writes down what the history lacks of the registrations as they are, and returns for how many.
create or replace function sugang.log_unlogged_{kind}_registrations() returns bigint language plpgsql as $$
declare
    happened_at timestamptz := clock_timestamp();
    logged bigint;
begin
    lock table {registrations} in share row exclusive mode;
    perform set_config('sugang.recount', 'on', true);
    with sums as (
        select subject_id as id, sum(seats) as seats, max(id) as last_id
        from sugang.audit_log where subject = '{kind}' group by 1
    ), unlogged as (
        select coalesce(r.id, s.id) as id, coalesce(r.{item_id}, l.item_id) as item_id,
               coalesce(r.user_id, l.user_id) as user_id, coalesce(r.status, 'deleted') as status,
               case when r.status <> 'cancelled' then 1 else 0 end - coalesce(s.seats, 0) as seats,
               case when l.status <> 'deleted' then l.entry end as last_entry, l.hash as last_hash, i.state
        from {registrations} r
        full join sums s on s.id = r.id
        left join sugang.audit_log l on l.id = s.last_id
        cross join lateral (select case when r.id is not null then sugang.registration_state(
            r.id, r.user_id, r.{item_id}, r.status, r.{registered_at}, r.completed_at, r.cancelled_at) end as state) i
        where case when r.id is null then (l.status, s.seats) <> ('deleted', 0)
                   else (l.entry, l.state, l.status, s.seats) is distinct from
                        (r.history_entries, i.state, r.status,
                         case when r.status <> 'cancelled' then 1 else 0 end) end
    ), entries as (
        insert into sugang.audit_log
            (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
            select happened_at, '{kind}', id, '{kind}', item_id, user_id, status, 0, seats, i.entry, state,
                   sugang.entry_hash(case when last_entry is not null then last_hash end, state, i.entry, happened_at,
                                     '{kind}', id, '{kind}', item_id, user_id, status, 0, seats::integer, null, null)
            from unlogged cross join lateral (select coalesce(last_entry, 0) + 1 as entry) i
            order by id returning subject_id, entry
    ), counted as (
        update {registrations} r set history_entries = e.entry from entries e where r.id = e.subject_id
    )
    select count(*) into logged from entries;
    perform set_config('sugang.recount', '', true);
    return logged;
end $$;
