-- Refunds over a gateway: in three steps, as an order is paid (order_payments.sql). The first locks the payment, checks
-- it, and writes a refund that is `sent`; the second is the call, while no transaction is open; the third settles what
-- the gateway has said. Until then the payment stays paid, and the user keeps the seat. A request, the sweep and an
-- event settle by the same function, which takes effect once.
--
-- A refund that is written before its payment has ended is a part of it, also where it is all that is left: so the sum
-- of the parts, which the row of the payment holds, is never more than what was paid, whatever runs at once.

-- Whether a gateway gives money back when it is asked. Of the others, a person does.
create or replace function sugang.gives_back(p_gateway text) returns boolean language sql immutable as $$
    select p_gateway in ('toss', 'portone', 'kakaopay', 'stripe')
$$;

-- Whether a gateway may show a refund without the key that was sent along. It is then told from another one of that
-- amount by what was shown before it was sent: so it is looked up first.
create or replace function sugang.may_lack_key(p_gateway text) returns boolean language sql immutable as $$
    select p_gateway = 'kakaopay'
$$;

-- The attempt by which such a gateway holds the money of a payment.
create or replace function sugang.attempt_at_gateway(p_payment bigint) returns sugang.payment_attempts
language sql stable as $$
    select t from sugang.payment_attempts t where payment_id = p_payment and sugang.gives_back(gateway)
$$;

-- A deposit went over a virtual account, which takes nothing back: a gateway has to be told where the money goes.
create or replace function sugang.needs_account(t sugang.payment_attempts) returns boolean language sql immutable as $$
    select sugang.gives_back(t.gateway)
        -- It may have arrived before it was known to be waited for.
        and (t.due_at is not null or coalesce((t.facts ->> 'deposit')::boolean, false))
$$;

-- The refund of a payment that is under way.
create or replace function sugang.refund_under_way(p_payment bigint) returns sugang.refunds language sql stable as $$
    select r from sugang.refunds r where payment_id = p_payment and status = 'sent'
$$;

-- Locks a payment with all that concerns its user and item. The lock is that of the user's own requests for the item.
create or replace function sugang.lock_payment(p_id bigint) returns payments language plpgsql as $$
declare
    p payments;
    lock_name text;
begin
    select * into p from payments where id = p_id;
    if p.id is not null then
        lock_name := coalesce((select kind from sugang.kinds where content_type_id = p.content_type_id), p.payment_type)
                     || ' ' || p.object_id;
        perform pg_advisory_xact_lock(hashtextextended(lock_name, p.user_id));
        select * into p from payments where id = p_id for update;
    end if;
    return p;
end $$;

-- Ends a payment whose money has gone back. What is completed stays, and an inactive user is no obstacle: as if another
-- program cancelled the payment. A clock may have been set back.
create or replace function sugang.end_payment(p payments, p_reason text, p_keep_registration boolean) returns void
language plpgsql as $$
begin
    update payments
        set status = 'cancelled', cancelled_at = greatest(clock_timestamp(), paid_at), refund_reason = p_reason,
            history_entries = history_entries + 1
        where id = p.id;
    if not p_keep_registration then
        perform sugang.release_unpaid_seats(array[p.content_type_id], array[p.user_id], array[p.object_id]);
    end if;
end $$;

-- What is sent to a gateway, or looked up there. `cancellable`: what it can still give back, if nothing was given back
-- at its own console; `returned`: what it has given back, as far as that is noted. `tries` is 0 where it is looked up
-- before it is sent.
create or replace function sugang.refund_to_send(r sugang.refunds) returns text language sql stable as $$
    select json_build_object(
        'refund', r.id, 'payment', r.payment_id, 'amount', r.amount::text, 'idempotency_key', r.idempotency_key,
        'tries', r.tries, 'account', r.account,
        'external_id', coalesce(t.facts ->> 'external_id', t.gateway_key, t.reference),
        'cancellable', (t.captured - n.returned)::text, 'returned', (n.returned + sugang.given_back_before(t))::text,
        'attempt', sugang.attempt_json(t, o))::text
    from sugang.payment_attempts t join sugang.orders o on o.id = t.order_id
    cross join lateral (
        select coalesce(sum(amount), 0) as returned from sugang.refunds
        where payment_id = r.payment_id and gateway_id is not null and sugang.is_given_back(status)) n
    where t.payment_id = r.payment_id
$$;

-- A request whose key is still that of a refund has not been repeated: the key has expired.
create or replace function sugang.free_expired_key(p_ask sugang.refunds) returns void language sql as $$
    update sugang.refunds set request_key = null, request_fingerprint = null
        where requested_by = p_ask.requested_by and request_key = p_ask.request_key
$$;

-- Step 1, for a payment that is locked: r says how much goes back, why and for whom.
create or replace function sugang.begin_refund(r sugang.refunds, t sugang.payment_attempts, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    -- Elsewhere the money goes back to where it came from, whatever the request says.
    if not sugang.needs_account(t) then
        r.account := null;
    elsif r.account is null then
        a.outcome := 'account_required';
        return a;
    end if;
    perform sugang.free_expired_key(r);
    insert into sugang.refunds (payment_id, amount, status, cancels_payment, keeps_registration, reason, requested_by,
                                account, request_key, request_fingerprint, idempotency_key, tries, due_at)
        values (r.payment_id, r.amount, 'sent', r.cancels_payment, coalesce(r.keeps_registration, false), r.reason,
                r.requested_by, r.account, r.request_key, r.request_fingerprint, sugang.new_reference(),
                case when sugang.may_lack_key(t.gateway) then 0 else 1 end, sugang.lease_end(p_lease, 0))
        returning * into r;
    a.outcome := 'send';
    a.body := sugang.refund_to_send(r);
    return a;
end $$;

-- What of a payment that has ended waits for a person: the gateway had refused it, or did not know where the money
-- goes.
create or replace function sugang.refund_waiting(p_payment bigint) returns sugang.refunds language sql stable as $$
    select r from sugang.refunds r
    where payment_id = p_payment and status = 'requested' and code is not null
    order by code <> 'account_required', id limit 1
$$;

-- Sends what is owed, once a person has decided about it. The key of their request becomes that of the refund.
create or replace function sugang.begin_owed_refund(r sugang.refunds, t sugang.payment_attempts, p_ask sugang.refunds,
                                                    p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    a.outcome := case
        when r.id is null then 'already_cancelled'
        when sugang.needs_account(t) and coalesce(p_ask.account, r.account) is null then 'account_required'
    end;
    if a.outcome is not null then return a; end if;
    perform sugang.keep_refund_answer(r);
    perform sugang.free_expired_key(p_ask);
    update sugang.refunds
        set status = 'sent', code = null, tries = 1,
            account = case when sugang.needs_account(t) then coalesce(p_ask.account, account) end,
            requested_by = p_ask.requested_by, requested_at = clock_timestamp(), request_key = p_ask.request_key,
            request_fingerprint = p_ask.request_fingerprint, idempotency_key = sugang.new_reference(),
            due_at = sugang.lease_end(p_lease, 0)
        where payment_id = r.payment_id and id = r.id returning * into r;
    a.outcome := 'send';
    a.body := sugang.refund_to_send(r);
    return a;
end $$;

-- What has become of a refund over a gateway, as its request is answered.
create or replace function sugang.refund_answer(r sugang.refunds) returns sugang.function_row
language plpgsql stable as $$
declare
    a sugang.function_row;
    p payments;
    kind text;
    registration text;
begin
    select * into p from payments where id = r.payment_id;
    select k.kind into kind from sugang.kinds k where content_type_id = p.content_type_id;
    if kind is not null and p.registration_id is not null then
        execute format('select sugang.%I(array[$1])', kind || '_registration_json')
            into registration using p.registration_id;
    end if;
    a.outcome := case
        when sugang.is_given_back(r.status) then 'ok'
        when r.code is not null and r.status in ('refused', 'requested') then 'refund_declined'
        else 'accepted'
    end;
    a.body := json_build_object(
        'payment_id', r.payment_id, 'refund_id', r.id, 'amount', r.amount::text, 'status', r.status, 'code', r.code,
        'left', sugang.left_to_refund(p)::text, 'cancelled_at', sugang.iso(p.cancelled_at),
        'registration', registration::json)::text;
    return a;
end $$;

-- The answer to a request that is repeated under its key. It stands in the row of the refund, not under the key: the
-- outcome may come to be known after the request has been answered.
create or replace function sugang.repeated_refund(p_user bigint, p_key text, p_fingerprint text)
returns sugang.function_row language plpgsql stable as $$
declare
    a sugang.function_row;
    r sugang.refunds;
begin
    if p_key is null then return a; end if;
    select * into r from sugang.refunds where requested_by = p_user and request_key = p_key;
    if r.id is null or r.requested_at < sugang.steady_now() - sugang.idempotency_lifetime() then return a; end if;
    if r.request_fingerprint is distinct from p_fingerprint then
        a.outcome := 'key_reused';
        return a;
    end if;
    a := sugang.refund_answer(r);
    a.replayed := true;
    return a;
end $$;

-- Keeps the answer to the request that had asked for a refund, which another request takes over.
create or replace function sugang.keep_refund_answer(r sugang.refunds) returns void language plpgsql as $$
declare
    a sugang.function_row := sugang.repeated_refund(r.requested_by, r.request_key, r.request_fingerprint);
begin
    -- An operator's account may be gone by now.
    if a.outcome is not null and exists (select from users where id = r.requested_by) then
        perform sugang.end_idempotent(r.requested_by, r.request_key, r.request_fingerprint, a);
    end if;
end $$;

-- What a request asks for, as far as it is the same for all of them.
create or replace function sugang.asked_refund(p_user bigint, p_reason text, p_account text, p_key text,
                                               p_fingerprint text)
returns sugang.refunds language plpgsql immutable as $$
declare
    r sugang.refunds;
begin
    r.requested_by := p_user;
    r.reason := p_reason;
    r.account := p_account::jsonb;
    r.request_key := p_key;
    r.request_fingerprint := case when p_key is not null then p_fingerprint end;
    return r;
end $$;

-- Ends a request that may have begun a refund: what a gateway has to answer first is not kept under the key.
create or replace function sugang.end_refund(p_user bigint, p_key text, p_fingerprint text,
                                             p_row sugang.function_row)
returns sugang.function_row language plpgsql as $$
begin
    if p_row.outcome in ('send', 'accepted', 'account_required', 'refund_in_progress', 'refund_declined') then
        return p_row;
    end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, p_row);
end $$;

-- Step 3. p_outcome:
--   shown    what the gateway shows, after it was asked to give back
--   found    the same before it is asked: what it does not show is sent, or refused if the gateway has too little left
--            for the first try
--   refused  the gateway will surely not give it back; facts: code
--   unknown  nothing is known yet; the seat stays, and the sweep looks it up
-- Each may have in its facts what the gateway shows (`refunds`), which counts first.
create or replace function sugang.do_settle_refund(p_payment bigint, p_refund bigint, p_outcome text, p_facts jsonb,
                                                   p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    p payments;
    r sugang.refunds;
    own_state text;
begin
    p := sugang.lock_payment(p_payment);
    own_state := sugang.note_refunds(p_payment, p_refund, coalesce(p_facts -> 'refunds', '[]'));
    select * into r from sugang.refunds where payment_id = p_payment and id = p_refund for update;
    -- Another program has made the payment paid again: what the gateway shows is noted, and nothing is owed.
    if r.status = 'refused' and p_outcome <> 'unknown' then
        update sugang.refunds set due_at = null where payment_id = p_payment and id = p_refund and due_at is not null;
    end if;
    if r.status not in ('requested', 'sent') or own_state = 'pending' then return sugang.refund_answer(r); end if;
    if p_outcome = 'found' and r.status = 'sent' and r.tries = 0
       and r.amount > sugang.left_at_gateway(p_payment, p_facts -> 'refunds') then
        p_outcome := 'refused';
        p_facts := p_facts || '{"code": "exceeds_what_is_left"}';
    end if;
    if p_outcome = 'refused' or own_state = 'failed' then
        -- What is owed stays owed, and a person decides how it is given back: to the same account, or to another one.
        update sugang.refunds
            set status = case when p.status = 'paid' then 'refused' else 'requested' end,
                code = coalesce(p_facts ->> 'code', 'FAILED'), due_at = null,
                account = case when p.status <> 'paid' then account end
            where payment_id = p_payment and id = p_refund returning * into r;
        -- What had no room beside it.
        perform sugang.note_refunds(p_payment, p_refund, coalesce(p_facts -> 'refunds', '[]'));
    elsif p_outcome = 'found'
        and (r.status = 'sent' or (sugang.refund_under_way(p_payment)).id is null) then
        update sugang.refunds
            set status = 'sent', idempotency_key = coalesce(idempotency_key, sugang.new_reference()), tries = tries + 1,
                due_at = sugang.lease_end(p_lease, tries)
            where payment_id = p_payment and id = p_refund returning * into r;
        a.outcome := 'send';
        a.body := sugang.refund_to_send(r);
        return a;
    elsif p_outcome not in ('shown', 'found', 'unknown') then
        raise invalid_parameter_value using message = format('unknown outcome %s of refund %s', p_outcome, p_refund);
    end if;
    return sugang.refund_answer(r);
end $$;

create or replace function sugang.settle_refund(p_function text, p_payment bigint, p_refund bigint, p_outcome text,
                                                p_facts text, p_lease_ms bigint, p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    by_user bigint;
begin
    if p_function is distinct from 'settle_refund' then perform sugang.misrouted(p_function, 'settle_refund'); end if;
    select coalesce(r.requested_by, p.user_id) into by_user
        from sugang.refunds r left join payments p on p.id = r.payment_id
        where r.payment_id = p_payment and r.id = p_refund;
    if not found then
        a.outcome := 'not_found';
        return a;
    end if;
    perform sugang.set_actor(by_user, p_request_id);
    return sugang.do_settle_refund(p_payment, p_refund, p_outcome, p_facts::jsonb,
                                   make_interval(secs => p_lease_ms / 1e3));
end $$;

-- Claims up to p_limit refunds that no process looks after: those that are owed, and those that were sent and not
-- settled within their lease.
create or replace function sugang.claim_refunds(p_function text, p_limit bigint, p_lease_ms bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'claim_refunds' then perform sugang.misrouted(p_function, 'claim_refunds'); end if;
    with due as (
        select payment_id, id from sugang.refunds
        where due_at < clock_timestamp() order by due_at limit p_limit for update skip locked
    ), claimed as (
        update sugang.refunds r
            set due_at = sugang.lease_end(make_interval(secs => p_lease_ms / 1e3), r.tries)
            from due where (r.payment_id, r.id) = (due.payment_id, due.id) returning r as refund, r.id
    )
    select 'ok', '[' || coalesce(string_agg(sugang.refund_to_send(refund), ',' order by id), '') || ']'
        into a.outcome, a.body from claimed;
    return a;
end $$;

-- For the answer of the sweep: how many refunds wait for a person, and when the next one is due.
create or replace function sugang.refund_figures(p_function text) returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'refund_figures' then perform sugang.misrouted(p_function, 'refund_figures'); end if;
    a.outcome := 'ok';
    a.body := json_build_object('refunds_waiting', (
        select count(*) from sugang.refunds where status = 'requested' and code is not null))::text;
    return a;
end $$;
