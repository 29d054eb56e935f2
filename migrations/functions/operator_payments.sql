-- What operators do with payments: find them, look at one, and give its money back.

-- What is left of a payment to give back. One expression, as sugang.csv_cell.
create or replace function sugang.left_to_refund(p payments) returns numeric language sql immutable as $$
    select case when p.status = 'paid' then p.amount - p.partly_refunded else 0.00 end
$$;

-- The refunds of a payment, as an operator sees them.
create or replace function sugang.refunds_json(p_payment bigint) returns jsonb language sql stable as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', id, 'amount', amount::text, 'status', status, 'reason', reason,
        'requested_by', requested_by, 'requested_at', sugang.iso(requested_at),
        'keeps_registration', keeps_registration, 'code', code,
        'reference', coalesce(gateway_id, reference)) order by id), '[]')
    from sugang.refunds where payment_id = p_payment
$$;

-- A payment with its refunds, and what is left to give back. A set of one row, as sugang.payment_json.
create or replace function sugang.payment_for_operator_json(p payments) returns table (body text)
language sql stable as $$
    select (object::jsonb || jsonb_build_object(
            'user_id', p.user_id, 'refund_reason', p.refund_reason,
            'left', sugang.left_to_refund(p)::text,
            'refunds', sugang.refunds_json(p.id)))::text
        from sugang.payment_json(p)
$$;

create or replace function sugang.get_payment_for_operator(p_function text, p_user bigint, p_id bigint,
                                                           p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_payment_for_operator' then
        perform sugang.misrouted(p_function, 'get_payment_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select body into a.body from payments p, sugang.payment_for_operator_json(p)
        where p.id = p_id;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- Locks are taken in the order that functions/registrations.sql describes. p_amount is null for all that is left.
-- p_ask: reason, account, keeps_registration, and the request.
create or replace function sugang.do_refund_payment(p_user bigint, p_epoch bigint, p_id bigint, p_amount numeric,
                                                    p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    payment payments := sugang.lock_payment(p_id);
    held sugang.payment_attempts := sugang.attempt_at_gateway(p_id);
    rest numeric(10, 2);
    refund bigint;
begin
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    rest := payment.amount - payment.partly_refunded;
    a.outcome := case
        when payment.id is null then 'not_found'
        when (sugang.refund_under_way(p_id)).id is not null then 'refund_in_progress'
        when payment.status <> 'paid' then 'already_cancelled'
        when p_amount > rest then 'refund_too_large'
    end;
    -- What waits for a decision is sent again by this one.
    if a.outcome = 'already_cancelled' and held.id is not null then
        return sugang.begin_owed_refund(sugang.refund_waiting(p_id), held, p_ask, p_lease);
    end if;
    if a.outcome is not null then
        if a.outcome = 'refund_too_large' then a.body := json_build_object('left', rest::text)::text; end if;
        return a;
    end if;
    p_amount := coalesce(p_amount, rest);
    if held.id is not null and rest > 0 then
        p_ask.payment_id := p_id;
        p_ask.amount := p_amount;
        p_ask.cancels_payment := p_amount = rest;
        return sugang.begin_refund(p_ask, held, p_lease);
    elsif p_amount < rest then
        insert into sugang.refunds (payment_id, amount, status, reason, requested_by)
            values (p_id, p_amount, sugang.first_refund_status(p_id), p_ask.reason, p_user) returning id into refund;
    else
        -- The trigger of the payment writes the refund.
        perform sugang.end_payment(payment, p_ask.reason, p_ask.keeps_registration);
        update sugang.refunds set keeps_registration = p_ask.keeps_registration
            where payment_id = p_id and ends_payment and status <> 'refused' returning id into refund;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', p_id, 'refund_id', refund, 'amount', p_amount::numeric(10, 2)::text,
                                'left', (rest - p_amount)::numeric(10, 2)::text)::text;
    return a;
end $$;

create or replace function sugang.refund_payment(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                 p_reason text, p_keep_registration boolean, p_request_id text,
                                                 p_key text, p_fingerprint text, p_epoch bigint default null,
                                                 p_account text default null, p_lease_ms bigint default 30000)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    ask sugang.refunds := sugang.asked_refund(p_user, p_reason, p_account, p_key, p_fingerprint);
begin
    if p_function is distinct from 'refund_payment' then perform sugang.misrouted(p_function, 'refund_payment'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is null then a := sugang.repeated_refund(p_user, p_key, p_fingerprint); end if;
    if a.outcome is not null then return a; end if;
    ask.keeps_registration := p_keep_registration;
    return sugang.end_refund(p_user, p_key, p_fingerprint, sugang.do_refund_payment(
        p_user, p_epoch, p_id, p_amount::numeric, ask, make_interval(secs => p_lease_ms / 1e3)));
end $$;
