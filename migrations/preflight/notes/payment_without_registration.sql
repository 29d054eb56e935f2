-- finds: Users have paid for an item for which they hold no registration.
-- advice: This cancels the payments; refund what was paid.

select format('payment %s: user %s, {kind} %s', p.id, p.user_id, p.object_id)
from payments p
where p.payment_type = '{kind}' and p.status = 'paid' and exists (select from {items} i where i.id = p.object_id)
  and not exists (select from {registrations} r
                  where r.user_id = p.user_id and r.{item_id} = p.object_id and r.status <> 'cancelled')
order by p.id;

-- remedy:
update payments p
set status = 'cancelled', cancelled_at = coalesce(cancelled_at, now()),
    refund_reason = coalesce(refund_reason, 'not registered')
where p.payment_type = '{kind}' and p.status = 'paid' and exists (select from {items} i where i.id = p.object_id)
  and not exists (select from {registrations} r
                  where r.user_id = p.user_id and r.{item_id} = p.object_id and r.status <> 'cancelled');
