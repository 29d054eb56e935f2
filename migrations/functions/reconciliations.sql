-- Once a day, and after an event that has brought no news, the sweep asks the gateways what has become of money that
-- they have taken. What was given back in a gateway's own console is noted (gateway_refunds.sql); a deposit that its
-- bank has taken back without an event is booked out; and a difference to our books stays visible in the audit.

-- When a gateway that has taken money is asked the first time what it has given back by itself.
create or replace function sugang.first_reconciliation(t sugang.payment_attempts) returns timestamptz
language sql volatile as $$
    select case when sugang.gives_back(t.gateway) then clock_timestamp() + interval '1 day' end
$$;

-- When it is asked again after an answer: once a day, until the payment is p_days old. What an event has asked for
-- meanwhile, which has ended the lease, comes first.
create or replace function sugang.plan_reconciliation(p_attempt bigint, p_days bigint) returns void
language sql volatile as $$
    update sugang.payment_attempts
        set reconcile_at = case when ended_at > clock_timestamp() - make_interval(days => p_days::integer)
                                then clock_timestamp() + interval '1 day' end
        where id = p_attempt and (reconcile_at > clock_timestamp() or lease_until is not null)
$$;

-- Claims up to p_limit payments whose gateway is asked: first those of events (-infinity), with 0 days only those.
-- Without an answer, it is asked again soon. With 0 days, that of an event has to stay one, so only its lease tells
-- when.
create or replace function sugang.claim_reconciliations(p_function text, p_limit bigint, p_days bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    -- An index finds what is due by a value that stays the same.
    due_until timestamptz := case when p_days > 0 then clock_timestamp() else '-infinity' end;
    again_at timestamptz := clock_timestamp() + interval '10 minutes';
begin
    if p_function is distinct from 'claim_reconciliations' then
        perform sugang.misrouted(p_function, 'claim_reconciliations');
    end if;
    with due as (
        select id from sugang.payment_attempts
        where reconcile_at <= due_until and status in ('captured', 'surplus')
          and (p_days > 0 or coalesce(lease_until < clock_timestamp(), true))
        order by reconcile_at limit p_limit for update skip locked
    ), claimed as (
        update sugang.payment_attempts t
            set reconcile_at = case when p_days > 0 then again_at else reconcile_at end, lease_until = again_at
            from due where t.id = due.id returning t as attempt, t.id, t.order_id, t.payment_id
    )
    select 'ok', coalesce(json_agg(json_build_object(
            'payment', c.payment_id, 'asked_at', clock_timestamp(),
            'attempt', sugang.attempt_json(c.attempt, o)) order by c.id), '[]')::text
        into a.outcome, a.body from claimed c join sugang.orders o on o.id = c.order_id;
    return a;
end $$;

-- Notes by how much more a gateway has given back of a payment than our books have. The audit shows it until a look-up
-- finds no difference. What operators have noted as paid out may have been made in the gateway's console, or elsewhere:
-- the gateway shows it, or it does not.
create or replace function sugang.note_difference(t sugang.payment_attempts, p_refunds jsonb) returns void
language plpgsql as $$
declare
    difference numeric;
    noted numeric;
begin
    select coalesce(sum((x ->> 'amount')::numeric), 0) - sugang.given_back(t.payment_id) - sugang.given_back_before(t)
        into difference
        from jsonb_array_elements(p_refunds) x where x ->> 'state' = 'done';
    select coalesce(sum(amount), 0) into noted from sugang.refunds
        where payment_id = t.payment_id and status = 'done' and gateway_id is null and reference is not null;
    if difference in (0, -noted) then difference := null; end if;
    update sugang.payment_attempts
        set facts = (coalesce(facts, '{}') - 'difference')
            || jsonb_strip_nulls(jsonb_build_object('difference', difference))
        where id = t.id and (facts -> 'difference')::numeric is distinct from difference;
end $$;

-- Notes what a gateway shows of money that it has taken. p_outcome and p_facts are as in sugang.settle. The gateway was
-- asked after p_asked_at; what was booked since then, its answer may not have.
create or replace function sugang.reconcile_payment(p_function text, p_payment bigint, p_asked_at text, p_outcome text,
                                                    p_facts text, p_refunds text, p_request_id text,
                                                    p_days bigint default 30)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
    asked_at timestamptz := p_asked_at::timestamptz;
    shown jsonb := p_refunds::jsonb;
    is_current boolean;
begin
    if p_function is distinct from 'reconcile_payment' then
        perform sugang.misrouted(p_function, 'reconcile_payment');
    end if;
    perform sugang.set_actor((select user_id from payments where id = p_payment), p_request_id);
    a.outcome := 'ok';
    o := sugang.lock_order((select order_id from sugang.payment_attempts where payment_id = p_payment));
    perform sugang.lock_payment(p_payment);
    select * into t from sugang.payment_attempts where payment_id = p_payment for update;
    perform sugang.plan_reconciliation(t.id, p_days);
    -- The gateway waits for the deposit again; or the time for that is over as well, and it has given nothing back.
    -- Without a deadline, money that was declined after all is no deposit, as far as we know.
    if shown = '[]' and (p_outcome = 'waiting' or p_outcome = 'declined' and t.due_at is not null)
       and (t.status = 'captured' and sugang.take_deposit_back(o, t, p_facts::jsonb)
            or sugang.take_owed_deposit_back(t)) then
        return a;
    end if;
    is_current := not exists (
        select from sugang.refunds r join sugang.ledger l on (l.source, l.source_id) = ('refund', r.id)
        where r.payment_id = p_payment and l.at >= asked_at);
    perform sugang.note_refunds(p_payment, null, shown);
    if is_current then perform sugang.note_difference(t, shown); end if;
    return a;
end $$;
