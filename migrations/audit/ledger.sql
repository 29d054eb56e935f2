-- Money that goes back, and the ledger of all money, against the payments. See functions/ledger.sql.

-- check: refunded_beyond_payment
-- advice: More was given back than was paid. Compare with the gateway's books, and set what was not given back to
-- `refused`.
select p.id::text from payments p
join (select payment_id as id, sum(amount) as amount from sugang.refunds
      where status <> 'refused' group by 1) r using (id)
where r.amount > p.amount;

-- check: refunds_of_payment
-- advice: The payment and its refunds (select * from sugang.refunds where payment_id = <id>) disagree. Decide by the
-- ledger and the gateway's books what was given back, and correct the other.
with refunded as (
    select payment_id as id, coalesce(sum(amount) filter (where not ends_payment), 0) as part, sum(amount) as amount
    from sugang.refunds where status <> 'refused' group by 1
)
select concat(p.id, ' ', w.reason)
from payments p left join refunded r using (id)
cross join lateral (select case
    when p.partly_refunded <> coalesce(r.part, 0) then 'partly refunded'
    when p.status = 'paid' and r.amount > r.part then 'is paid, and all was given back'
    when p.status <> 'paid' and coalesce(r.amount, 0) < p.amount then 'is not paid, and not all was given back'
    when p.refund_refused and not exists (select from sugang.refunds where payment_id = p.id and status = 'refused')
        then 'no refund was refused'
end as reason) w
where w.reason is not null;

-- A payment that was deleted or has got another id is in the history.
-- check: refund_of_no_payment
-- advice: Restore the payment from a backup; the history has what it was.
select r.id::text from sugang.refunds r
where not exists (select from payments p where p.id = r.payment_id)
  and not exists (select from sugang.audit_log h
                  where h.subject = 'payment' and h.subject_id = r.payment_id and h.status = 'deleted');

-- By a sum instead of joins, which take minutes while PostgreSQL has no statistics of tables that are new.
-- check: ledger_of_payment
-- advice: Compare the payment with its history, its refunds and the gateway's books. If what an import without triggers
-- has written is right: select sugang.log_unlogged_payments();
with movements as (
    select id, true as is_payment, amount as due, 0 as cash from payments
    union all
    select payment_id, false, -amount, 0 from sugang.refunds where status in ('done', 'external')
    union all
    select payment_id, false, 0, case 'cash' when debit then amount when credit then -amount else 0 end
    from sugang.ledger
)
select id::text from movements group by id
having sum(cash) <> case when bool_or(is_payment) then sum(due) else 0 end;

-- check: ledger_of_refund
-- advice: Compare the refund with the ledger (select * from sugang.ledger where source = 'refund' and source_id = <id>)
-- and the gateway's books, and correct what is wrong.
with booked as (
    select source_id as id, max(amount) filter (where step <> 'refused') as paid_out,
           sum(case 'cash' when credit then amount else -amount end) as amount, count(distinct amount) as amounts,
           bool_or(step = 'external') as is_external, min(at) as first_at, max(at) as last_at
    from sugang.ledger where source = 'refund' group by 1
)
select id::text
from sugang.refunds r full join booked b using (id)
where r.id is null
   or coalesce(b.amount, 0) <> case when r.status in ('done', 'external') then r.amount else 0 end
   or b.amounts > 1 or b.paid_out <> r.amount
   or b.is_external <> (r.status = 'external') and r.status in ('done', 'external');

-- A refund is booked once it is known. One that neither a gateway nor a person had to confirm, or that was found in a
-- gateway's console, is known when it is written. A clock may have been set.
-- check: ledger_time_of_refund
-- advice: The figures of two days are wrong. Compare the time with the gateway's books and with a backup.
select concat_ws(' ', r.id, l.step)
from sugang.ledger l join sugang.refunds r on r.id = l.source_id
where l.source = 'refund'
  and (l.at < r.requested_at - interval '1 hour'
       or l.at > r.requested_at + interval '1 hour'
          and (l.at > clock_timestamp() + interval '1 hour'
               or l.step <> 'refused' and (l.step = 'external' or coalesce(r.gateway_id, r.reference) is null)));

-- A payment whose order was deleted with its attempts says by itself why it has ended.
-- check: ledger_reversal
-- advice: The ledger says that a bank has taken a deposit back, and the attempt knows nothing of it. Compare with the
-- gateway's books.
select l.source_id::text from sugang.ledger l join payments p on p.id = l.payment_id
where l.source = 'refund' and l.step = 'reversed' and p.refund_reason is distinct from 'the deposit was taken back'
  and not exists (select from sugang.payment_attempts t where t.facts -> 'taken_back' @> to_jsonb(l.payment_id));

-- Both sides of a row are one amount, so the balances sum to zero. What a row comes from is in the history, at the time
-- of the row. What was paid before there was a ledger has the time of the payment.
-- check: ledger_entry
-- advice: This movement has not the accounts of its step, or nothing has moved it at that time. Compare with a backup
-- and the gateway's books.
select concat_ws(' ', source, source_id, step) from sugang.ledger
where (amount > 0
       and (source, step, debit, credit) in (('payment', 'captured', 'cash', 'sales'),
                                             ('refund', 'done', 'sales_returns', 'cash'),
                                             ('refund', 'external', 'sales_returns', 'cash'),
                                             ('refund', 'reversed', 'sales_returns', 'cash'),
                                             ('refund', 'refused', 'cash', 'sales_returns'),
                                             ('history', 'corrected', 'cash', 'sales'),
                                             ('history', 'corrected', 'sales', 'cash'))) is not true
union all
select concat_ws(' ', l.source, l.source_id, l.step) from sugang.ledger l
where l.source in ('payment', 'history')
  and not exists (select from sugang.audit_log h
                  where h.subject = 'payment' and h.subject_id = l.payment_id
                    and l.source_id = case l.source when 'payment' then h.subject_id else h.id end
                    and h.at between l.at - interval '1 hour' and l.at + interval '1 hour')
  and not exists (select from payments p where l.source = 'payment' and p.id = l.source_id and p.paid_at = l.at);
