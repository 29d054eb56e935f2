-- check: bucket_counts
-- advice: select sugang.recount_{kind}(); counts again.
with edges as (
    select 'created' as edge, created_at as at from {items} where not hidden
    union all
    select 'start', start_at from {items} where not hidden and start_at <= end_at
    union all
    select 'end', end_at from {items} where not hidden and start_at <= end_at
), hours as (
    select edge, date_trunc('hour', sugang.readable_time(at), 'UTC') as bucket, count(*) as n from edges group by 1, 2
), counted as (
    select edge, level, date_trunc(level, bucket, 'UTC') as bucket, sum(n) as n
    from hours cross join (values ('month'), ('day'), ('hour')) l (level) group by 1, 2, 3
), kept as (
    select edge, level, bucket, sum(n) as n from (
        select edge, level, bucket, n from sugang.bucket_counts where kind = '{kind}'
        union all
        -- What is still to be added to them.
        select edge, level, date_trunc(level, bucket, 'UTC'), n from sugang.bucket_changes
        cross join (values ('month'), ('day'), ('hour')) l (level) where kind = '{kind}' and edge <> 'any') k
    group by 1, 2, 3
)
select concat_ws('/', edge, level, bucket) from counted full join kept using (edge, level, bucket)
where coalesce(counted.n, 0) <> coalesce(kept.n, 0);

-- check: available_count
-- advice: update sugang.available_counts set valid_from = 'infinity'; the next request counts again.
select kind from sugang.available_counts
where kind = '{kind}' and valid_from <= now() and now() < valid_until
  and not exists (select from sugang.bucket_changes where kind = '{kind}')
  and n <> (select count(*) from {items} where not hidden and start_at <= now() and end_at >= now());

-- Of the latest 20: each is counted again, with the changes that its snapshot has not seen.
-- check: search_count
-- advice: delete from sugang.search_counts; the next searches count again.
with latest as materialized (
    select c as known, c.*, greatest(c.as_of, now()) as until from sugang.search_counts c
    where kind = '{kind}' and table_oid = tableoid and words is not null
      and counted_at > clock_timestamp() - sugang.search_count_lifetime()
    order by counted_at desc limit 20
)
select concat_ws(' ', l.words, case when l.available then '(available)' end) from latest l
cross join lateral (select (sugang.{kind}_adjust_search_count(l.known, l.words, l.until)).n) a
where a.n <> (select count(*) from sugang.{kind}_search s join {items} i on i.id = s.item_id
              where s.search_vector @@ l.words
                and (l.next_item_id is null
                    or (s.created_at, s.item_id) < (l.next_created_at, l.next_item_id))
                and (not l.available or (i.start_at <= l.until and i.end_at >= l.until)));

-- Of the set that searches use, what is available, and the three words that the most items have.
-- check: search_bitmap
-- advice: delete from sugang.search_bitmap_sets; the sweep makes them again.
with in_use as materialized (
    select words, greatest(as_of, now()) as until from sugang.search_bitmaps_in_use('{kind}')
), counted as materialized (
    select a.available, w.words, until, sugang.{kind}_count_in_bitmaps(a.available, w.words) as known
    from in_use cross join lateral unnest(words[1:3]) w (words) cross join (values (false), (true)) a (available)
)
select concat_ws(' ', c.words, case when c.available then '(available)' end) from counted c
cross join lateral (select (sugang.{kind}_adjust_search_count(c.known, c.words, c.until)).n) a
where a.n <> (select count(*) from sugang.{kind}_search s join {items} i on i.id = s.item_id
              where s.search_vector @@ c.words
                and (not c.available or (i.start_at <= c.until and i.end_at >= c.until)));
