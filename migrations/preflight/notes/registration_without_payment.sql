-- finds: Users hold a registration without an active payment for it.
-- advice: This cancels the registrations that are not completed.

select format('registration %s: user %s, {kind} %s', r.id, r.user_id, r.{item_id})
from {registrations} r
where r.status <> 'cancelled'
  and not exists (select from payments p
                  where p.payment_type = '{kind}' and p.user_id = r.user_id and p.object_id = r.{item_id}
                    and p.status = 'paid')
order by r.id;

-- remedy:
update {registrations} r
set status = 'cancelled', cancelled_at = now()
where r.status = '{active}'
  and not exists (select from payments p
                  where p.payment_type = '{kind}' and p.user_id = r.user_id and p.object_id = r.{item_id}
                    and p.status = 'paid');
