-- One kind: the ids of one page of its items. p_query null means no search.
--
-- A search looks up the period of an item in the index {items}_newest, by both of its columns: rows that match lie in
-- nearly the same order there, so this reads neither the table nor much of the index.

-- Newest first. Without a search p_count is exact, and a page in the second half is reached from the other end.
create or replace function sugang.{kind}_newest_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                     p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    created_until timestamptz := 'infinity'::timestamptz;
begin
    if p_query is not null then
        -- Along the order until the page is full: bitmap scans are off because the planner cannot know that the
        -- word is frequent.
        return array(select item_id from sugang.{kind}_search s
            where search_vector @@ p_query
              and (not p_available or (select start_at <= p_now and end_at >= p_now from {items} i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden))
            order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
    end if;
    if p_available and p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at from {items}
            where not hidden and start_at <= p_now and end_at >= p_now
            order by created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by created_at desc, id desc);
    end if;
    if not p_available and p_offset > 0 then
        select * into created_until, p_offset from sugang.seek_newest('{kind}', p_offset);
    end if;
    return array(select id from {items}
        where not hidden and created_at <= created_until
          and (not p_available or (start_at <= p_now and end_at >= p_now))
        order by created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- Most registrations first.
create or replace function sugang.{kind}_popular_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                      p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    if p_query is not null then
        -- Along the order until the page is full. Not a join, which the planner would begin at the other table.
        return array(select id from {items} i
            where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
              and (select search_vector from sugang.{kind}_search where item_id = i.id) @@ p_query
            order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
    end if;
    if p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at, registration_count from {items}
            where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
            order by registration_count, created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by registration_count desc, created_at desc, id desc);
    end if;
    return array(select id from {items}
        where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
        order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- For a search with few matches: sorts all of them.
create or replace function sugang.{kind}_matching_page(p_available boolean, p_query tsquery, p_popular boolean,
                                                       p_offset bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
begin
    -- Materialized, since the planner would hope that a walk along the order soon fills the page.
    if p_popular then
        return array(
            with found as materialized (
                select item_id from sugang.{kind}_search s
                where search_vector @@ p_query
                  and (not p_available or (select start_at <= p_now and end_at >= p_now from {items} i
                                           where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
            select i.id from found join {items} i on i.id = item_id
            order by i.registration_count desc, i.created_at desc, i.id desc
            offset p_offset limit sugang.page_size());
    end if;
    return array(
        with found as materialized (
            select item_id, created_at from sugang.{kind}_search s
            where search_vector @@ p_query
              and (not p_available or (select start_at <= p_now and end_at >= p_now from {items} i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
        select item_id from found order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
end $$;
