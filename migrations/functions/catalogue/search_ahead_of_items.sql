-- One kind: counts frequent searches ahead of users. While they are counted, their rows of sugang.search_counts have
-- names of their own, so that a user's search counts as it would without them.

-- The searches to count ahead: words that are frequent in a sample of the items, then what users have searched for.
create or replace function sugang.{kind}_frequent_searches() returns tsquery[]
language plpgsql stable set jit = off set enable_mergejoin = off as $$
declare
    total bigint := sugang.total_count('{kind}');
begin
    if total < sugang.search_ahead_from() then return array[]::tsquery[]; end if;
    return array(
        with sampled as materialized (
            select id, concat_ws(' ', title, description) as words from {items}
            tablesample system (least(100, 100.0 * sugang.search_ahead_sample() / total)) where not hidden
        ), frequent as materialized (
            -- A longer part is a word of its own if several words have it, as 프로그래밍 in 파이썬프로그래밍.
            select word, count(distinct id) * total::float8 / (select count(*) from sampled) as n
            from sampled cross join lateral sugang.search_words(words)
            group by word
            having bool_or(part_of is null) or length(word) = 2 or count(distinct part_of) > 1
        ), searches as (
            select sugang.search_query(word) as words, n, false as is_users from frequent
            where n >= sugang.search_ahead_from()
            union all
            select words, n, true from sugang.search_counts
            where kind = '{kind}' and not available and table_oid = tableoid and next_item_id is null
              and searched_at > clock_timestamp() - sugang.search_count_lifetime()
              and n >= sugang.search_ahead_from() and querytree(words) <> 'T'
        )
        select words from searches where numnode(words) > 0 group by words
        order by bool_and(is_users), max(n) desc limit sugang.search_ahead_limit());
end $$;

-- Begins with the searches that are frequent now, and returns them.
create or replace function sugang.{kind}_begin_ahead() returns tsquery[] language plpgsql as $$
declare
    searches tsquery[] := sugang.{kind}_frequent_searches();
begin
    delete from sugang.search_counts where kind = '{kind}' and query like 'ahead %';
    update sugang.frequent_searches set begun_at = clock_timestamp(), words = searches where kind = '{kind}';
    insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words,
                                      next_created_at, next_item_id)
        select '{kind}', available, 'ahead ' || sugang.search_fingerprint(words), 0, now(), pg_current_snapshot(),
               clock_timestamp(), 'sugang.search_counts'::regclass, words, '-infinity', -9223372036854775808
        from unnest(searches) words cross join (values (false), (true)) a (available);
    return searches;
end $$;

-- Adds the next piece to all counts. As in {kind}_count_piece, one statement counts the piece and adjusts what is
-- counted. Returns the place behind the piece; false if the counts cannot be adjusted.
create or replace function sugang.{kind}_count_piece_ahead(p_words tsquery[], out is_counted boolean,
                                                           out end_created_at timestamptz, out end_item_id bigint)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off set work_mem = '32MB' set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    begun timestamptz := clock_timestamp();
    next_place record;
    counted bigint;
begin
    select max(as_of) as as_of, max(next_created_at) as created_at, max(next_item_id) as item_id into next_place
        from sugang.search_counts
        where kind = '{kind}' and query like 'ahead %' and table_oid = tableoid;
    select created_at, item_id into end_created_at, end_item_id from sugang.{kind}_search
        where (created_at, item_id) >= (next_place.created_at, next_place.item_id)
        order by created_at, item_id offset sugang.search_ahead_piece() limit 1;
    execute 'with ahead as materialized (
                select array_agg(c) as known from sugang.search_counts c
                where kind = ''{kind}'' and query like ''ahead %'' and table_oid = tableoid),
            piece as materialized (
                select w.place, count(*) as n, count(*) filter (where s.is_open) as open_n
                from (select search_vector,
                             exists (select from {items} i
                                     where (i.created_at, i.id) = (s.created_at, s.item_id) and not i.hidden
                                       and i.start_at <= $2 and i.end_at >= $2) as is_open
                      from sugang.{kind}_search s
                      where (s.created_at, s.item_id) >= ($4, $5)'
            || case when end_item_id is not null then ' and (s.created_at, s.item_id) < ($6, $7)' else '' end
            || ' offset 0) s
                join unnest($1) with ordinality w (words, place) on s.search_vector @@ w.words
                group by w.place),
            adjusted as materialized (
                select (known[a.place]).available, (known[a.place]).query, a.snapshot,
                       a.n + coalesce(case when (known[a.place]).available then p.open_n else p.n end, 0) as n
                from ahead cross join lateral sugang.{kind}_adjust_search_counts(known, $2) a
                left join piece p on p.place = array_position($1, (known[a.place]).words))
        update sugang.search_counts c
            set n = a.n, snapshot = a.snapshot, as_of = $2, counted_at = $3, next_created_at = $6, next_item_id = $7
            from adjusted a
            where c.kind = ''{kind}'' and c.available = a.available and c.query = a.query'
        using p_words, greatest(now(), next_place.as_of), begun, next_place.created_at, next_place.item_id,
              end_created_at, end_item_id;
    get diagnostics counted = row_count;
    is_counted := counted = 2 * cardinality(p_words);
end $$;

-- Lets users find what is counted.
create or replace function sugang.{kind}_end_ahead() returns void language sql as $$
    with done as (
        delete from sugang.search_counts where kind = '{kind}' and query like 'ahead %' returning *
    )
    insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words)
        select kind, available, sugang.search_fingerprint(words), n, as_of, snapshot, counted_at, table_oid, words
        from done
    on conflict (kind, available, query) do update
        set n = excluded.n, as_of = excluded.as_of, snapshot = excluded.snapshot, counted_at = excluded.counted_at,
            table_oid = excluded.table_oid, words = excluded.words, next_created_at = null, next_item_id = null
$$;

-- Brings the counts up to date that are the oldest. Returns whether all are there; if not, some cannot be adjusted.
create or replace function sugang.{kind}_refresh_ahead(p_words tsquery[], out is_whole boolean, out refreshed bigint)
language sql volatile as $$
    with known as materialized (
        select c as known, c.counted_at from sugang.search_counts c
        where kind = '{kind}' and table_oid = tableoid and next_item_id is null
          and query = any (array(select sugang.search_fingerprint(words) from unnest(p_words) words))
          and greatest(counted_at, as_of) <= clock_timestamp()
    ), due as materialized (
        select array_agg(known) as known, max((known).as_of) as as_of
        from (select known from known where counted_at < clock_timestamp() - sugang.search_ahead_age()
              order by counted_at limit sugang.search_ahead_refreshed()) oldest
    ), adjusted as materialized (
        select (known[a.place]).available, (known[a.place]).query, (known[a.place]).counted_at,
               greatest(now(), as_of) as as_of, a.n, a.snapshot
        from due cross join lateral sugang.{kind}_adjust_search_counts(known, greatest(now(), as_of)) a
    ), written as (
        -- Unless a user's search has done so meanwhile.
        update sugang.search_counts c
            set n = a.n, as_of = a.as_of, snapshot = a.snapshot, counted_at = statement_timestamp()
            from adjusted a
            where c.kind = '{kind}' and c.available = a.available and c.query = a.query and c.counted_at = a.counted_at
            returning c.query
    )
    select (select count(*) from known) = 2 * cardinality(p_words)
               and (select count(*) from adjusted) = coalesce((select cardinality(known) from due), 0),
           (select count(*) from written)
$$;

-- A sweep's part of that. The body tells whether there is more to do at once. Of sweeps at the same time, one does it.
create or replace function sugang.count_{kind}_ahead(p_function text) returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    ahead sugang.frequent_searches;
    until timestamptz := clock_timestamp() + sugang.search_ahead_patience();
    known record;
    piece record;
    is_counting boolean := false;
    goes_on boolean := false;
begin
    if p_function is distinct from 'count_{kind}_ahead' then
        perform sugang.misrouted(p_function, 'count_{kind}_ahead');
    end if;
    if sugang.keeps_counts() and sugang.total_count('{kind}') >= sugang.search_ahead_from() then
        insert into sugang.frequent_searches (kind, begun_at, words) values ('{kind}', '-infinity', '{}')
            on conflict (kind) do nothing;
        select * into ahead from sugang.frequent_searches where kind = '{kind}' for update skip locked;
    end if;
    if ahead.kind is not null then
        is_counting := exists (select from sugang.search_counts
                               where kind = '{kind}' and query like 'ahead %' and table_oid = tableoid);
        if not is_counting then
            known := sugang.{kind}_refresh_ahead(ahead.words);
            goes_on := known.refreshed = sugang.search_ahead_refreshed();
            if ahead.begun_at not between clock_timestamp() - sugang.search_ahead_pause() and clock_timestamp()
                    and (not known.is_whole or ahead.words = '{}'
                         or ahead.begun_at not between clock_timestamp() - interval '1 day' and clock_timestamp()) then
                -- That takes about as long as a piece.
                goes_on := sugang.{kind}_begin_ahead() <> '{}';
            end if;
        end if;
        while is_counting loop
            piece := sugang.{kind}_count_piece_ahead(ahead.words);
            if not piece.is_counted then
                delete from sugang.search_counts where kind = '{kind}' and query like 'ahead %';
            elsif piece.end_item_id is null then
                perform sugang.{kind}_end_ahead();
            else
                continue when clock_timestamp() < until;
                goes_on := true;
            end if;
            exit;
        end loop;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('goes_on', goes_on)::text;
    return a;
end $$;
