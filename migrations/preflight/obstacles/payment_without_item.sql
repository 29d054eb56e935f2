-- finds: Active payments pay for an item that is gone.
-- advice: This cancels them; refund what was paid.

select format('payment %s: user %s, {kind} %s', p.id, p.user_id, p.object_id)
from payments p
where p.payment_type = '{kind}' and p.status = 'paid' and not exists (select from {items} i where i.id = p.object_id)
order by p.id;

-- remedy:
update payments p
set status = 'cancelled', cancelled_at = coalesce(cancelled_at, now()),
    refund_reason = coalesce(refund_reason, 'the item is gone')
where p.payment_type = '{kind}' and p.status = 'paid' and not exists (select from {items} i where i.id = p.object_id);
