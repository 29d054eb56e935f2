-- One kind: what the database brings with it opens the audit log.

-- A kind that is added to a running service may find its payments in the log.
insert into sugang.audit_log (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats)
select p.paid_at, 'payment', p.id, '{kind}', p.object_id, p.user_id, p.status,
       case when p.status = 'paid' then p.amount else 0 end, 0
from payments p
where p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
  and not exists (select from sugang.audit_log l where l.subject = 'payment' and l.subject_id = p.id)
order by p.id;

insert into sugang.audit_log (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats)
select {registered_at}, '{kind}', id, '{kind}', {item_id}, user_id, status, 0,
       case when status = 'cancelled' then 0 else 1 end
from {registrations} order by id;
