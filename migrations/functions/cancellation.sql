-- Cancels a payment, and with it the registration. Where a gateway holds the money, it gives it back first: see
-- functions/gateway_refunds.sql.

-- Why the payment of a user cannot be cancelled. Null if it can.
create or replace function sugang.cancellation_error(p_user bigint, p payments, p_under_way sugang.refunds)
returns sugang.outcome language sql immutable as $$
    select case
        when p.id is null then 'not_found'
        when p.user_id <> p_user then 'not_owner'
        -- An operator has decided so, and only an operator decides otherwise.
        when p.status = 'paid' and p.refund_refused then 'refund_refused'
        -- It is on its way already.
        when p_under_way.cancels_payment or p_under_way.ends_payment then 'accepted'
        when p_under_way.id is not null then 'refund_in_progress'
        when p.status <> 'paid' then 'already_cancelled'
    end
$$;

-- Begins to give back all that is left of a payment, for its user. What is completed is not cancelled: as long as the
-- refund is under way, it is not completed either.
create or replace function sugang.begin_cancellation(p payments, p_kind text, t sugang.payment_attempts,
                                                     p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    registration_status text;
begin
    if p_kind is not null then
        execute format('select sugang.%I($1, $2)', 'lock_' || p_kind || '_registration')
            into registration_status using p.user_id, p.object_id;
    end if;
    perform sugang.check_user(p.user_id);
    if registration_status = 'completed' then
        a.outcome := 'item_completed';
        a.body := json_build_object('payment_type', p_kind)::text;
        return a;
    end if;
    p_ask.payment_id := p.id;
    p_ask.amount := p.amount - p.partly_refunded;
    p_ask.cancels_payment := true;
    return sugang.begin_refund(p_ask, t, p_lease);
end $$;

-- Locks are taken in the order that functions/registrations.sql describes. p_ask: reason, account, and the request.
create or replace function sugang.do_cancel_payment(p_user bigint, p_id bigint, p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    payment payments;
    held sugang.payment_attempts;
    under_way sugang.refunds;
    owed sugang.refunds;
    kind text;
    released boolean;
    happened_at timestamptz;
begin
    select * into payment from payments where id = p_id;
    a.outcome := case
        when payment.id is null then 'not_found'
        when payment.user_id <> p_user then 'not_owner'
    end;
    if a.outcome is not null then return a; end if;
    -- The lock that a registration takes first: a cancellation and a new registration never overtake each other.
    payment := sugang.lock_payment(p_id);
    select k.kind into kind from sugang.kinds k where content_type_id = payment.content_type_id;
    held := sugang.attempt_at_gateway(p_id);
    if held.id is not null then under_way := sugang.refund_under_way(p_id); end if;
    a.outcome := sugang.cancellation_error(p_user, payment, under_way);
    -- Where a registration is cancelled, that checks the user.
    if a.outcome is not null or kind is null then perform sugang.check_user(p_user); end if;
    if a.outcome = 'accepted' then return sugang.refund_answer(under_way); end if;
    if a.outcome = 'already_cancelled' and sugang.needs_account(held) and p_ask.account is not null then
        owed := sugang.refund_waiting(p_id);
        -- The gateway has refused this account.
        if owed.account = p_ask.account then return sugang.refund_answer(owed); end if;
        return sugang.begin_owed_refund(owed, held, p_ask, p_lease);
    end if;
    if a.outcome is not null then return a; end if;
    if held.id is not null and payment.partly_refunded < payment.amount then
        return sugang.begin_cancellation(payment, kind, held, p_ask, p_lease);
    end if;
    -- A clock may have been set back.
    happened_at := greatest(clock_timestamp(), payment.paid_at);
    -- Old rows may pay for something that nothing registers for.
    if kind is not null then
        execute format('select sugang.%I($1, $2, $3)', 'cancel_' || kind || '_registration')
            into released using p_user, payment.object_id, happened_at;
    end if;
    if not released then
        a.outcome := 'item_completed';
        a.body := json_build_object('payment_type', kind)::text;
        return a;
    end if;
    update payments
        set status = 'cancelled', cancelled_at = happened_at, refund_reason = p_ask.reason,
            history_entries = history_entries + 1
        where id = p_id;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', p_id, 'cancelled_at', sugang.iso(happened_at))::text;
    return a;
end $$;

-- The outcome `send` has the refund to send to the gateway. What is still to be known is not kept under the key.
create or replace function sugang.cancel_payment(p_function text, p_user bigint, p_id bigint, p_reason text,
                                                 p_request_id text, p_key text, p_fingerprint text,
                                                 p_epoch bigint default null, p_account text default null,
                                                 p_lease_ms bigint default 30000)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_payment' then perform sugang.misrouted(p_function, 'cancel_payment'); end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is null then a := sugang.repeated_refund(p_user, p_key, p_fingerprint); end if;
    if a.outcome is not null then return a; end if;
    return sugang.end_refund(p_user, p_key, p_fingerprint, sugang.do_cancel_payment(
        p_user, p_id, sugang.asked_refund(p_user, p_reason, p_account, p_key, p_fingerprint),
        make_interval(secs => p_lease_ms / 1e3)));
end $$;
