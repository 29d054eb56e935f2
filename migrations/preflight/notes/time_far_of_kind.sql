-- finds: Items have a time that no client can read. The API shows the first or the last time that ISO 8601 has.

select format('{kind} %s: %s', id, concat_ws(', ', start_at, end_at, created_at)) from {items}
where least(start_at, end_at, created_at) < '0001-01-01 00:00:00+00'
   or greatest(start_at, end_at, created_at) >= '10000-01-01 00:00:00+00'
order by id;
