-- One kind: the counts of the items that exist already.

-- No item may be written between this count and the triggers that keep it.
lock table {items} in share row exclusive mode;

with edges as (
    select 'created' as edge, created_at as at from {items}
    union all
    select e.edge, e.at from {items}
    cross join lateral (values ('start', start_at), ('end', end_at)) e (edge, at)
    where start_at <= end_at
), hours as (
    select edge, date_trunc('hour', at, 'UTC') as bucket, count(*) as n from edges group by 1, 2
)
insert into sugang.bucket_counts (kind, edge, level, bucket, n)
select '{kind}', edge, level, date_trunc(level, bucket, 'UTC'), sum(n)
from hours
cross join (values ('month'), ('day'), ('hour')) l (level)
group by 1, 2, 3, 4;

insert into sugang.available_counts (kind) values ('{kind}');
