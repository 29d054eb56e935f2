-- Orders: the seats that they hold, and the money of their attempts.

-- check: held_count
-- advice: select sugang.recount_{kind}(); counts again.
select i.id::text from {items} i
left join (select item_id as id, count(*) as n from sugang.orders
           where kind = '{kind}' and status in ('held', 'approving', 'awaiting_deposit') group by 1) o using (id)
where i.held_count <> coalesce(o.n, 0);

-- check: order_without_user_or_item
-- advice: Restore the user or the item from a backup; or end the order, after a look at the gateway's books.
select o.id::text from sugang.orders o
where o.is_live and o.kind = '{kind}'
  and (not exists (select from users u where u.id = o.user_id)
       or not exists (select from {items} i where i.id = o.item_id));

-- check: second_live_order
-- advice: Decide by the attempts and the gateway's books which of them remains, and end the other. Then create the
-- missing unique index again.
select string_agg(id::text, '+' order by id) from sugang.orders
where status in ('held', 'approving', 'awaiting_deposit') group by user_id, kind, item_id having count(*) > 1;

-- check: second_capture
-- advice: An order was paid twice. Give the second payment back at the gateway, and set its attempt to `surplus`.
select order_id::text from sugang.payment_attempts where status = 'captured' group by 1 having count(*) > 1;

-- check: approval_long_under_way
-- advice: For half a day nothing has told what has become of it, and the seat is held. Is the gateway still configured,
-- with a key that it accepts? Look the attempt's reference up in the gateway's console.
select o.id::text from sugang.orders o join sugang.payment_attempts t on t.order_id = o.id and t.status = 'sent'
where o.status = 'approving' and t.sent_at < clock_timestamp() - interval '12 hours';

-- check: captured_is_price
-- advice: The money of an order is not its price. Compare with the gateway's books, and give it back.
select o.id::text from sugang.orders o join sugang.payment_attempts t on t.order_id = o.id and t.status = 'captured'
where t.captured is distinct from o.price or t.amount is distinct from o.price;

-- check: order_status_against_money
-- advice: Compare the order with its attempts (select * from sugang.payment_attempts where order_id = <id>), its
-- payment and the gateway's books. Decide which is right, and correct the other.
select concat(o.id, ' ', w.reason) from sugang.orders o
cross join lateral (
    select count(*) filter (where status = 'captured') as captured,
           count(*) filter (where status = 'surplus') as surplus,
           count(*) filter (where status in ('open', 'sent', 'waiting')) as live,
           string_agg(status, ',') filter (where status in ('open', 'sent', 'waiting')) as live_status,
           coalesce(bool_or(payment_id = o.payment_id), false) as has_its_payment
    from sugang.payment_attempts where order_id = o.id) t
cross join lateral (select case
    when (o.status = 'paid') <> (t.captured > 0) then 'is paid without a capture, or the reverse'
    when o.status = 'refund_due' and t.surplus = 0 then 'owes a refund of no money'
    when o.status in ('paid', 'refund_due') and not t.has_its_payment then 'has the payment of no attempt'
    -- A seat is never freed while an outcome is unknown.
    when o.status in ('expired', 'cancelled') and t.live > 0 then 'has ended with a live attempt'
    when o.status in ('paid', 'refund_due') and t.live_status = 'open' then 'has ended with an open attempt'
    when t.live_status <> case o.status when 'held' then 'open' when 'approving' then 'sent'
                                        when 'awaiting_deposit' then 'waiting' end
        then 'has an attempt in another state'
    when o.status in ('held', 'approving', 'awaiting_deposit') and t.live = 0 then 'has no live attempt'
end as reason) w
where w.reason is not null;

-- What was paid later by another program, or is deleted, is in the history.
-- check: payment_of_attempt
-- advice: The payment that an attempt has brought is gone, or has another amount. Compare with the history, a backup
-- and the gateway's books.
select t.id::text from sugang.payment_attempts t
left join payments p on p.id = t.payment_id
where t.status in ('captured', 'surplus')
  and case when p.id is null
           then not exists (select from sugang.audit_log h
                            where h.subject = 'payment' and h.subject_id = t.payment_id and h.status = 'deleted')
           else p.amount is distinct from t.captured
                and not exists (select from sugang.audit_log h
                                where h.subject = 'payment' and h.subject_id = p.id and h.entry > 1) end;

-- Every won has an active registration, or a refund that is owed, on its way or done.
-- check: surplus_without_refund
-- advice: Money was set aside, and nothing is owed back. Write the refund, or find out who has taken it away.
select t.id::text from sugang.payment_attempts t
where t.status = 'surplus'
  and coalesce((select sum(amount) from sugang.refunds r
                where r.payment_id = t.payment_id and r.status <> 'refused'), 0) < t.captured;

-- A payment that was cancelled later has a refund: see refunds_of_payment. One that is paid has its registration.
-- check: paid_order_without_registration
-- advice: The user has paid, and has no seat. Give it back, or refund the payment.
select o.id::text from sugang.orders o join payments p on p.id = o.payment_id
where o.status = 'paid' and o.kind = '{kind}' and p.status = 'paid'
  and not exists (select from {registrations} r
                  where r.user_id = o.user_id and r.{item_id} = o.item_id)
  and not exists (select from sugang.audit_log h
                  where h.subject = '{kind}' and h.subject_id = o.registration_id and h.status in ('deleted', 'moved'));

-- An order that was paid is unpaid again only if the ledger says that its deposit was taken back.
-- check: unpaid_without_reversal
-- advice: Compare the history of the order (select * from sugang.audit_log where subject = 'order' and subject_id =
-- <id>) with its attempts and the gateway's books. If the money is there, restore the order.
select o.id::text from sugang.orders o
where o.status <> 'paid'
  and exists (select from sugang.audit_log h where h.subject = 'order' and h.subject_id = o.id and h.status = 'paid')
  and not exists (select from sugang.payment_attempts t join sugang.ledger l
                      on l.source = 'refund' and l.step = 'reversed'
                         and t.facts -> 'taken_back' @> to_jsonb(l.payment_id)
                  where t.order_id = o.id);

-- An event takes effect once.
-- check: second_event
-- advice: An event was stored twice. Delete all but its first row, and create the missing unique index again.
select concat(gateway, ' ', event_key) from sugang.gateway_events group by gateway, event_key having count(*) > 1;

-- check: event_never_looked_up
-- advice: Nothing has looked up what a gateway has told. See that the sweep runs, and that the gateway can be reached.
select id::text from sugang.gateway_events
where status = 'due'
  and lease_until not between clock_timestamp() - interval '1 day' and clock_timestamp() + interval '1 day';
