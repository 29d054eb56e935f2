-- What gateways show as given back: by us, or in their own consoles. A look-up after a refund was sent, before it is
-- sent, because of an event, and once a day all note it by the same function.

-- What a gateway has left of a payment, by what it shows as given back.
create or replace function sugang.left_at_gateway(p_payment bigint, p_shown jsonb) returns numeric
language sql stable as $$
    select captured - coalesce((
        select sum((x ->> 'amount')::numeric) from jsonb_array_elements(p_shown) x where x ->> 'state' <> 'failed'), 0)
    from sugang.payment_attempts where payment_id = p_payment
$$;

-- Books in again what a gateway had given back, and now shows as failed: the user's bank has returned the money. If the
-- payment has ended, it is owed again, and a person decides how it is given back.
create or replace function sugang.take_refund_back(r sugang.refunds) returns void language sql as $$
    update sugang.refunds set status = 'refused', code = 'FAILED' where payment_id = r.payment_id and id = r.id
$$;

-- Notes what the gateway shows as given back of a payment: [{"id", "amount", "key", "state"}]. Ours is recognized by
-- the key that was sent along. A gateway that returns no such key (null) is believed by the amount, if it has not shown
-- that before ours was sent; so is a refund that a person has made at the gateway's console ("") in place of one that
-- was owed and not sent. What else was given back there becomes a refund of its own, which changes nothing but the
-- books: a person decides about the rest. Each takes effect once, by its id; and once more if it fails after it was
-- done. Returns what is still to be known of refund p_refund: `pending`, `failed`; else null.
create or replace function sugang.note_refunds(p_payment bigint, p_refund bigint, p_shown jsonb) returns text
language plpgsql as $$
declare
    s record;
    r sugang.refunds;
    p payments;
    own_state text;
    by_user bigint := sugang.actor();
begin
    for s in select x ->> 'id' as id, (x ->> 'amount')::numeric(10, 2) as amount, x ->> 'key' as key,
                    x ->> 'state' as state
             from jsonb_array_elements(p_shown) x loop
        update sugang.refunds set gateway_id = s.id
            where payment_id = p_payment and reference = s.id and gateway_id is null;
        select * into r from sugang.refunds where payment_id = p_payment and gateway_id = s.id;
        if r.id is not null then
            if s.state = 'failed' and sugang.is_given_back(r.status) then perform sugang.take_refund_back(r); end if;
            continue;
        end if;
        select * into r from sugang.refunds
            where payment_id = p_payment and status in ('requested', 'sent')
              and (idempotency_key = s.key
                   or amount = s.amount and (s.key is null and status = 'sent' and tries > 0
                                             or coalesce(s.key, '') = '' and status = 'requested'))
            order by status desc, id limit 1 for update;
        if s.state <> 'done' then
            if r.id = p_refund then own_state := s.state; end if;
            continue;
        end if;
        select * into p from payments where id = p_payment;
        if r.id is not null then
            update sugang.refunds set status = 'done', gateway_id = s.id, due_at = null, account = null, code = null
                where payment_id = p_payment and id = r.id;
            if r.cancels_payment and p.status = 'paid' then
                perform sugang.end_payment(p, r.reason, r.keeps_registration);
            end if;
        elsif p.status = 'paid' and p.partly_refunded < p.amount then
            -- Not by the user for whom the rest is done.
            perform set_config('sugang.actor', '', true);
            insert into sugang.refunds (payment_id, amount, status, gateway_id)
                values (p_payment, least(s.amount, p.amount - p.partly_refunded), 'external', s.id);
            perform set_config('sugang.actor', coalesce(by_user::text, ''), true);
        end if;
    end loop;
    return own_state;
end $$;

-- When a gateway that has taken money is asked the first time what it has given back by itself.
create or replace function sugang.first_reconciliation(t sugang.payment_attempts) returns timestamptz
language sql volatile as $$
    select case when sugang.gives_back(t.gateway) then clock_timestamp() + interval '1 day' end
$$;

-- Claims up to p_limit payments whose gateway is asked what it has given back by itself: each once a day, until it is
-- p_days old.
create or replace function sugang.claim_reconciliations(p_function text, p_limit bigint, p_days bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'claim_reconciliations' then
        perform sugang.misrouted(p_function, 'claim_reconciliations');
    end if;
    with due as (
        select id from sugang.payment_attempts
        where reconcile_at < clock_timestamp() order by reconcile_at limit p_limit for update skip locked
    ), claimed as (
        update sugang.payment_attempts t
            set reconcile_at = case when t.ended_at > clock_timestamp() - make_interval(days => p_days::integer)
                                    then clock_timestamp() + interval '1 day' end
            from due where t.id = due.id returning t as attempt, t.id, t.order_id, t.payment_id
    )
    select 'ok', coalesce(json_agg(json_build_object(
            'payment', c.payment_id, 'attempt', sugang.attempt_json(c.attempt, o)) order by c.id), '[]')::text
        into a.outcome, a.body from claimed c join sugang.orders o on o.id = c.order_id;
    return a;
end $$;

-- Notes what a gateway shows as given back of a payment, after a look-up or an event.
create or replace function sugang.reconcile_payment(p_function text, p_payment bigint, p_refunds text,
                                                    p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'reconcile_payment' then
        perform sugang.misrouted(p_function, 'reconcile_payment');
    end if;
    perform sugang.set_actor((select user_id from payments where id = p_payment), p_request_id);
    perform sugang.lock_payment(p_payment);
    perform sugang.note_refunds(p_payment, null, p_refunds::jsonb);
    a.outcome := 'ok';
    return a;
end $$;
