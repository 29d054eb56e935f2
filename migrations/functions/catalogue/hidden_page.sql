-- One kind: a page of its hidden items, for operators, as sugang.{kind}_page has those of the others. A search finds
-- titles by a part of them: sugang.{kind}_search has only what users find.
create or replace function sugang.{kind}_hidden_page(p_page bigint, p_available boolean, p_search text,
                                                     p_popular boolean)
returns sugang.function_row language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    part text := sugang.search_fold(btrim(p_search));
    asked_at timestamptz := now();
    hidden_n bigint;
begin
    select count(*) into hidden_n from {items}
        where hidden and (not p_available or (start_at <= asked_at and end_at >= asked_at))
          and (part is null or strpos(sugang.search_fold(title), part) > 0);
    a := sugang.paginate(hidden_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := array(select id from {items}
        where hidden and (not p_available or (start_at <= asked_at and end_at >= asked_at))
          and (part is null or strpos(sugang.search_fold(title), part) > 0)
        order by case when p_popular then registration_count end desc, created_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size())::text;
    return a;
end $$;
