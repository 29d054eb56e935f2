-- One kind: the number of items that a search matches.

-- Adjusts a stored count to p_as_of and returns it with the snapshot that it now includes; nulls when that is
-- impossible. Comparing with `is true` keeps the planner from the search index: few items start or end in between.
create or replace function sugang.{kind}_adjust_search_count(p_known sugang.search_counts, p_query tsquery,
                                                             p_as_of timestamptz, out n bigint,
                                                             out snapshot pg_snapshot)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    select p_known.n
        + coalesce(sum(c.sign) filter (
            where c.search_vector @@ p_query and (not p_known.available
                or (c.start_at <= p_known.as_of and c.end_at >= p_known.as_of))), 0)
        + case when p_known.available then
            (select count(*) from {items} i join sugang.{kind}_search s on s.item_id = i.id
             where not i.hidden and i.start_at > p_known.as_of and i.start_at <= p_as_of and i.start_at <= i.end_at
               and (s.search_vector @@ p_query) is true)
          - (select count(*) from {items} i join sugang.{kind}_search s on s.item_id = i.id
             where not i.hidden and i.end_at >= p_known.as_of and i.end_at < p_as_of and i.start_at <= i.end_at
               and (s.search_vector @@ p_query) is true)
          else 0 end,
        pg_current_snapshot()
        into n, snapshot
        from sugang.search_changes c
        where c.kind = '{kind}' and c.xid >= pg_snapshot_xmin(p_known.snapshot)
          and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, p_known.snapshot))
        having coalesce(bool_and(c.sign <> 0), true) and count(*) = count(c.sign);
end $$;

create or replace function sugang.{kind}_search_count(p_available boolean, p_query tsquery, p_now timestamptz)
returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '32MB' set jit = off as $$
declare
    -- Not the hash of the query alone: a session may still count as it did before V16.
    fingerprint text := md5('lexemes ' || p_query::text);
    lock_key bigint := hashtextextended('{kind} ' || p_available || ' ' || p_query::text, 0);
    negated_terms tsquery := sugang.negated_terms(p_query);
    known sugang.search_counts;
    begun timestamptz;
    found_n bigint;
    snapshot_now pg_snapshot;
begin
    if negated_terms is not null then
        found_n := case when p_available then sugang.{kind}_available_count(p_now)
                        else sugang.total_count('{kind}') end
            - sugang.{kind}_search_count(p_available, negated_terms, p_now);
        if found_n > sugang.search_count_exact_limit() then return found_n; end if;
    end if;
    known := sugang.stored_search_count('{kind}', p_available, fingerprint);
    -- One request counts before the stored count is too old to show, and no other request waits for it. Requests
    -- without a count to show wait for the one that counts, and use its result.
    if known.counted_at > clock_timestamp() - sugang.search_count_max_age() / 2 then return known.n; end if;
    if not pg_try_advisory_xact_lock(lock_key) then
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
        -- As long as the statement may take: counting is work, and no lock that another program has forgotten.
        perform set_config('lock_timeout', '0', true);
        perform pg_advisory_xact_lock_shared(lock_key);
        known := sugang.stored_search_count('{kind}', p_available, fingerprint);
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
    end if;
    begun := clock_timestamp();
    if known.n is not null then
        p_now := greatest(p_now, known.as_of);
        select n, snapshot into found_n, snapshot_now
            from sugang.{kind}_adjust_search_count(known, p_query, p_now);
    -- A few matches are counted with a cached plan. (When no term is required, finding a few costs as much as counting
    -- all.)
    elsif querytree(p_query) <> 'T' then
        with found as materialized (
            select from sugang.{kind}_search s
            where search_vector @@ p_query
              and (not p_available or (select start_at <= p_now and end_at >= p_now from {items} i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
        select count(*) into found_n from (select from found limit sugang.search_count_exact_limit() + 1) probe;
        if found_n <= sugang.search_count_exact_limit() then return found_n; end if;
    end if;
    if snapshot_now is null then
        -- Planned for these very words: for some of them reading the whole table is faster.
        perform set_config('enable_seqscan', 'on', true);
        execute 'select count(*), pg_current_snapshot() from sugang.{kind}_search s'
            || case when p_available then ' join {items} i on (i.created_at, i.id) = (s.created_at, s.item_id)
                                              and not i.hidden and i.start_at <= $2 and i.end_at >= $2' else '' end
            || ' where s.search_vector @@ $1'
            into found_n, snapshot_now using p_query, p_now;
    end if;
    -- A transaction sees its own changes, which no snapshot shows.
    if pg_current_xact_id_if_assigned() is not null or not sugang.keeps_counts() then return found_n; end if;
    if found_n > sugang.search_count_exact_limit() then
        insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words)
            values ('{kind}', p_available, fingerprint, found_n, p_now, snapshot_now, begun,
                    'sugang.search_counts'::regclass, p_query)
            on conflict (kind, available, query) do update
            set n = excluded.n, as_of = excluded.as_of, snapshot = excluded.snapshot, counted_at = excluded.counted_at,
                table_oid = excluded.table_oid;
    elsif known.n is not null then
        delete from sugang.search_counts
            where kind = '{kind}' and available = p_available and query = fingerprint;
    end if;
    if known.n is null or random() < 0.1 then perform sugang.prune_search_counts('{kind}'); end if;
    return found_n;
end $$;
