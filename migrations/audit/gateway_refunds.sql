-- Refunds that a gateway makes. See functions/gateway_refunds.sql. What was given back adds up by the checks of
-- ledger.sql; the user of one that is under way keeps the seat by those of payments.sql.

-- check: refund_waits_for_a_person
-- advice: The gateway has refused to give back what is owed, or needs an account (select code from sugang.refunds where
-- id = <id>). Refund the payment once more, with an account if that is asked for; or pay it out, and note the refund of
-- the order.
select id::text from sugang.refunds where status = 'requested' and code is not null;

-- check: second_refund_under_way
-- advice: Compare both with the gateway's books. Then create the missing unique index again.
select string_agg(id::text, '+' order by id) from sugang.refunds
where status = 'sent' group by payment_id having count(*) > 1;

-- check: refund_without_key
-- advice: It was sent with a key that is not known any more. Compare it with the gateway's books before anything is
-- sent again.
select r.id::text from sugang.refunds r
where r.status = 'sent' and r.idempotency_key is null
  and exists (select from sugang.payment_attempts t where t.payment_id = r.payment_id and sugang.gives_back(t.gateway));

-- No lease and no pause is longer than an hour.
-- check: refund_left_alone
-- advice: The sweep does not look after it: update sugang.refunds set due_at = now() where id = <id>; the look-up
-- before it is sent finds what was given back.
select r.id::text from sugang.refunds r
where (r.status = 'sent' or r.status = 'requested' and r.code is null)
  and (r.due_at is null or r.due_at > clock_timestamp() + interval '1 day')
  and exists (select from sugang.payment_attempts t where t.payment_id = r.payment_id and sugang.gives_back(t.gateway));

-- A gateway has an id of what it has given back. What a person has, or a bank by itself, has a reference. Of a payment
-- that an operator confirms, only a part goes back without either. Before V41, no gateway was asked.
-- check: refund_without_evidence
-- advice: Our books say that it was given back, and not by whom. Look for it in the gateway's console, and put its id
-- there, or that of the transfer, into sugang.refunds.reference. If the user has not got it, pay it out first.
select r.id::text from sugang.refunds r
where r.status in ('done', 'external') and r.gateway_id is null and r.reference is null
  and r.requested_at > (select max(applied_at) from sugang.migrations where script = 'V41__gateway_refunds')
  and exists (select from sugang.payment_attempts t
              where t.payment_id = r.payment_id and (r.ends_payment or sugang.gives_back(t.gateway)));

-- check: refund_long_under_way
-- advice: For half a day nothing has told what has become of it. Is the gateway still configured, with a key that it
-- accepts? Look the payment up in the gateway's console.
select id::text from sugang.refunds where status = 'sent' and requested_at < clock_timestamp() - interval '12 hours';

-- check: gateway_refund_twice
-- advice: One refund of the gateway was booked twice. Compare with its books, and correct the other.
select string_agg(id::text, '+' order by id) from sugang.refunds
where gateway_id is not null group by payment_id, gateway_id having count(*) > 1;

-- Each look-up of a payment compares what the gateway has given back with the books: see functions/reconciliations.sql.
-- check: gateway_books
-- advice: The gateway has given back more than the books have of this payment, or less (select facts -> 'difference'
-- from sugang.payment_attempts where payment_id = <id>). Compare each refund with the gateway's console. Put the
-- gateway's id of one that it has made into sugang.refunds.reference; then update sugang.payment_attempts set
-- reconcile_at = now() where payment_id = <id>, and the sweep compares again.
select payment_id::text from sugang.payment_attempts where payment_id is not null and facts ? 'difference';
