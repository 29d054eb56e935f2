-- finds: Payments have a negative amount, none, or one that is not a number.
-- advice: This takes a negative amount for a refund that was written as a payment of its own, and keeps its amount
-- without the sign. An amount that is not a number is cancelled as 0.01.

select format('payment %s: %s', id, coalesce(amount::text, 'null'))
from payments where (amount >= 0 and amount < 'Infinity') is not true order by id;

-- remedy:
update payments
set amount = case when amount < 0 and amount > '-Infinity' then -amount else 0.01 end,
    status = case when status = 'paid' then 'refunded' else status end,
    cancelled_at = case when status = 'paid' then coalesce(cancelled_at, paid_at, now()) else cancelled_at end
where (amount >= 0 and amount < 'Infinity') is not true;
