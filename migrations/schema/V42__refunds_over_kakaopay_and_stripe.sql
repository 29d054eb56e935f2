-- What KakaoPay and Stripe have taken is given back over them as well. See functions/gateway_refunds.sql.

update sugang.payment_attempts set reconcile_at = clock_timestamp()
    where status in ('captured', 'surplus') and gateway in ('kakaopay', 'stripe');
-- What a person has given back in the gateway's console without a note is found before anything is sent.
update sugang.refunds r set due_at = clock_timestamp()
    from sugang.payment_attempts t
    where t.payment_id = r.payment_id and t.gateway in ('kakaopay', 'stripe') and r.status = 'requested';
