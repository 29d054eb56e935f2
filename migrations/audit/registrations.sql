-- check: second_registration
-- advice: Decide by the history which of them remains, and delete the other. Then create the missing unique index
-- again.
select string_agg(id::text, '+' order by id) from {registrations} group by user_id, {item_id} having count(*) > 1;

-- check: active_registration_without_active_payment
-- advice: Nothing was paid for this seat. Cancel the registration, or enter the payment.
select r.id::text from {registrations} r
where r.status <> 'cancelled'
  and not exists (select from payments p
                  where p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
                    and p.user_id = r.user_id and p.object_id = r.{item_id}
                    -- An operator may give the money for a completed item back.
                    and (p.status = 'paid' or r.completed_at <= coalesce(p.cancelled_at, 'infinity')
                         or exists (select from sugang.refunds f
                                    where f.payment_id = p.id and f.keeps_registration and f.status <> 'refused'
                                      and f.requested_at >= r.{registered_at})));

-- check: registration_without_user_or_item
-- advice: Restore the user or the item from a backup; the history has the ids.
select r.id::text from {registrations} r
where not exists (select from users u where u.id = r.user_id)
   or not exists (select from {items} i where i.id = r.{item_id});

-- check: registration_status_unknown
-- advice: Set the status that the history has.
select id::text from {registrations} where status not in ('{active}', 'completed', 'cancelled');

-- check: registration_time_against_status
-- advice: Decide by the history which of the two is right, and correct the other.
select id::text from {registrations}
where (status = 'completed') <> (completed_at is not null) or (status = 'cancelled') <> (cancelled_at is not null);

-- The clocks of two programs may differ by minutes. What was there before the history is as it was found.
-- check: registration_times_out_of_order
-- advice: Correct the times by the history, whose times this database's clock has written.
select r.id::text from {registrations} r
where (coalesce(r.completed_at, r.cancelled_at) < r.{registered_at} - interval '5 minutes'
       or r.{registered_at} > now() + interval '1 day' and isfinite(r.{registered_at})
       or coalesce(r.completed_at, r.cancelled_at) > now() + interval '1 day'
          and isfinite(coalesce(r.completed_at, r.cancelled_at)))
  and not exists (select from sugang.audit_log h
                  where h.subject = '{kind}' and h.subject_id = r.id and h.entry = r.history_entries
                    and h.at in (select applied_at from sugang.migrations where script ~ '^V\d+__history_chain'));

-- check: registration_count
-- advice: select sugang.recount_{kind}(); counts again. Where it comes back, look for a trigger that counts as well:
-- `migrate --check` names it.
select i.id::text from {items} i
left join (select {item_id} as id, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
    using (id)
where i.registration_count is distinct from coalesce(r.n, 0);

-- An operator may lower a capacity below what is taken. Then no seat may have been taken since.
-- check: capacity
-- advice: More seats were taken than there are. Raise the capacity, or cancel the latest registrations.
select i.id::text from {items} i
left join (select {item_id} as id, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
    using (id)
where i.capacity < greatest(i.registration_count, r.n) + i.held_count
  and exists (select from sugang.audit_log h
              where h.item_kind = '{kind}' and h.item_id = i.id
                and (h.seats > 0 or (h.subject, h.status, h.entry) = ('order', 'held', 1))
                and h.at > coalesce(i.capacity_changed_at, '-infinity')
                -- A seat that an order has held before.
                and not exists (select from sugang.audit_log o
                                where h.seats > 0 and o.subject = 'order' and o.status <> 'held'
                                  and (o.request_id, o.user_id, o.item_kind, o.item_id)
                                      = (h.request_id, h.user_id, h.item_kind, h.item_id)));
