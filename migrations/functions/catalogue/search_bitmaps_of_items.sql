-- One kind: makes and keeps the bitmaps of frequent words, and counts by them.

-- The searches that have bitmaps: words that are frequent in a sample of the items, then what users have searched for.
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

-- Whether the ids of the items are so close to each other that bitmaps are short. The blocks are looked up one after
-- the other, until they are too many.
create or replace function sugang.{kind}_ids_are_dense() returns boolean
language sql stable set enable_seqscan = off set enable_sort = off as $$
    with recursive blocks (block) as (
        select sugang.block_of(min(item_id)) from sugang.{kind}_search
        union all
        select sugang.block_of((select item_id from sugang.{kind}_search where item_id >= block + 1 << 13
                                order by item_id limit 1))
        from blocks where block is not null
    ), bound as (
        select sugang.total_count('{kind}') / sugang.search_bitmap_density() + 2 as n
    )
    select count(*) < (select n from bound) from (select from blocks limit (select n from bound)) b
$$;

-- Begins a set in the place of one that is not in use, with the searches that are frequent now. Returns whether there
-- are any.
create or replace function sugang.{kind}_begin_bitmaps() returns boolean language plpgsql as $$
declare
    number_in_use integer := (sugang.search_bitmaps_in_use('{kind}')).number;
    searches tsquery[] := array[]::tsquery[];
begin
    if sugang.{kind}_ids_are_dense() then searches := sugang.{kind}_frequent_searches(); end if;
    delete from sugang.search_bitmaps where kind = '{kind}' and number is distinct from number_in_use;
    delete from sugang.search_bitmap_sets where kind = '{kind}' and number is distinct from number_in_use;
    insert into sugang.search_bitmap_sets (kind, number, begun_at, words, snapshot, as_of, next_item_id, table_oid)
        values ('{kind}', 1 - coalesce(number_in_use, 0), clock_timestamp(), searches, pg_current_snapshot(), now(),
                case when searches <> '{}' then -9223372036854775808 end, 'sugang.search_bitmaps'::regclass);
    return searches <> '{}';
end $$;

-- Adds the next piece to a set that is being made, and brings what it includes up to date: one statement, so all of it
-- belongs to one snapshot. Of the items that have changed, it looks at what they are now. Returns the set as it is
-- then; nulls when not all changes are known.
create or replace function sugang.{kind}_renew_bitmaps(p_set sugang.search_bitmap_sets)
returns sugang.search_bitmap_sets
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off
set work_mem = '32MB' set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    is_whole boolean := p_set.next_item_id is null;
    end_item_id bigint := (select item_id from sugang.{kind}_search where item_id >= p_set.next_item_id
                           order by item_id offset sugang.search_ahead_piece() limit 1);
    -- Not all at once where many begin or end.
    latest timestamptz := greatest(now(), p_set.as_of);
    until timestamptz := least(
        latest,
        (select start_at from {items} where not hidden and start_at > p_set.as_of and start_at <= latest
         order by start_at offset sugang.search_ahead_edges() limit 1),
        (select end_at from {items} where not hidden and end_at > p_set.as_of and end_at <= latest
         order by end_at offset sugang.search_ahead_edges() limit 1));
    renewed sugang.search_bitmap_sets;
begin
    with changes as materialized (
        select c.item_id, c.sign from sugang.search_changes c
        where c.kind = '{kind}' and c.xid >= pg_snapshot_xmin(p_set.snapshot)
          and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, p_set.snapshot))
    ), known as materialized (
        select coalesce(bool_and(sign <> 0), true) and count(*) = count(sign) as are_all from changes
    ), looked_at as materialized (
        select ids.id, sugang.block_of(ids.id) as block, sugang.bit_of(ids.id) as mask,
               (select s.search_vector from sugang.{kind}_search s where s.item_id = ids.id) as search_vector,
               coalesce((select i.start_at <= until and i.end_at >= until from {items} i
                         where i.id = ids.id and not i.hidden), false) as is_available
        from (select item_id as id from changes where is_whole or item_id < p_set.next_item_id
              union
              select item_id from sugang.{kind}_search
              where item_id >= p_set.next_item_id and (end_item_id is null or item_id < end_item_id)) ids
    ), timed as (
        select block, mask, is_available from looked_at
        union all
        select sugang.block_of(edges.id), sugang.bit_of(edges.id), edges.is_available
        from (select i.id, i.end_at >= until as is_available from {items} i
              where not i.hidden and i.start_at > p_set.as_of and i.start_at <= until and i.start_at <= i.end_at
              union all
              select i.id, false from {items} i
              where not i.hidden and i.end_at >= p_set.as_of and i.end_at < until and i.start_at <= i.end_at) edges
        where is_whole or edges.id < p_set.next_item_id
    ), renewed_bits as (
        -- Of the items that were looked at, those that have the word.
        select place, block, bit_or(mask) as mask, coalesce(bit_or(members), sugang.no_bits()) as members from (
            select place, block, mask, null::bit varying as members
            from (select block, bit_or(mask) as mask from looked_at group by block) masks
            cross join generate_series(0, cardinality(p_set.words)) place
            union all
            select w.place, l.block, null, bit_or(l.mask) from looked_at l
            join unnest(p_set.words) with ordinality w (words, place) on l.search_vector @@ w.words
            group by w.place, l.block
            union all
            select 0, block, null, bit_or(mask) from looked_at where search_vector is not null group by block
            union all
            select -1, block, bit_or(mask), bit_or(mask) filter (where is_available) from timed group by block) bits
        group by place, block
    ), written as (
        insert into sugang.search_bitmaps (kind, number, place, block, bits)
            select '{kind}', p_set.number, place, block, (before & (~mask)) | members
            from (select r.*, coalesce((select b.bits from sugang.search_bitmaps b
                                        where (b.kind, b.number, b.place, b.block)
                                            = ('{kind}', p_set.number, r.place, r.block)),
                                       sugang.no_bits()) as before from renewed_bits r) r
            where (select are_all from known) and before & mask <> members
        on conflict (kind, number, place, block) do update set bits = excluded.bits
    )
    update sugang.search_bitmap_sets set snapshot = pg_current_snapshot(), as_of = until, next_item_id = end_item_id
        where kind = '{kind}' and number = p_set.number and (select are_all from known)
        returning * into renewed;
    return renewed;
end $$;

-- What a search for frequent words matches, at the time and with the snapshot of the bitmaps; nulls when they do not
-- tell.
create or replace function sugang.{kind}_count_in_bitmaps(p_available boolean, p_query tsquery)
returns sugang.search_counts
language plpgsql set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    -- The expression has names of bitmaps and operators, and nothing that a user typed.
    -- @plpgsql_check_options: security_warnings = false
    in_use sugang.search_bitmap_sets := sugang.search_bitmaps_in_use('{kind}');
    expression text := sugang.bitmap_expression(p_query::text, in_use.words::text[]);
    joins text;
    counted sugang.search_counts;
begin
    if expression is null then return null; end if;
    select string_agg(distinct format(
        ' left join sugang.search_bitmaps %1$s on (%1$s.kind, %1$s.number, %1$s.place, %1$s.block)'
        ' = (shown.kind, shown.number, %2$s, shown.block)', name[1], substr(name[1], 2)), '')
        into joins from regexp_matches(expression, E'b\\d+', 'g') name;
    -- The set in the same statement: it may have been renewed since.
    execute 'select sets.as_of, sets.snapshot,
                 coalesce((select sum(bit_count(shown.bits & '
        || regexp_replace(expression, E'b\\d+', E'coalesce(\\&.bits, $1)', 'g') || '))
                  from sugang.search_bitmaps shown' || joins || '
                  where (shown.kind, shown.number, shown.place) = (sets.kind, sets.number, $2)), 0)
             from sugang.search_bitmap_sets sets
             where (sets.kind, sets.number, sets.begun_at) = ($3, $4, $5) and sets.words <> ''{}'''
        into counted.as_of, counted.snapshot, counted.n
        using sugang.no_bits(), case when p_available then -1 else 0 end, '{kind}', in_use.number, in_use.begun_at;
    counted.available := p_available;
    counted.words := p_query;
    counted.counted_at := '-infinity';
    return counted;
end $$;

-- A sweep's part of the work. The body tells whether there is more to do at once. Of sweeps at the same time, one does
-- it.
create or replace function sugang.count_{kind}_ahead(p_function text) returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    until timestamptz := clock_timestamp() + sugang.search_ahead_patience();
    in_use sugang.search_bitmap_sets;
    made sugang.search_bitmap_sets;
    renewed sugang.search_bitmap_sets;
    goes_on boolean := false;
begin
    if p_function is distinct from 'count_{kind}_ahead' then
        perform sugang.misrouted(p_function, 'count_{kind}_ahead');
    end if;
    if sugang.keeps_counts() and sugang.total_count('{kind}') >= sugang.search_ahead_from()
            and pg_try_advisory_xact_lock(hashtextextended('count_ahead {kind}', 0)) then
        in_use := sugang.search_bitmaps_in_use('{kind}');
        if in_use.as_of < clock_timestamp() - sugang.search_ahead_age() then
            renewed := sugang.{kind}_renew_bitmaps(in_use);
            if renewed.kind is null then perform sugang.give_bitmaps_up('{kind}', in_use.number); end if;
            in_use := renewed;
            goes_on := coalesce(in_use.as_of < now(), false);
        end if;
        select * into made from sugang.search_bitmap_sets
            where kind = '{kind}' and next_item_id is not null and table_oid = 'sugang.search_bitmaps'::regclass
              and as_of <= clock_timestamp();
        if made.kind is not null then
            loop
                renewed := sugang.{kind}_renew_bitmaps(made);
                if renewed.kind is null then
                    perform sugang.give_bitmaps_up('{kind}', made.number);
                elsif renewed.next_item_id is null then
                    perform sugang.give_bitmaps_up('{kind}', in_use.number);
                elsif clock_timestamp() < until then
                    made := renewed;
                    continue;
                else
                    goes_on := true;
                end if;
                exit;
            end loop;
        elsif not exists (select from sugang.search_bitmap_sets
                          where kind = '{kind}'
                            and begun_at between clock_timestamp() - case when in_use.kind is not null then interval '1 day'
                                                                          else sugang.search_ahead_pause() end
                                             and clock_timestamp()) then
            -- That takes about as long as a piece.
            goes_on := sugang.{kind}_begin_bitmaps() or goes_on;
        end if;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('goes_on', goes_on)::text;
    return a;
end $$;
