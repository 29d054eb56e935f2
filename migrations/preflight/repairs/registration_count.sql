-- finds: The registration_count of items differs from their registrations that are not cancelled.
-- repair: Counted again.

select format('{kind} %s: %s -> %s', i.id, coalesce(i.registration_count::text, 'null'), coalesce(r.n, 0))
from {items} i
left join
    (select {item_id} as id, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
using (id)
where i.registration_count is distinct from coalesce(r.n, 0) and coalesce(i.registration_count, 0) >= 0 order by i.id;

-- remedy:
lock table {registrations}, {items} in share row exclusive mode;
update {items} i
set registration_count = coalesce(r.n, 0)
from {items} j
left join
    (select {item_id} as id, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
using (id)
where j.id = i.id and i.registration_count is distinct from coalesce(r.n, 0);
