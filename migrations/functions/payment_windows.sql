-- Payment windows. Most are opened in the browser, with the public keys of the contract and the reference of the
-- attempt. Some gateways open them on a request of ours, which is sent once the order is committed, while no
-- transaction is open.

-- What a payment window shows as the order: Toss and KakaoPay take 100 characters of a title.
create or replace function sugang.order_name(o sugang.orders) returns text language sql immutable as $$
    select left(o.title, 100)
$$;

-- What a client needs to open the window of an attempt that waits for its user; null as long as it is not opened.
create or replace function sugang.window_json(o sugang.orders, t sugang.payment_attempts) returns jsonb
language sql stable as $$
    select case when o.status = 'held' and t.status = 'open' and t.gateway <> 'manual'
                     and (t.opened is not null or not o.needs_opening)
        then jsonb_build_object('gateway', t.gateway, 'reference', t.reference, 'order_name', sugang.order_name(o),
                                'amount', t.amount::text, 'currency', t.currency)
             || coalesce(o.window_keys, '{}') || coalesce(t.opened, '{}') end
$$;

-- The outcome `send` has the attempt whose window is to be opened; `ok` has the order whose window is open, or is being
-- opened by another request. The reference, by which a gateway recognizes a request that is sent again, is stored
-- before, and the gateway's key is stored once: an attempt has one window.
create or replace function sugang.begin_opening(p_function text, p_user bigint, p_order bigint, p_lease_ms bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
begin
    if p_function is distinct from 'begin_opening' then perform sugang.misrouted(p_function, 'begin_opening'); end if;
    if exists (select from sugang.orders where id = p_order and user_id = p_user and needs_opening) then
        o := sugang.lock_order(p_order);
    end if;
    if o.status is distinct from 'held' then
        a.outcome := 'order_ended';
        return a;
    end if;
    select * into t from sugang.payment_attempts where order_id = p_order and is_live for update;
    if t.gateway_key is not null or t.lease_until > clock_timestamp() then
        a.outcome := 'ok';
        a.body := (select object from sugang.order_json(o));
    else
        update sugang.payment_attempts set lease_until = clock_timestamp() + make_interval(secs => p_lease_ms / 1e3)
            where id = t.id;
        a.outcome := 'send';
        a.body := sugang.attempt_json(t, o)::text;
    end if;
    return a;
end $$;

-- Keeps what the gateway has opened, or that it has opened nothing: then the next request may try again.
create or replace function sugang.end_opening(p_function text, p_attempt bigint, p_gateway_key text, p_opened text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
begin
    if p_function is distinct from 'end_opening' then perform sugang.misrouted(p_function, 'end_opening'); end if;
    o := sugang.lock_order((select order_id from sugang.payment_attempts where id = p_attempt));
    update sugang.payment_attempts set gateway_key = p_gateway_key, opened = p_opened::jsonb, lease_until = null
        where id = p_attempt and status = 'open' and gateway_key is null;
    a.outcome := 'ok';
    a.body := (select object from sugang.order_json(o));
    return a;
end $$;
