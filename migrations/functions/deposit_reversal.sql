-- A deposit that its bank takes back after it has arrived: the gateway waits for it again. Nothing else makes an order
-- that was paid unpaid.

-- The order whose deposit is being taken back; null in every other statement.
create or replace function sugang.reversed_order() returns bigint language sql stable as $$
    select nullif(current_setting('sugang.reversed_order', true), '')::bigint
$$;

-- What is known of an attempt whose deposit is being taken back.
create or replace function sugang.facts_of_reversal(p_facts jsonb, p_payment bigint) returns jsonb
language sql volatile as $$
    select (coalesce(p_facts, '{}') - 'difference') || jsonb_build_object(
        'taken_back', coalesce(p_facts -> 'taken_back', '[]') || to_jsonb(p_payment),
        'taken_back_at', clock_timestamp())
$$;

-- Books the money out, ends the payment, and cancels the registration unless it is completed: that is for operators to
-- decide. While there is time for another deposit, the order holds its seat again. Returns whether anything was done: a
-- payment that has ended otherwise stays as it is.
create or replace function sugang.take_deposit_back(o sugang.orders, t sugang.payment_attempts, p_facts jsonb)
returns boolean language plpgsql as $$
declare
    payment payments;
    due timestamptz := (p_facts ->> 'due_at')::timestamptz;
    keeps_seat boolean;
begin
    select * into payment from payments where id = t.payment_id for update;
    -- A refund that is under way is settled first.
    if payment.status is distinct from 'paid' or o.payment_id is distinct from payment.id
       or (sugang.refund_under_way(payment.id)).id is not null
       or exists (select from sugang.payment_attempts where order_id = o.id and is_live) then
        return false;
    end if;
    perform set_config('sugang.reversed_order', o.id::text, true);
    perform from users where id = o.user_id for key share;
    -- First, so that no gateway holds the money any more when the payment ends.
    update sugang.payment_attempts
        set status = 'void', payment_id = null, captured = null, due_at = coalesce(due, due_at), reconcile_at = null,
            code = 'deposit_taken_back',
            facts = sugang.facts_of_reversal(facts, payment.id)
        where id = t.id;
    execute format('select sugang.%I($1)', 'release_' || o.kind || '_of_order') into keeps_seat using o;
    update payments
        set status = 'cancelled', cancelled_at = greatest(clock_timestamp(), paid_at),
            refund_reason = 'the deposit was taken back', history_entries = history_entries + 1
        where id = payment.id;
    if keeps_seat and due > clock_timestamp() then
        update sugang.orders
            set status = 'awaiting_deposit', expires_at = due, payment_id = null, registration_id = null
            where id = o.id;
        update sugang.payment_attempts set status = 'waiting', ended_at = null, lease_until = null where id = t.id;
    else
        update sugang.orders set status = 'expired', payment_id = null, registration_id = null where id = o.id;
    end if;
    perform set_config('sugang.reversed_order', '', true);
    return true;
end $$;

-- The same for a deposit that is owed back already, because it was set aside or its payment has ended: its bank has
-- given it back. Returns whether anything was done. The money stays with an attempt of its own: the gateway waits for
-- the deposit under the same reference again, and what comes then is another payment.
create or replace function sugang.take_owed_deposit_back(t sugang.payment_attempts) returns boolean
language plpgsql as $$
declare
    kept bigint;
begin
    -- A part that is owed besides is left to a person: the gateway knows it by the attempt as it is.
    if exists (select from sugang.refunds
               where payment_id = t.payment_id and status in ('requested', 'sent') and not ends_payment) then
        return false;
    end if;
    update sugang.refunds
        set status = 'done', reference = 'deposit_taken_back', due_at = null, account = null, code = null
        where payment_id = t.payment_id and status = 'requested' and ends_payment;
    if not found then return false; end if;
    update sugang.payment_attempts
        set status = 'void', payment_id = null, captured = null, reconcile_at = null, code = 'deposit_taken_back',
            facts = sugang.facts_of_reversal(facts, t.payment_id)
        where id = t.id;
    insert into sugang.payment_attempts (order_id, gateway, reference, amount, status, captured, payment_id)
        values (t.order_id, t.gateway, t.reference || '_' || t.payment_id, t.amount, t.status, t.captured, t.payment_id)
        returning id into kept;
    update sugang.payment_attempts
        set code = 'deposit_taken_back', due_at = t.due_at, sent_at = t.sent_at, ended_at = t.ended_at, facts = t.facts
        where id = kept;
    return true;
end $$;
