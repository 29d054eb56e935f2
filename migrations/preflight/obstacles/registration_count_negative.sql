-- finds: Items have a negative registration_count.
-- advice: This counts again. Find what lowered the count, before it does so again.

select format('{kind} %s: %s', id, registration_count) from {items} where registration_count < 0 order by id;

-- remedy:
update {items} i
set registration_count = (select count(*) from {registrations} r where r.{item_id} = i.id and r.status <> 'cancelled')
where i.registration_count < 0;
