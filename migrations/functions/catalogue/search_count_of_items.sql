-- One kind: the number of items that a search matches.

-- Adjusts stored counts to p_as_of and returns them, by their place, with the snapshot that they now include. It leaves
-- out those for which that is impossible, or takes longer than counting again: too many items have begun or ended. For
-- all counts together, each item is looked up once. Stable, so that it sees what the statement sees that calls it.
create or replace function sugang.{kind}_adjust_search_counts(p_known sugang.search_counts[], p_as_of timestamptz)
returns table (place bigint, n bigint, snapshot pg_snapshot)
language plpgsql stable parallel restricted
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set enable_sort = off set work_mem = '32MB' set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    since timestamptz := (select min(k.as_of) from unnest(p_known) k where k.available);
begin
    return query
        with known as materialized (
            select * from unnest(p_known) with ordinality
        ), edges as materialized (
            (select i.id, i.start_at as at, 1 as sign from {items} i
             where not i.hidden and i.start_at > since and i.start_at <= p_as_of and i.start_at <= i.end_at
             limit sugang.search_count_look_ups())
            union all
            (select i.id, i.end_at, -1 from {items} i
             where not i.hidden and i.end_at >= since and i.end_at < p_as_of and i.start_at <= i.end_at
             limit sugang.search_count_look_ups())
        ), passed as (
            select k.ordinality, sum(e.sign) as n
            from edges e join sugang.{kind}_search s on s.item_id = e.id
            join known k on k.available and (e.at > k.as_of or e.at = k.as_of and e.sign < 0)
                and (k.next_item_id is null or (s.created_at, s.item_id) < (k.next_created_at, k.next_item_id))
                and (s.search_vector @@ k.words) is true
            group by k.ordinality
        ), changed as (
            select k.ordinality, coalesce(sum(c.sign) filter (
                where c.search_vector @@ k.words
                  and (not k.available or (c.start_at <= k.as_of and c.end_at >= k.as_of))
                  and (k.next_item_id is null
                    or (c.created_at, c.item_id) < (k.next_created_at, k.next_item_id))), 0) as n
            from known k left join sugang.search_changes c
                on c.kind = '{kind}' and c.xid >= pg_snapshot_xmin(k.snapshot)
                and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, k.snapshot))
            group by k.ordinality
            having coalesce(bool_and(c.sign <> 0), true) and count(c.kind) = count(c.sign)
        )
        select k.ordinality, (k.n + c.n + coalesce(p.n, 0))::bigint, pg_current_snapshot()
        from known k join changed c using (ordinality) left join passed p using (ordinality)
        where not k.available or (select count(*) from edges) < sugang.search_count_look_ups();
end $$;

-- The same for one count; nulls when that is impossible.
create or replace function sugang.{kind}_adjust_search_count(p_known sugang.search_counts, p_query tsquery,
                                                             p_as_of timestamptz, out n bigint,
                                                             out snapshot pg_snapshot)
language plpgsql stable parallel restricted as $$
begin
    p_known.words := p_query;
    select a.n, a.snapshot into n, snapshot from sugang.{kind}_adjust_search_counts(array[p_known], p_as_of) a;
end $$;

-- Counts the matches if they are few, or if few items are available; nulls when it does not know after p_until. A few
-- matches are counted with a cached plan.
create or replace function sugang.{kind}_count_few(p_available boolean, p_query tsquery, p_as_of timestamptz,
                                                   p_until timestamptz, out n bigint, out snapshot pg_snapshot)
language plpgsql as $$
declare
    few_are_left boolean := p_available and sugang.total_count('{kind}')
        - sugang.count_before_hour('{kind}', 'end', p_as_of) <= sugang.search_count_look_ups();
begin
    if few_are_left then p_until := least(p_until, clock_timestamp() + sugang.search_count_cheap()); end if;
    begin
        with found as materialized (
            select from sugang.{kind}_search s
            where search_vector @@ p_query
              and (clock_timestamp() < p_until or sugang.search_count_is_late(s.item_id))
              and (not p_available or (select start_at <= p_as_of and end_at >= p_as_of from {items} i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
        select count(*), pg_current_snapshot() into n, snapshot
            from (select from found limit sugang.search_count_exact_limit() + 1) probe;
        if n <= sugang.search_count_exact_limit() then return; end if;
    exception when sqlstate 'SG002' then
    end;
    n := null;
    snapshot := null;
    -- Those that have not ended are looked up among the words. Planned for this very time.
    if few_are_left then
        execute 'select count(*), pg_current_snapshot()
                 from (select id, start_at from {items} where not hidden and end_at >= $2 offset 0) i
                 join sugang.{kind}_search s on s.item_id = i.id
                 where i.start_at <= $2 and (s.search_vector @@ $1) is true'
            into n, snapshot using p_query, p_as_of;
    end if;
end $$;

-- Null when the time was up before all were counted: what is counted is kept, and the next request goes on.
create or replace function sugang.{kind}_search_count(p_available boolean, p_query tsquery, p_now timestamptz)
returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '32MB' set jit = off as $$
declare
    fingerprint text := sugang.search_fingerprint(p_query);
    lock_key bigint := hashtextextended('{kind} ' || p_available || ' ' || p_query::text, 0);
    negated_terms tsquery := sugang.negated_terms(p_query);
    known sugang.search_counts;
    in_bitmaps sugang.search_counts;
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
        -- Few are left, and their number must be exact: at this very time, all less those that match.
        if not p_available then
            known := sugang.stored_search_count('{kind}', false, sugang.search_fingerprint(negated_terms));
            if known.n is not null and known.next_item_id is null then
                select sugang.total_count('{kind}') - n into found_n
                    from sugang.{kind}_adjust_search_count(known, negated_terms, p_now);
                if found_n is not null then return found_n; end if;
            end if;
        end if;
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
    if is_new or known.next_item_id is not null
            or known.as_of < clock_timestamp() - sugang.search_ahead_age() then
        in_bitmaps := sugang.{kind}_count_in_bitmaps(p_available, p_query);
        if in_bitmaps.n is not null
                and (is_new or known.next_item_id is not null or known.as_of < in_bitmaps.as_of) then
            known := in_bitmaps;
        end if;
    end if;
    begun := clock_timestamp();
    late_at := case when keeps then begun + sugang.search_count_patience() else 'infinity' end;
    p_now := greatest(p_now, known.as_of);
    if known.n is not null and known.next_item_id is null then
        select n, snapshot into found_n, snapshot_now
            from sugang.{kind}_adjust_search_count(known, p_query, p_now);
        -- A small one is adjusted for each request, and not written for each.
        if greatest(found_n, known.n) <= sugang.search_count_exact_limit()
                and snapshot_now is not null and not is_new
                and known.as_of > clock_timestamp() - sugang.search_count_max_age() / 2 then
            return found_n;
        end if;
    -- (When no term is required, finding a few costs as much as counting all.)
    elsif known.n is null and querytree(p_query) <> 'T' then
        select n, snapshot into found_n, snapshot_now
            from sugang.{kind}_count_few(p_available, p_query, p_now, late_at);
        if found_n <= sugang.search_count_exact_limit()
                and (not keeps or clock_timestamp() < begun + sugang.search_count_cheap()) then
            return found_n;
        end if;
    end if;
    if snapshot_now is null and known.next_item_id is null then
        known := null;
        if clock_timestamp() < late_at then
            select n, snapshot into found_n, snapshot_now
                from sugang.{kind}_count_at_once(p_available, p_query, p_now, late_at);
        end if;
    end if;
    if snapshot_now is null then
        known := sugang.{kind}_count_pieces(known, p_available, p_query, p_now, late_at);
        found_n := known.n;
        snapshot_now := known.snapshot;
    end if;
    if not keeps then return found_n; end if;
    insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words,
                                      next_created_at, next_item_id, searched_at)
        values ('{kind}', p_available, fingerprint, found_n, p_now, snapshot_now, begun,
                'sugang.search_counts'::regclass, p_query, known.next_created_at, known.next_item_id, begun)
        on conflict (kind, available, query) do update
        set n = excluded.n, as_of = excluded.as_of, snapshot = excluded.snapshot, counted_at = excluded.counted_at,
            table_oid = excluded.table_oid, next_created_at = excluded.next_created_at,
            next_item_id = excluded.next_item_id, searched_at = excluded.searched_at;
    if is_new or random() < 0.1 then perform sugang.prune_search_counts('{kind}'); end if;
    return case when known.next_item_id is null then found_n end;
end $$;
