-- Attempts to pay orders. An attempt has no digest of its own: it is compared with what orders, payments and the
-- history say.

-- An approval ends by what the gateway has said: it has declined, or the money is there. The attempt that was approved
-- last is the latest one, or its money is with a later one.
-- check: approval_without_outcome
-- advice: The order has ended while a gateway was asked, and nothing tells what has become of the money. Look the
-- attempt's reference up in the gateway's console, and give back what was taken.
with ended as (
    select distinct h.subject_id as id
    from sugang.audit_log h join sugang.audit_log n on (n.subject, n.subject_id) = (h.subject, h.subject_id)
    where h.subject = 'order' and h.status = 'approving' and n.entry = h.entry + 1
      and n.status in ('expired', 'cancelled')
)
select e.id::text from ended e
cross join lateral (
    select status, code, facts from sugang.payment_attempts where order_id = e.id order by id desc limit 1) t
where case t.status
    when 'declined' then t.code is null
    when 'void' then (t.facts ? 'taken_back') is not true
    else t.status in ('open', 'sent', 'waiting')
end;

-- The digest of an order has the gateway of its latest attempt, and that of a payment the gateway's id of the money,
-- unless another program has changed it since. PortOne's key for the approval is another one than its id.
-- check: attempt_was_changed
-- advice: Compare the attempt with the gateway's console and a backup. With a wrong gateway or key, its money is
-- neither looked up nor given back.
select t.id::text from sugang.payment_attempts t
join sugang.orders o on o.id = t.order_id
left join payments p on p.id = t.payment_id
where t.gateway <> o.gateway and t.code is distinct from 'deposit_taken_back'
      and not exists (select from sugang.payment_attempts n where n.order_id = t.order_id and n.id > t.id)
   or t.payment_id is not null
      and ((t.gateway = 'manual') <> coalesce(t.facts ? 'confirmed_by', false)
           or t.gateway in ('toss', 'kakaopay', 'stripe') and t.gateway_key <> t.facts ->> 'external_id'
           or p.history_entries <= case when t.status = 'captured' and p.status <> 'paid' then 2 else 1 end
              and p.external_transaction_id is distinct from sugang.stored_external_id(
                  coalesce(t.facts ->> 'external_id', t.gateway_key, t.reference)
                  || coalesce('#' || (1 + jsonb_array_length(t.facts -> 'taken_back'))::text, '')));
