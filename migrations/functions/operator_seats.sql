-- One kind: what operators do with its registrations: they register a user, complete registrations, and cancel one.
--
-- Locks are taken in the order that functions/registrations.sql describes. A kept response begins with the
-- registration, by which the audit finds the change in the history.

-- p_form: user_id, or email_keys in the order in which they count; amount, payment_method, external_id and any_time.
create or replace function sugang.do_register_{kind}_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                  p_form jsonb)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    target bigint;
    keys text[] := array(select jsonb_array_elements_text(p_form -> 'email_keys'));
begin
    if p_form ? 'user_id' then
        target := (select id from users where id = (p_form ->> 'user_id')::bigint and is_active);
    else
        target := (select id from users where sugang.email_key(email) = any (keys) and is_active
                   order by array_position(keys, sugang.email_key(email)) limit 1);
    end if;
    if target is null then
        a.outcome := 'invalid_fields';
        a.body := json_build_array(json_build_array(
            case when p_form ? 'user_id' then 'user_id' else 'email' end, 'unknown_user'))::text;
        return a;
    end if;
    perform sugang.lock_user(p_user);
    a := sugang.do_register_{kind}(target, p_id, (p_form ->> 'amount')::numeric, p_form ->> 'payment_method', null, null,
                                   p_form ->> 'external_id', true, (p_form ->> 'any_time')::boolean);
    perform sugang.check_operator(p_user, p_epoch);
    if a.outcome <> 'ok' then return a; end if;
    a.body := '{"registration":'
        || sugang.{kind}_registration_json(array[(a.body::jsonb ->> 'registration_id')::bigint]) || '}';
    return a;
end $$;

create or replace function sugang.register_{kind}_for_operator(p_function text, p_user bigint, p_id bigint,
                                                               p_form text, p_request_id text, p_key text,
                                                               p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'register_{kind}_for_operator' then
        perform sugang.misrouted(p_function, 'register_{kind}_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_register_{kind}_for_operator(
        p_user, p_epoch, p_id, p_form::jsonb));
end $$;

-- Completes all of these registrations or none. What is wrong: [[place in the list, reason], ...].
create or replace function sugang.do_complete_{kind}_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                  p_registrations bigint[])
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    registration bigint;
begin
    perform from {registrations} where id = any (p_registrations) and {item_id} = p_id order by id for update;
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    a.body := (select json_agg(json_build_array(place - 1, reason) order by place)::text
        from unnest(p_registrations) with ordinality wanted (id, place)
        left join {registrations} r on r.id = wanted.id and r.{item_id} = p_id
        cross join lateral (select case
            when r.id is null then 'not_found'
            when r.status = 'completed' then 'already_completed'
            when r.status = 'cancelled' then 'cancelled'
            when sugang.gives_back_{kind}(r.user_id, p_id) then 'refund_in_progress'
            when place > array_position(p_registrations, wanted.id) then 'already_completed'
        end) problem (reason)
        where reason is not null);
    if a.body is not null then
        a.outcome := 'invalid_rows';
        return a;
    end if;
    -- The triggers of seats.sql expect the API to change one at a time.
    foreach registration in array p_registrations loop
        update {registrations}
            set status = 'completed', completed_at = greatest(clock_timestamp(), {registered_at}),
                history_entries = history_entries + 1
            where id = registration;
    end loop;
    a.outcome := 'ok';
    a.body := '{"registration":' || sugang.{kind}_registration_json(p_registrations[:1]) || '}';
    return a;
end $$;

create or replace function sugang.complete_{kind}_for_operator(p_function text, p_user bigint, p_id bigint,
                                                               p_registrations text, p_request_id text, p_key text,
                                                               p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'complete_{kind}_for_operator' then
        perform sugang.misrouted(p_function, 'complete_{kind}_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_complete_{kind}_for_operator(
        p_user, p_epoch, p_id, string_to_array(p_registrations, ',')::bigint[]));
end $$;

-- Cancels a registration. Its payment is given back, or stays paid with a refund that was refused: then the user
-- registers again at no cost, and only an operator gives the money back. A gateway gives it back first, and the
-- registration is cancelled once it has.
create or replace function sugang.do_cancel_{kind}_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                p_registration bigint, p_refund boolean,
                                                                p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    registration {registrations};
    payment payments;
    held sugang.payment_attempts;
    rest numeric(10, 2);
    happened_at timestamptz;
begin
    select * into registration from {registrations} where id = p_registration and {item_id} = p_id;
    if registration.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('{kind} ' || p_id, registration.user_id));
    select * into payment from payments
        where user_id = registration.user_id and object_id = p_id and status = 'paid'
          and content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}') for update;
    select * into registration from {registrations} where id = p_registration and {item_id} = p_id for update;
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    a.outcome := case
        when registration.id is null then 'not_found'
        when registration.status = 'completed' then 'item_completed'
        when registration.status = 'cancelled' then 'cancelled'
        when (sugang.refund_under_way(payment.id)).id is not null then 'refund_in_progress'
    end;
    if a.outcome is not null then return a; end if;
    rest := coalesce(payment.amount - payment.partly_refunded, 0);
    held := sugang.attempt_at_gateway(payment.id);
    if p_refund and rest > 0 and held.id is not null then
        p_ask.payment_id := payment.id;
        p_ask.amount := rest;
        p_ask.cancels_payment := true;
        return sugang.begin_refund(p_ask, held, p_lease);
    end if;
    -- A clock may have been set back.
    happened_at := greatest(clock_timestamp(), payment.paid_at, registration.{registered_at});
    update {registrations}
        set status = 'cancelled', cancelled_at = happened_at, history_entries = history_entries + 1
        where id = p_registration;
    if p_refund or rest = 0 then
        update payments
            set status = 'cancelled', cancelled_at = happened_at, refund_reason = p_ask.reason,
                history_entries = history_entries + 1
            where id = payment.id;
    else
        insert into sugang.refunds (payment_id, amount, status, reason, requested_by)
            values (payment.id, rest, 'refused', p_ask.reason, p_user);
    end if;
    a.outcome := 'ok';
    a.body := format('{"registration":%s,"refunded":"%s","kept":"%s"}',
                     sugang.{kind}_registration_json(array[p_registration]),
                     case when p_refund then rest else 0.00 end, case when p_refund then 0.00 else rest end);
    return a;
end $$;

create or replace function sugang.cancel_{kind}_for_operator(p_function text, p_user bigint, p_id bigint,
                                                             p_registration bigint, p_refund boolean, p_reason text,
                                                             p_request_id text, p_key text, p_fingerprint text,
                                                             p_epoch bigint default null, p_account text default null,
                                                             p_lease_ms bigint default 30000)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_{kind}_for_operator' then
        perform sugang.misrouted(p_function, 'cancel_{kind}_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is null then a := sugang.repeated_refund(p_user, p_key, p_fingerprint); end if;
    if a.outcome is not null then return a; end if;
    return sugang.end_refund(p_user, p_key, p_fingerprint, sugang.do_cancel_{kind}_for_operator(
        p_user, p_epoch, p_id, p_registration, p_refund,
        sugang.asked_refund(p_user, p_reason, p_account, p_key, p_fingerprint),
        make_interval(secs => p_lease_ms / 1e3)));
end $$;
