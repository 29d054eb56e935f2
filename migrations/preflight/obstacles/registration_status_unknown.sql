-- finds: Registrations have a status other than {active}, completed and cancelled.
-- advice: This corrects the spelling where only that differs. Of the others, it keeps those that are paid for.

select format('registration %s: %s', id, coalesce(quote_literal(status), 'null'))
from {registrations} where coalesce(status, '') not in ('{active}', 'completed', 'cancelled') order by id;

-- remedy:
update {registrations} r
set status = case when lower(btrim(r.status)) in ('{active}', 'completed', 'cancelled') then lower(btrim(r.status))
                  when exists (select from payments p
                               where p.user_id = r.user_id and p.payment_type = '{kind}' and p.object_id = r.{item_id}
                                 and p.status = 'paid') then '{active}'
                  else 'cancelled' end
where coalesce(status, '') not in ('{active}', 'completed', 'cancelled');
update {registrations} set cancelled_at = now() where status = 'cancelled' and cancelled_at is null;
update {registrations} set completed_at = now() where status = 'completed' and completed_at is null;
