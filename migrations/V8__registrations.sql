-- To register for an item and pay, to complete it, to cancel: each one statement, which checks, locks, writes and answers.
--
-- Locks are always taken in this order: idempotency key, user and item (advisory), payment, registration, item. The item
-- comes last because everybody who registers for it meets there: its row is locked for no longer than the commit takes.

call sugang.define('registrations', $template$
    create or replace function sugang.{kind}_register(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                      p_min numeric, p_max numeric, p_external_id text)
    returns sugang.answer language plpgsql as $f$
    declare
        a sugang.answer;
        item {items};
        registration {registrations};
        payment_id bigint;
        happened_at timestamptz;
        content_type integer;
    begin
        -- Makes two requests of one user for one item wait for each other even before there is a row to lock.
        perform pg_advisory_xact_lock(hashtextextended('{kind} ' || p_id, p_user));
        happened_at := clock_timestamp();
        select * into item from {items} where id = p_id;
        if not found then
            a.outcome := 'not_found';
            return a;
        end if;
        select * into registration from {registrations} where user_id = p_user and {item_id} = p_id for update;
        a.outcome := case
            when registration.status <> 'cancelled' then 'already_registered'
            when happened_at not between item.start_at and item.end_at then 'not_open'
            when p_amount <> item.price then 'amount_mismatch'
            when p_amount not between p_min and p_max then 'amount_out_of_bounds'
            when item.registration_count >= item.capacity then 'sold_out'
        end;
        if a.outcome is not null then return a; end if;

        -- Checked once more where it counts: under the lock of the row.
        update {items} set registration_count = registration_count + 1
            where id = p_id and price = item.price and registration_count < coalesce(capacity, 2147483647);
        if not found then
            select case when price <> item.price then 'amount_mismatch' else 'sold_out' end
                into a.outcome from {items} where id = p_id;
            a.outcome := coalesce(a.outcome, 'not_found');
            return a;
        end if;
        if registration.id is null then
            insert into {registrations} (user_id, {item_id}, status, {registered_at})
                values (p_user, p_id, '{active}', happened_at) returning * into registration;
        else
            update {registrations}
                set status = '{active}', {registered_at} = happened_at, completed_at = null, cancelled_at = null
                where id = registration.id;
        end if;
        select content_type_id into content_type from sugang.kinds where kind = '{kind}';
        insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                              external_transaction_id, status, paid_at, search_vector,
                              target_title, registration_id, registration_time)
            values (p_user, '{kind}', content_type, p_id, p_amount, p_method,
                    p_external_id, 'paid', happened_at, to_tsvector('simple', item.title),
                    item.title, registration.id, happened_at)
            returning id into payment_id;
        a.outcome := 'ok';
        a.body := json_build_object('payment_id', payment_id, 'registration_id', registration.id)::text;
        return a;
    end $f$;

    create or replace function sugang.register_{kind}(p_user bigint, p_id bigint, p_amount text, p_method text,
                                                      p_min text, p_max text, p_external_id text,
                                                      p_request_id text, p_key text, p_fingerprint text)
    returns sugang.answer language plpgsql set plan_cache_mode = force_generic_plan as $f$
    declare
        a sugang.answer := sugang.begin_change(p_user, p_request_id, p_key, p_fingerprint);
    begin
        if a.outcome is not null then return a; end if;
        return sugang.end_change(p_user, p_key, p_fingerprint, sugang.{kind}_register(
            p_user, p_id, p_amount::numeric, p_method, p_min::numeric, p_max::numeric, p_external_id));
    end $f$;

    create or replace function sugang.complete_{kind}(p_user bigint, p_id bigint, p_request_id text)
    returns sugang.answer language plpgsql set plan_cache_mode = force_generic_plan as $f$
    declare
        a sugang.answer := sugang.begin_change(p_user, p_request_id, null, null);
        registration {registrations};
    begin
        if a.outcome is not null then return a; end if;
        select * into registration from {registrations} where user_id = p_user and {item_id} = p_id for update;
        a.outcome := case
            when registration.id is null then 'not_registered'
            when registration.status = 'completed' then 'already_completed'
            when registration.status = 'cancelled' then 'cancelled'
        end;
        if a.outcome is not null then return a; end if;
        update {registrations} set status = 'completed', completed_at = clock_timestamp()
            where id = registration.id returning * into registration;
        a.outcome := 'ok';
        a.body := json_build_object('registration_id', registration.id,
                                    'completed_at', sugang.iso(registration.completed_at))::text;
        return a;
    end $f$;

    -- Gives a registration and its seat back. False: it is completed, nothing was changed.
    create or replace function sugang.{kind}_release(p_user bigint, p_id bigint, p_now timestamptz) returns boolean
    language plpgsql as $f$
    declare
        registration {registrations};
    begin
        select * into registration from {registrations} where user_id = p_user and {item_id} = p_id for update;
        if registration.status = 'completed' then return false; end if;
        if registration.status = '{active}' then
            update {registrations} set status = 'cancelled', cancelled_at = p_now where id = registration.id;
            update {items} set registration_count = registration_count - 1 where id = p_id;
        end if;
        return true;
    end $f$;
$template$);

create function sugang.payment_cancel(p_user bigint, p_id bigint, p_reason text) returns sugang.answer
language plpgsql as $$
declare
    a sugang.answer;
    payment payments;
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
    -- The lock that registering takes, and in the same order: a cancellation and a new registration never overtake
    -- each other.
    select k.kind into strict kind from sugang.kinds k where content_type_id = payment.content_type_id;
    perform pg_advisory_xact_lock(hashtextextended(kind || ' ' || payment.object_id, p_user));
    select * into payment from payments where id = p_id for update;
    if payment.status is distinct from 'paid' then
        a.outcome := 'already_cancelled';
        return a;
    end if;
    happened_at := clock_timestamp();
    execute format('select sugang.%I($1, $2, $3)', kind || '_release')
        into released using p_user, payment.object_id::bigint, happened_at;
    if not released then
        a.outcome := 'item_completed';
        a.body := json_build_object('payment_type', kind)::text;
        return a;
    end if;
    update payments set status = 'cancelled', cancelled_at = happened_at, refund_reason = p_reason where id = p_id;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', p_id, 'cancelled_at', sugang.iso(happened_at))::text;
    return a;
end $$;

create function sugang.cancel_payment(p_user bigint, p_id bigint, p_reason text, p_request_id text, p_key text,
                                      p_fingerprint text) returns sugang.answer language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.answer := sugang.begin_change(p_user, p_request_id, p_key, p_fingerprint);
begin
    if a.outcome is not null then return a; end if;
    return sugang.end_change(p_user, p_key, p_fingerprint, sugang.payment_cancel(p_user, p_id, p_reason));
end $$;
