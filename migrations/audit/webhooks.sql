-- Webhooks: that they are told of what the history has.

-- check: outbox_of_change
-- advice: A change was written while the trigger of the history was off, or its event was removed. The receiver of the
-- webhook does not know of it: compare its data with the registration, order or payment.
select concat(h.subject, ' ', h.subject_id, ' entry ', h.entry, ' for ', w.id)
from sugang.webhooks w
join sugang.audit_log h on h.id > w.first_change
where w.status <> 'ended' and (w.types = '{}' or sugang.event_type(h) = any(w.types))
  and not exists (select from sugang.outbox e join sugang.deliveries d on d.event_id = e.id and d.webhook_id = w.id
                  where e.change_id = h.id);

-- check: delivery_without_event
-- advice: It can never be sent: delete it, or restore the event from a backup.
select d.id::text from sugang.deliveries d
where d.status = 'pending' and not exists (select from sugang.outbox where id = d.event_id);
