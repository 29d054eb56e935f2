-- finds: The status of a payment and its cancelled_at do not agree.
-- advice: This follows the status.

select format('payment %s: %s, %s', id, status, coalesce(cancelled_at::text, 'never cancelled')) from payments
where status = 'paid' and cancelled_at is not null or status = 'cancelled' and cancelled_at is null order by id;

-- remedy:
update payments set cancelled_at = case when status = 'cancelled' then coalesce(paid_at, now()) end
where status = 'paid' and cancelled_at is not null or status = 'cancelled' and cancelled_at is null;
