-- One kind: the number of items that a search matches.

-- Adjusts a stored count to p_as_of and returns it with the snapshot that it now includes; nulls when that is
-- impossible. Comparing with `is true` keeps the planner from the search index: few items start or end in between.
-- Stable, so that it sees what the statement sees that calls it.
create or replace function sugang.{kind}_adjust_search_count(p_known sugang.search_counts, p_query tsquery,
                                                             p_as_of timestamptz, out n bigint,
                                                             out snapshot pg_snapshot)
language plpgsql stable parallel restricted
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    select p_known.n
        + coalesce(sum(c.sign) filter (
            where c.search_vector @@ p_query and (not p_known.available
                or (c.start_at <= p_known.as_of and c.end_at >= p_known.as_of))
              and (p_known.next_item_id is null
                or (c.created_at, c.item_id) < (p_known.next_created_at, p_known.next_item_id))), 0)
        + case when p_known.available then
            (select count(*) from {items} i join sugang.{kind}_search s on s.item_id = i.id
             where not i.hidden and i.start_at > p_known.as_of and i.start_at <= p_as_of and i.start_at <= i.end_at
               and (p_known.next_item_id is null
                   or (i.created_at, i.id) < (p_known.next_created_at, p_known.next_item_id))
               and (s.search_vector @@ p_query) is true)
          - (select count(*) from {items} i join sugang.{kind}_search s on s.item_id = i.id
             where not i.hidden and i.end_at >= p_known.as_of and i.end_at < p_as_of and i.start_at <= i.end_at
               and (p_known.next_item_id is null
                   or (i.created_at, i.id) < (p_known.next_created_at, p_known.next_item_id))
               and (s.search_vector @@ p_query) is true)
          else 0 end,
        pg_current_snapshot()
        into n, snapshot
        from sugang.search_changes c
        where c.kind = '{kind}' and c.xid >= pg_snapshot_xmin(p_known.snapshot)
          and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, p_known.snapshot))
        having coalesce(bool_and(c.sign <> 0), true) and count(*) = count(c.sign);
end $$;

-- Null when the time was up before all were counted: what is counted is kept, and the next request goes on.
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
    keeps boolean;
    is_new boolean;
    late_at timestamptz;
begin
    if negated_terms is not null then
        found_n := case when p_available then sugang.{kind}_available_count(p_now)
                        else sugang.total_count('{kind}') end
            - sugang.{kind}_search_count(p_available, negated_terms, p_now);
        if found_n is null or found_n > sugang.search_count_exact_limit() then return found_n; end if;
    end if;
    -- A transaction sees its own changes, which no snapshot shows.
    keeps := pg_current_xact_id_if_assigned() is null and sugang.keeps_counts();
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
        -- Another request has just counted a piece, and yet another one may be counting the next.
        if known.next_item_id is not null and keeps then return null; end if;
    elsif known.next_item_id is not null then
        -- Another request may have gone on with it before the lock was free.
        known := sugang.stored_search_count('{kind}', p_available, fingerprint);
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
    end if;
    if not keeps and known.next_item_id is not null then known := null; end if;
    is_new := known.n is null;
    begun := clock_timestamp();
    p_now := greatest(p_now, known.as_of);
    if known.n is not null and known.next_item_id is null then
        select n, snapshot into found_n, snapshot_now
            from sugang.{kind}_adjust_search_count(known, p_query, p_now);
    -- A few matches are counted with a cached plan. (When no term is required, finding a few costs as much as counting
    -- all.)
    elsif known.n is null and querytree(p_query) <> 'T' then
        with found as materialized (
            select from sugang.{kind}_search s
            where search_vector @@ p_query
              and (not p_available or (select start_at <= p_now and end_at >= p_now from {items} i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
        select count(*) into found_n from (select from found limit sugang.search_count_exact_limit() + 1) probe;
        if found_n <= sugang.search_count_exact_limit() then return found_n; end if;
    end if;
    late_at := case when keeps then begun + sugang.search_count_patience() else 'infinity' end;
    if snapshot_now is null and known.next_item_id is null then
        known := null;
        select n, snapshot into found_n, snapshot_now
            from sugang.{kind}_count_at_once(p_available, p_query, p_now, late_at);
    end if;
    if snapshot_now is null then
        known := sugang.{kind}_count_pieces(known, p_available, p_query, p_now, late_at);
        found_n := known.n;
        snapshot_now := known.snapshot;
    end if;
    if not keeps then return found_n; end if;
    if known.next_item_id is not null or found_n > sugang.search_count_exact_limit() then
        insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words,
                                          next_created_at, next_item_id)
            values ('{kind}', p_available, fingerprint, found_n, p_now, snapshot_now, begun,
                    'sugang.search_counts'::regclass, p_query, known.next_created_at, known.next_item_id)
            on conflict (kind, available, query) do update
            set n = excluded.n, as_of = excluded.as_of, snapshot = excluded.snapshot, counted_at = excluded.counted_at,
                table_oid = excluded.table_oid, next_created_at = excluded.next_created_at,
                next_item_id = excluded.next_item_id;
    elsif not is_new then
        delete from sugang.search_counts
            where kind = '{kind}' and available = p_available and query = fingerprint;
    end if;
    if is_new or random() < 0.1 then perform sugang.prune_search_counts('{kind}'); end if;
    return case when known.next_item_id is null then found_n end;
end $$;
