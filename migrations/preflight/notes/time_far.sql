-- finds: Payments have a time that no client can read. The API shows the first or the last time that ISO 8601 has.

select format('payment %s: %s', id, concat_ws(', ', paid_at, cancelled_at)) from payments
where paid_at < '0001-01-01 00:00:00+00' or paid_at >= '10000-01-01 00:00:00+00'
   or cancelled_at < '0001-01-01 00:00:00+00' or cancelled_at >= '10000-01-01 00:00:00+00'
order by id;
