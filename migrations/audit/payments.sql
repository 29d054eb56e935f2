-- An active payment has the status 'paid'; a registration is active unless it is cancelled.

-- check: second_active_payment
-- advice: The user has paid twice. Give one payment back and set its status to 'refunded'.
select string_agg(id::text, '+' order by id) from payments where status = 'paid'
group by user_id, content_type_id, object_id having count(*) > 1;

-- check: active_payment_without_active_registration
-- advice: The user has paid and holds nothing. Give the money back, or let the user register again, which costs
-- nothing.
select p.id::text from payments p
where p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
  and p.status = 'paid'
  and not exists (select from {registrations} r
                  where r.user_id = p.user_id and r.{item_id} = p.object_id and r.status <> 'cancelled')
  -- An operator may cancel a registration and keep the money.
  and not p.refund_refused;

-- check: payment_of_unknown_kind
-- advice: Set the payment type to the kind of the content type: select * from sugang.kinds;
select p.id::text from payments p left join sugang.kinds k using (content_type_id)
where k.kind is distinct from p.payment_type;

-- check: payment_without_user
-- advice: Restore the user from a backup; the history has the id.
select p.id::text from payments p where not exists (select from users u where u.id = p.user_id);

-- check: payment_value_unknown
-- advice: Set a status that is known, and the amount and the method that the history and the gateway have.
select id::text from payments
where status not in ('paid', 'cancelled', 'refunded')
   or (amount > 0 and payment_method <> 'free' or amount = 0 and payment_method = 'free') is not true;

-- check: payment_points_to_another_registration
-- advice: Set registration_id to the registration of the payment's user and item.
select p.id::text from payments p join {registrations} r on r.id = p.registration_id
where p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
  and (r.user_id, r.{item_id}) <> (p.user_id, p.object_id);

-- A registration that was deleted or has got another id is in the history.
-- check: payment_points_to_no_registration
-- advice: Set registration_id to the registration of the payment's user and item, or restore the registration.
select p.id::text from payments p
where p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
  and p.registration_id is not null
  and not exists (select from {registrations} r where r.id = p.registration_id)
  and not exists (select from sugang.audit_log h
                  where h.subject = '{kind}' and h.subject_id = p.registration_id and h.status = 'deleted'
                    and h.user_id = p.user_id and h.item_id = p.object_id);

-- check: external_id_twice
-- advice: Compare both payments with the gateway's books; one of them is not what was paid.
select string_agg(id::text, '+' order by id) from payments
where starts_with(external_transaction_id, 'sugang_') group by external_transaction_id having count(*) > 1;

-- check: payment_time_against_status
-- advice: Decide by the history which of the two is right, and correct the other.
select id::text from payments
where status = 'paid' and cancelled_at is not null or status = 'cancelled' and cancelled_at is null;

-- The clocks of two programs may differ by minutes. What was there before the history is as it was found.
-- check: payment_times_out_of_order
-- advice: Correct the times by the history, whose times this database's clock has written.
select p.id::text from payments p
where (p.cancelled_at < p.paid_at - interval '5 minutes'
       or p.paid_at > now() + interval '1 day' and isfinite(p.paid_at)
       or p.cancelled_at > now() + interval '1 day' and isfinite(p.cancelled_at))
  and not exists (select from sugang.audit_log h
                  where h.subject = 'payment' and h.subject_id = p.id and h.entry = p.history_entries
                    and h.at in (select applied_at from sugang.migrations where script ~ '^V\d+__history_chain'));
