-- Refunds over a gateway: in three steps, as an order is paid (order_payments.sql). The first locks the payment, checks
-- it, and writes a refund that is `sent`; the second is the call, while no transaction is open; the third settles what
-- the gateway has said. Until then the payment stays paid, and the user keeps the seat. A request, the sweep and an
-- event settle by the same function, which takes effect once.
--
-- A refund that is written before its payment has ended is a part of it, also where it is all that is left: so the sum
-- of the parts, which the row of the payment holds, is never more than what was paid, whatever runs at once.

-- Whether a gateway gives money back when it is asked. Of the others, a person does.
create or replace function sugang.gives_back(p_gateway text) returns boolean language sql immutable as $$
    select p_gateway in ('toss', 'portone')
$$;

-- The attempt by which such a gateway holds the money of a payment.
create or replace function sugang.attempt_at_gateway(p_payment bigint) returns sugang.payment_attempts
language sql stable as $$
    select t from sugang.payment_attempts t where payment_id = p_payment and sugang.gives_back(gateway)
$$;

-- A deposit went over a virtual account, which takes nothing back: a gateway has to be told where the money goes.
create or replace function sugang.needs_account(t sugang.payment_attempts) returns boolean language sql immutable as $$
    select sugang.gives_back(t.gateway) and t.due_at is not null
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
-- at its own console.
create or replace function sugang.refund_to_send(r sugang.refunds) returns text language sql stable as $$
    select json_build_object(
        'refund', r.id, 'payment', r.payment_id, 'amount', r.amount::text, 'idempotency_key', r.idempotency_key,
        'tries', r.tries, 'account', r.account,
        'external_id', coalesce(t.facts ->> 'external_id', t.gateway_key, t.reference),
        'cancellable', (t.captured - coalesce((
            select sum(amount) from sugang.refunds
            where payment_id = r.payment_id and gateway_id is not null), 0))::text,
        'attempt', sugang.attempt_json(t, o))::text
    from sugang.payment_attempts t join sugang.orders o on o.id = t.order_id where t.payment_id = r.payment_id
$$;

-- Step 1, for a payment that is locked: r says how much goes back, why and for whom.
create or replace function sugang.begin_refund(r sugang.refunds, t sugang.payment_attempts, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    if sugang.needs_account(t) and r.account is null then
        a.outcome := 'account_required';
        return a;
    end if;
    insert into sugang.refunds (payment_id, amount, status, cancels_payment, keeps_registration, reason, requested_by,
                                account, request_key, request_fingerprint, idempotency_key, tries, due_at)
        values (r.payment_id, r.amount, 'sent', r.cancels_payment, coalesce(r.keeps_registration, false), r.reason,
                r.requested_by, r.account, r.request_key, r.request_fingerprint, sugang.new_reference(), 1,
                sugang.lease_end(p_lease, 0))
        returning * into r;
    a.outcome := 'send';
    a.body := sugang.refund_to_send(r);
    return a;
end $$;

-- Sends what is owed, and what a person has decided about: the gateway had refused it, or did not know where the money
-- goes. Null outcome if nothing of the payment waits for that.
create or replace function sugang.begin_owed_refund(t sugang.payment_attempts, p_account jsonb, p_lease interval,
                                                    p_codes text[])
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    r sugang.refunds;
begin
    select * into r from sugang.refunds
        where payment_id = t.payment_id and status = 'requested' and (p_codes is null or code = any (p_codes))
          and code is not null
        order by id limit 1;
    if r.id is null then return a; end if;
    if sugang.needs_account(t) and coalesce(p_account, r.account) is null then
        a.outcome := 'account_required';
        return a;
    end if;
    update sugang.refunds
        set status = 'sent', code = null, account = coalesce(p_account, account), tries = 1,
            idempotency_key = sugang.new_reference(), due_at = sugang.lease_end(p_lease, 0)
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
    if r.id is null then return a; end if;
    if r.request_fingerprint is distinct from p_fingerprint then
        a.outcome := 'key_reused';
        return a;
    end if;
    a := sugang.refund_answer(r);
    a.replayed := true;
    return a;
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
    if p_row.outcome in ('send', 'accepted', 'account_required', 'refund_in_progress') then return p_row; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, p_row);
end $$;

-- Notes what the gateway shows as given back of a payment: [{"id", "amount", "key", "state"}]. Ours is recognized by
-- the key that was sent along. A gateway that returns no such key (null) is believed by the amount; so is a refund that
-- a person has made at the gateway's console ("") in place of one that was owed and not sent. What else was given back
-- there becomes a refund of its own, which changes nothing but the books: a person decides about the rest. Each takes
-- effect once, by its id. Returns what is still to be known of refund p_refund: `pending`, `failed`; else null.
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
        continue when exists (select from sugang.refunds where payment_id = p_payment and gateway_id = s.id);
        select * into r from sugang.refunds
            where payment_id = p_payment and status in ('requested', 'sent')
              and (idempotency_key = s.key
                   or amount = s.amount and (s.key is null and status = 'sent'
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

-- Step 3. p_outcome:
--   shown    what the gateway shows, after it was asked to give back
--   found    the same before it is asked: what it does not show is sent
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
    if r.status not in ('requested', 'sent') or own_state = 'pending' then return sugang.refund_answer(r); end if;
    if p_outcome = 'refused' or own_state = 'failed' then
        -- What is owed stays owed, and a person decides how it is given back.
        update sugang.refunds
            set status = case when p.status = 'paid' then 'refused' else 'requested' end,
                code = coalesce(p_facts ->> 'code', 'FAILED'), due_at = null
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
