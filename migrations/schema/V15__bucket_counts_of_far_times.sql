-- One kind: an item outside the years 1 to 9999 counts in the first or the last hour of them. See functions/time.sql.

-- No item may be written between this and the functions that count so.
lock table {items} in share row exclusive mode;

with moved as (
    delete from sugang.bucket_counts
    where kind = '{kind}' and (bucket < '0001-01-01 00:00:00+00' or bucket > '9999-12-31 23:00:00+00')
    returning edge, level, bucket, n
)
insert into sugang.bucket_counts (kind, edge, level, bucket, n)
select '{kind}', edge, level,
       date_trunc(level, case when bucket < '0001-01-01 00:00:00+00' then '0001-01-01 00:00:00+00'::timestamptz
                              else '9999-12-31 23:00:00+00'::timestamptz end, 'UTC'),
       sum(n)
from moved
group by 1, 2, 3, 4
on conflict (kind, edge, level, bucket) do update set n = bucket_counts.n + excluded.n;

-- Buckets that are empty are not kept any more.
delete from sugang.bucket_counts where kind = '{kind}' and n = 0;
