-- How an order is paid: in three steps. The first locks the order, checks it, and notes what will be sent; the second
-- is the call to the gateway, while no transaction is open; the third settles what the gateway has said. A return, an
-- event, a look-up and an operator settle by the same function, which takes effect once.

create or replace function sugang.open_attempt(o sugang.orders) returns void language plpgsql as $$
begin
    insert into sugang.payment_attempts (order_id, gateway, reference, amount)
        values (o.id, o.gateway, sugang.new_reference(), o.price);
end $$;

-- Changes an order that waits for its user, who keeps the seat as long as before. What was opened at the gateway for
-- another amount or method is void.
create or replace function sugang.change_order(o sugang.orders, p_title text, p_price numeric, p_method text,
                                               p_gateway text, p_window_keys jsonb, p_needs_opening boolean)
returns sugang.orders language plpgsql as $$
begin
    if (o.price, o.payment_method, o.gateway) = (p_price, p_method, p_gateway) then return o; end if;
    update sugang.payment_attempts t
        set status = 'void', ended_at = clock_timestamp(), reconcile_at = sugang.first_closing(t)
        where order_id = o.id and is_live;
    update sugang.orders set title = p_title, price = p_price, payment_method = p_method, gateway = p_gateway,
            window_keys = p_window_keys, needs_opening = p_needs_opening
        where id = o.id returning * into o;
    perform sugang.open_attempt(o);
    return o;
end $$;

-- What is sent to a gateway, or looked up there.
create or replace function sugang.attempt_json(t sugang.payment_attempts, o sugang.orders) returns json
language sql stable as $$
    select json_build_object(
        'attempt', t.id, 'order', o.id, 'user', o.user_id, 'kind', o.kind, 'title', sugang.order_name(o),
        'gateway', t.gateway, 'status', t.status, 'reference', t.reference,
        'idempotency_key', coalesce(t.idempotency_key, ''), 'gateway_key', t.gateway_key, 'window_key', t.window_key,
        'amount', t.amount::text, 'currency', t.currency, 'tries', t.tries, 'facts', t.facts)
$$;

-- Step 1. The outcome `send` has the attempt to send; `accepted`, and `ok` for one that is paid, have the order as it
-- is. A deposit that an operator confirms needs no call: it is waited for from now on.
create or replace function sugang.do_begin_approval(p_user bigint, p_id bigint, p_gateway_key text, p_amount numeric,
                                                    p_lease interval, p_deposit interval, p_account text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
    due timestamptz;
begin
    o := sugang.lock_order(p_id, p_user);
    perform sugang.lock_user(p_user);
    a.outcome := case
        when o.id is null then 'not_found'
        when o.status = 'paid' then 'ok'
        when o.status in ('approving', 'awaiting_deposit') then 'accepted'
        when o.status <> 'held' then 'order_ended'
        when p_amount <> o.price then 'amount_mismatch'
        -- An operator has removed the gateway.
        when o.gateway = 'manual' and p_account is null then 'method_unavailable'
    end;
    if a.outcome is null then
        execute format('select sugang.%I($1)', o.kind || '_payment_error') into a.outcome using o;
        if a.outcome is not null then
            perform sugang.end_order(p_id, case a.outcome when 'order_ended' then 'expired' else 'cancelled' end);
        end if;
    end if;
    if a.outcome in ('amount_mismatch', 'already_registered') then
        a.body := json_build_object('kind', o.kind)::text;
    elsif a.outcome in ('ok', 'accepted') then
        a.body := (select object from sugang.order_json(o));
    end if;
    if a.outcome is not null then return a; end if;

    -- Under the lock of the order, no other request opens or ends its attempt.
    if o.needs_opening and not exists (
            select from sugang.payment_attempts where order_id = p_id and is_live and gateway_key is not null) then
        a.outcome := 'not_opened';
    elsif o.gateway = 'manual' then
        execute format('select sugang.%I($1)', o.kind || '_end') into due using o.item_id;
        due := least(due, clock_timestamp() + p_deposit);
        update sugang.payment_attempts
            set status = 'waiting', due_at = due, sent_at = clock_timestamp(),
                facts = json_build_object('account', p_account)
            where order_id = p_id and is_live;
        update sugang.orders set status = 'awaiting_deposit', expires_at = due where id = p_id returning * into o;
        a.outcome := 'accepted';
        a.body := (select object from sugang.order_json(o));
    elsif not o.needs_opening and exists (
            select from sugang.payment_attempts
            where gateway = o.gateway and gateway_key = p_gateway_key and (order_id <> p_id or not is_live)) then
        a.outcome := 'key_used';
    else
        update sugang.payment_attempts
            set status = 'sent', window_key = p_gateway_key, tries = tries + 1, sent_at = clock_timestamp(),
                gateway_key = case when o.needs_opening then gateway_key else p_gateway_key end,
                idempotency_key = coalesce(idempotency_key, gen_random_uuid()::text),
                lease_until = clock_timestamp() + p_lease
            where order_id = p_id and is_live returning * into t;
        update sugang.orders set status = 'approving' where id = p_id;
        a.outcome := 'send';
        a.body := sugang.attempt_json(t, o)::text;
    end if;
    return a;
end $$;

-- p_account: where the user pays a deposit that an operator confirms. What is still to be known is no answer that is
-- kept: repeated, the request finds the order as it is by then, and an order takes one approval.
create or replace function sugang.begin_approval(p_function text, p_user bigint, p_order bigint, p_gateway_key text,
                                                 p_amount text, p_lease_ms bigint, p_deposit_seconds bigint,
                                                 p_account text, p_request_id text, p_key text, p_fingerprint text,
                                                 p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    kept_attempt text;
begin
    if p_function is distinct from 'begin_approval' then perform sugang.misrouted(p_function, 'begin_approval'); end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return sugang.with_now(a); end if;
    kept_attempt := a.body;
    a.body := sugang.declined_approval(p_user, p_order, kept_attempt);
    if a.body is not null then
        a.outcome := 'ok';
    else
        a := sugang.do_begin_approval(p_user, p_order, p_gateway_key, p_amount::numeric,
                                      make_interval(secs => p_lease_ms / 1e3),
                                      make_interval(secs => p_deposit_seconds), p_account);
    end if;
    if a.outcome in ('send', 'accepted') then
        perform sugang.keep_approval(p_user, p_order, p_key, p_fingerprint, kept_attempt);
    end if;
    if a.outcome in ('send', 'accepted', 'not_opened', 'method_unavailable') then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, a);
end $$;

-- Works as its owner, as sugang.advance_sequences: a role needs no right on an identity.
create or replace function sugang.next_payment_id() returns bigint language sql
security definer set search_path = public, pg_temp as $$
    select nextval(sugang.id_sequence('payments'))
$$;

-- The id of a payment as its row has it, which takes 100 characters. A gateway's id may be longer: the facts of the
-- attempt have the whole of it, and a search for the whole finds what is stored here.
create or replace function sugang.stored_external_id(p_id text) returns text language sql immutable parallel safe as $$
    select case when length(p_id) <= 100 then p_id
                else left(p_id, 35) || '~' || encode(sha256(convert_to(p_id, 'UTF8')), 'hex') end
$$;

-- Money that pays for nothing: it came for an order that has no seat any more, twice, or in another amount. It is a
-- payment that is cancelled at once, so its refund of the whole is requested in the same statement.
create or replace function sugang.set_aside(o sugang.orders, t sugang.payment_attempts, p_amount numeric,
                                            p_external_id text)
returns sugang.orders language plpgsql as $$
declare
    payment bigint := sugang.next_payment_id();
    happened_at timestamptz := clock_timestamp();
begin
    -- First, so that the trigger of the payment finds a gateway that holds the money.
    update sugang.payment_attempts
        set status = 'surplus', captured = p_amount, payment_id = payment, ended_at = happened_at,
            reconcile_at = sugang.first_reconciliation(t)
        where id = t.id;
    insert into payments (id, user_id, payment_type, content_type_id, object_id, amount, payment_method,
                          external_transaction_id, status, refund_reason, paid_at, cancelled_at, search_vector,
                          target_title, registration_time)
        values (payment, o.user_id, o.kind, (select content_type_id from sugang.kinds where kind = o.kind), o.item_id,
                p_amount, o.payment_method, p_external_id, 'cancelled', 'order ' || o.id || ' has no seat', happened_at,
                happened_at, to_tsvector('simple', o.title), o.title, happened_at);
    -- An order that is paid stays so, and one with another attempt under way waits for it.
    if o.status in ('expired', 'cancelled') or o.is_live and t.is_live then
        update sugang.orders set status = 'refund_due', payment_id = payment where id = o.id returning * into o;
    end if;
    return o;
end $$;

-- Money has arrived for an attempt. An order that holds its seat gets it; one that has ended gets a free seat, within
-- the period. The same statement writes payment and registration, or a refund.
create or replace function sugang.capture(o sugang.orders, t sugang.payment_attempts, p_facts jsonb)
returns sugang.orders language plpgsql as $$
declare
    a sugang.function_row;
    registered jsonb;
    paid numeric(10, 2) := (p_facts ->> 'amount')::numeric;
    given_back numeric(10, 2) := coalesce((p_facts ->> 'given_back')::numeric, 0);
    external_id text := coalesce(p_facts ->> 'external_id', t.gateway_key, t.reference);
begin
    -- A deposit that comes again after it was taken back is another payment, which the gateway gives the same id.
    external_id := sugang.stored_external_id(
        external_id || coalesce('#' || 1 + jsonb_array_length(t.facts -> 'taken_back'), ''));
    if o.status not in ('paid', 'refund_due') and paid = o.price and paid = t.amount
       and coalesce(p_facts ->> 'currency', t.currency) = t.currency then
        execute format('select outcome, body from sugang.%I($1, $2, $3, $4, null, null, $5, true, $6, true, $7)',
                       'do_register_' || o.kind)
            into a.outcome, a.body using o.user_id, o.item_id, paid, o.payment_method, external_id, o.is_live, o.id;
    end if;
    if a.outcome is distinct from 'ok' then
        update sugang.payment_attempts set facts = coalesce(facts, '{}') || p_facts where id = t.id;
        return sugang.set_aside(o, t, paid - given_back, external_id);
    end if;
    registered := a.body::jsonb;
    update sugang.payment_attempts
        set status = 'captured', facts = coalesce(facts, '{}') || p_facts, captured = paid,
            payment_id = (registered ->> 'payment_id')::bigint, ended_at = clock_timestamp(),
            -- The next sweep notes what was given back already.
            reconcile_at = case when given_back > 0 then '-infinity' else sugang.first_reconciliation(t) end
        where id = t.id;
    -- The live attempt of an order is its only one. Another one that has been sent is still looked up: its money would
    -- be surplus.
    if not t.is_live then
        update sugang.payment_attempts v
            set status = 'void', ended_at = clock_timestamp(), reconcile_at = sugang.first_closing(v)
            where order_id = o.id and status = 'open';
    end if;
    update sugang.orders
        set status = 'paid', payment_id = (registered ->> 'payment_id')::bigint,
            registration_id = (registered ->> 'registration_id')::bigint
        where id = o.id returning * into o;
    return o;
end $$;

-- No money has moved. The user may try again while the seat is held, with another attempt.
create or replace function sugang.decline(o sugang.orders, t sugang.payment_attempts, p_facts jsonb)
returns sugang.orders language plpgsql as $$
begin
    update sugang.payment_attempts
        set status = 'declined', code = p_facts ->> 'code', facts = coalesce(facts, '{}') || p_facts,
            ended_at = clock_timestamp(), reconcile_at = sugang.first_closing(t)
        where id = t.id;
    if o.status in ('held', 'approving') and o.expires_at > clock_timestamp() then
        update sugang.orders set status = 'held' where id = o.id returning * into o;
        perform sugang.open_attempt(o);
    elsif o.is_live then
        update sugang.orders set status = 'expired' where id = o.id returning * into o;
    end if;
    return o;
end $$;

-- Step 3: settles an attempt; it takes effect once, however often it is called. p_outcome:
--   captured  the money is there; facts: amount, given_back (of it, in the gateway's console), currency, external_id
--   declined  surely no money has moved, nor will; facts: code
--   waiting   a deposit is expected; facts: due_at, account, secret
--   not_sent  surely nothing has reached the gateway: the same attempt may be sent again
--   unknown   nothing is known yet; the seat stays held, and the sweep looks it up
-- The caller has locked the order.
create or replace function sugang.settle(o sugang.orders, p_attempt bigint, p_outcome text, p_facts jsonb)
returns sugang.orders language plpgsql as $$
declare
    t sugang.payment_attempts;
    due timestamptz;
begin
    select * into t from sugang.payment_attempts where id = p_attempt for update;
    if p_outcome = 'captured' and t.payment_id is null then
        return sugang.capture(o, t, p_facts);
    elsif p_outcome = 'declined' and t.is_live then
        return sugang.decline(o, t, p_facts);
    elsif p_outcome = 'waiting' and t.status = 'sent' then
        -- The gateway may give weeks; no seat is held beyond the period.
        execute format('select least(sugang.%I($1), $2)', o.kind || '_end') into due
            using o.item_id, (p_facts ->> 'due_at')::timestamptz;
        update sugang.payment_attempts
            set status = 'waiting', due_at = due, secret = p_facts ->> 'secret',
                facts = coalesce(facts, '{}') || (p_facts - 'secret'), lease_until = null
            where id = p_attempt returning * into t;
        update sugang.orders set status = 'awaiting_deposit', expires_at = t.due_at
            where id = o.id and status = 'approving';
    elsif p_outcome = 'waiting' and t.status = 'waiting' and t.due_at < clock_timestamp() then
        -- What comes now is late money.
        perform sugang.end_order(o.id, 'expired');
    elsif p_outcome = 'not_sent' and t.status = 'sent' then
        update sugang.payment_attempts set status = 'open', lease_until = null where id = p_attempt;
        update sugang.orders set status = 'held' where id = o.id and status = 'approving';
    elsif p_outcome not in ('captured', 'declined', 'waiting', 'not_sent', 'unknown') then
        raise invalid_parameter_value using message = format('unknown outcome %s of attempt %s', p_outcome, p_attempt);
    end if;
    select * into o from sugang.orders where id = o.id;
    return o;
end $$;

-- Settles an attempt for its user, and keeps the answer under the key of the request that has begun it, if there is
-- one. What was not sent is no answer to be kept: the client may send it again, or correct it, under the same key.
create or replace function sugang.settle_attempt(p_function text, p_attempt bigint, p_outcome text, p_facts text,
                                                 p_request_id text, p_key text, p_fingerprint text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
begin
    if p_function is distinct from 'settle_attempt' then perform sugang.misrouted(p_function, 'settle_attempt'); end if;
    o := sugang.lock_order((select order_id from sugang.payment_attempts where id = p_attempt));
    if o.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    perform sugang.set_actor(o.user_id, p_request_id);
    o := sugang.settle(o, p_attempt, p_outcome, p_facts::jsonb);
    a.outcome := case when o.status in ('approving', 'awaiting_deposit') then 'accepted' else 'ok' end;
    a.body := (select object from sugang.order_json(o));
    if p_outcome = 'not_sent' then
        delete from sugang.idempotency_keys
            where user_id = o.user_id and key = p_key and fingerprint = p_fingerprint and outcome = 'send';
        return a;
    end if;
    return sugang.end_idempotent(o.user_id, case when a.outcome = 'ok' then p_key end, p_fingerprint, a);
end $$;

-- Step 1 for a browser that comes back from the payment window of an attempt, and has no token. Without the window's
-- key, and for an attempt that is not the one to be paid now, nothing begins. But for `send`, the row has the order as
-- it is.
create or replace function sugang.begin_return(p_function text, p_order bigint, p_reference text, p_gateway_key text,
                                               p_amount text, p_lease_ms bigint, p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
begin
    if p_function is distinct from 'begin_return' then perform sugang.misrouted(p_function, 'begin_return'); end if;
    o := sugang.lock_order(p_order);
    select * into t from sugang.payment_attempts where order_id = p_order and reference = p_reference;
    a.outcome := case
        when t.id is null then 'not_found'
        when p_gateway_key is null or t.status <> 'open' or o.gateway = 'manual'
            or sugang.authorization_error(o.user_id, null) is not null then 'ok'
    end;
    if a.outcome is null then
        perform sugang.set_actor(o.user_id, p_request_id);
        a := sugang.do_begin_approval(o.user_id, p_order, p_gateway_key, p_amount::numeric,
                                      make_interval(secs => p_lease_ms / 1e3), null, null);
    end if;
    if a.outcome <> 'send' then
        select object into a.body from sugang.orders c, sugang.order_json(c) where c.id = p_order;
    end if;
    return a;
end $$;
