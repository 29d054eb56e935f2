-- What operators do with payments: find them, look at one, and give its money back.

-- What is left of a payment to give back. One expression, as sugang.csv_cell.
create or replace function sugang.left_to_refund(p payments) returns numeric language sql immutable as $$
    select case when p.status = 'paid' then p.amount - p.partly_refunded else 0.00 end
$$;

-- A payment with its refunds, and what is left to give back. A set of one row, as sugang.payment_json.
create or replace function sugang.payment_for_operator_json(p payments) returns table (body text)
language sql stable as $$
    select (object::jsonb || jsonb_build_object(
            'user_id', p.user_id, 'refund_reason', p.refund_reason,
            'left', sugang.left_to_refund(p)::text,
            'refunds', coalesce(r.refunds, '[]')))::text
        from sugang.payment_json(p)
        cross join lateral (
            select jsonb_agg(jsonb_build_object(
                'id', id, 'amount', amount::text, 'status', status, 'reason', reason,
                'requested_by', requested_by, 'requested_at', sugang.iso(requested_at),
                'keeps_registration', keeps_registration) order by id) as refunds
            from sugang.refunds where payment_id = p.id) r
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
create or replace function sugang.do_refund_payment(p_user bigint, p_epoch bigint, p_id bigint, p_amount numeric,
                                                    p_reason text, p_keep_registration boolean)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    payment payments;
    lock_name text;
    rest numeric(10, 2);
    refund bigint;
begin
    select * into payment from payments where id = p_id;
    if payment.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    -- The lock of the user's own requests for this item: see functions/cancellation.sql.
    lock_name := coalesce((select kind from sugang.kinds where content_type_id = payment.content_type_id),
                          payment.payment_type) || ' ' || payment.object_id;
    perform pg_advisory_xact_lock(hashtextextended(lock_name, payment.user_id));
    select * into payment from payments where id = p_id for update;
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    rest := payment.amount - payment.partly_refunded;
    a.outcome := case
        when payment.id is null then 'not_found'
        when payment.status <> 'paid' then 'already_cancelled'
        when p_amount > rest then 'refund_too_large'
    end;
    if a.outcome is not null then
        if a.outcome = 'refund_too_large' then a.body := json_build_object('left', rest::text)::text; end if;
        return a;
    end if;
    p_amount := coalesce(p_amount, rest);
    if p_amount < rest then
        insert into sugang.refunds (payment_id, amount, status, reason, requested_by)
            values (p_id, p_amount, 'done', p_reason, p_user) returning id into refund;
    else
        -- The trigger of the payment writes the refund. A clock may have been set back.
        update payments
            set status = 'cancelled', cancelled_at = greatest(clock_timestamp(), paid_at), refund_reason = p_reason,
                history_entries = history_entries + 1
            where id = p_id;
        update sugang.refunds set keeps_registration = p_keep_registration
            where payment_id = p_id and ends_payment and status <> 'refused' returning id into refund;
        -- What is completed stays, and an inactive user is no obstacle: as if another program cancelled the payment.
        if not p_keep_registration then
            perform sugang.release_unpaid_seats(
                array[payment.content_type_id], array[payment.user_id], array[payment.object_id]);
        end if;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', p_id, 'refund_id', refund, 'amount', p_amount::numeric(10, 2)::text,
                                'left', (rest - p_amount)::numeric(10, 2)::text)::text;
    return a;
end $$;

create or replace function sugang.refund_payment(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                 p_reason text, p_keep_registration boolean, p_request_id text,
                                                 p_key text, p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'refund_payment' then perform sugang.misrouted(p_function, 'refund_payment'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_refund_payment(
        p_user, p_epoch, p_id, p_amount::numeric, p_reason, p_keep_registration));
end $$;
