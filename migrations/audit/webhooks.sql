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

-- Refunds are not in the history. Of one that was requested after a webhook was told of a change, and that is no older
-- than what the outbox keeps, the webhook is told the state that it is in.
-- check: outbox_of_refund
-- advice: A refund was written while its trigger was off, or its event was removed. The receiver of the webhook does
-- not know of it: compare its data with the payment.
select concat('refund ', r.id, ' ', r.status, ' for ', w.id)
from sugang.webhooks w
cross join lateral (select at from sugang.audit_log where id > w.first_change order by id limit 1) told
cross join (select at from sugang.outbox order by id limit 1) kept
join sugang.refunds r on r.requested_at > told.at and r.requested_at > kept.at
where w.status <> 'ended' and (w.types = '{}' or 'refund.' || r.status = any(w.types))
  and not exists (select from sugang.outbox e join sugang.deliveries d on d.event_id = e.id and d.webhook_id = w.id
                  where (e.subject, e.subject_id, e.type) = ('refund', r.id, 'refund.' || r.status));

-- A change is told as the history has it. What is not in the history is told in one form for each subject.
-- check: event_was_changed
-- advice: What the receivers are told is not what has happened: compare their data with the row of the history
-- (sugang.outbox.change_id), the refund or the item.
select e.id::text from sugang.outbox e left join sugang.audit_log h on h.id = e.change_id
where case
    when e.change_id is not null
        then (e.subject, e.subject_id, e.type, e.data::jsonb)
             is distinct from (h.subject, h.subject_id, sugang.event_type(h), sugang.change_json(h)::jsonb)
    when e.subject = 'ping' then (e.type, e.data ->> 'webhook_id') is distinct from ('ping', e.subject_id::text)
    when e.subject = 'refund'
        then (e.type, e.data ->> 'refund_id') is distinct from ('refund.' || (e.data ->> 'status'), e.subject_id::text)
    else (e.type, e.subject, e.data ->> 'item_id')
         is distinct from ('item.' || (e.data ->> 'status'), (e.data ->> 'item_type') || ' item', e.subject_id::text)
end;

-- The longest pause is that after the ninth try, and a fifth more.
-- check: delivery_without_try
-- advice: It is said to have been sent, or it never will be. If the receiver does not have it:
-- update sugang.deliveries set status = 'pending', tries = 0, ended_at = null, next_at = now() where id = <id>;
select id::text from sugang.deliveries
where status <> 'pending' and last_at is null
   or status = 'delivered' and (last_status between 200 and 299) is not true
   or status = 'pending' and next_at > clock_timestamp() + interval '2 days';

-- check: told_twice
-- advice: One change is told twice: delete what is pending of the later event or delivery, and create the missing
-- unique index again.
select concat('change ', change_id) from sugang.outbox
where change_id is not null group by change_id having count(*) > 1
union all
select concat('event ', event_id, ' for ', webhook_id) from sugang.deliveries
group by event_id, webhook_id having count(*) > 1;

-- check: delivery_without_event
-- advice: It can never be sent: delete it, or restore the event from a backup.
select d.id::text from sugang.deliveries d
where d.status = 'pending' and not exists (select from sugang.outbox where id = d.event_id);
