-- Cancels a payment, and with it the registration.

-- Locks are taken in the order that functions/registrations.sql describes.
create or replace function sugang.do_cancel_payment(p_user bigint, p_id bigint, p_reason text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    payment payments;
    kind text;
    lock_name text;
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
    select k.kind into kind from sugang.kinds k where content_type_id = payment.content_type_id;
    lock_name := coalesce(kind, payment.payment_type) || ' ' || payment.object_id;
    perform pg_advisory_xact_lock(hashtextextended(lock_name, p_user));
    select * into payment from payments where id = p_id for update;
    a.outcome := case
        when payment.id is null then 'not_found'
        when payment.user_id <> p_user then 'not_owner'
        when payment.status <> 'paid' then 'already_cancelled'
        -- An operator has decided so, and only an operator decides otherwise.
        when payment.refund_refused then 'refund_refused'
    end;
    -- Where a registration is cancelled, that checks the user.
    if a.outcome is not null or kind is null then perform sugang.check_user(p_user); end if;
    if a.outcome is not null then return a; end if;
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
        set status = 'cancelled', cancelled_at = happened_at, refund_reason = p_reason,
            history_entries = history_entries + 1
        where id = p_id;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', p_id, 'cancelled_at', sugang.iso(happened_at))::text;
    return a;
end $$;

create or replace function sugang.cancel_payment(p_function text, p_user bigint, p_id bigint, p_reason text,
                                                 p_request_id text, p_key text, p_fingerprint text,
                                                 p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_payment' then perform sugang.misrouted(p_function, 'cancel_payment'); end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_cancel_payment(p_user, p_id, p_reason));
end $$;
