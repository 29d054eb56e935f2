-- One kind: registers a user for an item, completes a registration, cancels one. Each is one statement that checks,
-- locks, writes and builds the response.
--
-- Locks are always taken in this order: idempotency key, user and item (advisory), order and its attempts, payment,
-- registration, user, item. Orders of others, which an item that is full releases, are skipped if they are locked.
-- The item is last because all registrations for it contend for its row: the trigger of the registration (seats.sql)
-- takes it, and it stays locked only until the commit. Whatever else a statement may have to wait for, the row of the
-- user included, it waits for before. The Django service writes in the same order.
--
-- A wait may be long, so what decides is read after it: all but the item's row is locked before the first look, and the
-- second look is under that lock.

-- For an operator, hidden items are open and any amount is right; p_any_time ignores the period. Without p_one_step,
-- only what is free, or paid before, is taken so. p_order is the order whose money has arrived: see order_payments.sql.
--
-- A user who holds a seat by a pre-order takes it over here, unless money may be on its way for it.
create or replace function sugang.do_register_{kind}(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                     p_min numeric, p_max numeric, p_external_id text,
                                                     p_by_operator boolean default false,
                                                     p_any_time boolean default false,
                                                     p_one_step boolean default true, p_order bigint default null)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    -- Only the columns that are read: PostgreSQL describes each column of a row in every statement that returns it.
    item record;
    current_item record;
    registration record;
    payment record;
    own_order bigint;
    own_status text;
    happened_at timestamptz;
begin
    -- Serializes the requests of one user for one item, even before there is a row to lock.
    perform pg_advisory_xact_lock(hashtextextended('{kind} ' || p_id, p_user));
    -- A payment whose registration another program has cancelled or deleted.
    select id, amount, payment_method, registration_id into payment from payments
        where user_id = p_user and object_id = p_id and status = 'paid'
          and content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}') for update;
    select id, status into registration from {registrations} where user_id = p_user and {item_id} = p_id for update;
    -- Money that has arrived counts even if the user is inactive by now.
    if p_order is null then perform sugang.lock_user(p_user); end if;
    happened_at := clock_timestamp();
    select id, price, start_at, end_at, hidden, capacity, registration_count, held_count into item from {items}
        where id = p_id and (not hidden or p_by_operator);
    if item.held_count > 0 then
        select id, status into own_order, own_status from sugang.orders
            where user_id = p_user and kind = '{kind}' and item_id = p_id and is_live for update;
    end if;
    if p_by_operator then
        if item.id is null then a.outcome := 'not_found'; end if;
    elsif item.price = 0 then
        if p_method <> 'free' then a.outcome := 'invalid_fields'; end if;
        p_amount := coalesce(p_amount, 0);
    elsif item.id is null and p_method = 'free' then
        a.outcome := 'not_found';
    elsif p_amount = 0 or p_method = 'free' or p_amount is null or p_method is null then
        a.outcome := 'invalid_fields';
    elsif item.id is null then
        a.outcome := 'not_found';
    end if;
    if a.outcome is not null then
        if a.outcome = 'invalid_fields' then a.body := sugang.payment_problems(item.price, p_amount, p_method); end if;
        return a;
    end if;
    a.outcome := case
        when registration.status <> 'cancelled' then 'already_registered'
        when own_status <> 'held' and own_order is distinct from p_order then 'order_in_progress'
        when payment.id is not null and p_order is not null then 'already_paid'
        when happened_at not between item.start_at and item.end_at and not p_any_time then 'not_open'
        when not p_one_step and item.price <> 0 and payment.id is null then 'payment_required'
        when p_amount <> item.price and not p_by_operator then 'amount_mismatch'
        when not p_by_operator and item.price <> 0 and p_amount not between p_min and p_max then 'amount_out_of_bounds'
        -- A seat that the user holds is theirs, even where an operator has lowered the capacity.
        when own_order is null and coalesce(item.registration_count + item.held_count >= item.capacity, false)
            and (item.held_count = 0 or not sugang.frees_{kind}_seat(p_id)) then 'sold_out'
    end;
    if a.outcome is not null then return a; end if;
    if own_order is not null then perform set_config('sugang.taken_hold', own_order::text, true); end if;

    if registration.id is null then
        insert into {registrations} (user_id, {item_id}, status, {registered_at})
            values (p_user, p_id, '{active}', happened_at) returning id into registration.id;
    else
        update {registrations}
            set status = '{active}', {registered_at} = happened_at, completed_at = null, cancelled_at = null,
                history_entries = history_entries + 1
            where id = registration.id;
    end if;
    -- What has decided is read again under the lock of the item's row. The API sends the statement once more.
    select title, price, start_at, end_at, hidden into current_item from {items}
        where id = p_id and exists (select from users where id = p_user and is_active);
    if p_order is null
       and ((current_item.price, current_item.start_at, current_item.end_at, current_item.hidden)
                is distinct from (item.price, item.start_at, item.end_at, item.hidden)
            or clock_timestamp() > item.end_at and not p_any_time) then
        raise serialization_failure using
            message = 'the {kind} or the user has changed, or the period has ended, meanwhile';
    end if;
    if payment.id is null then
        insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                              external_transaction_id, status, paid_at, search_vector, title_vector,
                              target_title, registration_id, registration_time)
            values (p_user, '{kind}', (select content_type_id from sugang.kinds where kind = '{kind}'), p_id,
                    p_amount, coalesce(p_method, 'free'),
                    p_external_id, 'paid', happened_at, to_tsvector('simple', current_item.title),
                    (select ts_filter(search_vector, array['a'::"char"]) from sugang.{kind}_search where item_id = p_id),
                    current_item.title, registration.id, happened_at)
            returning id, amount, payment_method, registration_id into payment;
    -- The user has paid already, and pays nothing again.
    elsif payment.registration_id is distinct from registration.id then
        update payments set registration_id = registration.id, registration_time = happened_at where id = payment.id;
    end if;
    if own_order is not null then
        if own_order is distinct from p_order then perform sugang.end_order(own_order, 'cancelled'); end if;
        perform set_config('sugang.taken_hold', '', true);
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', payment.id, 'registration_id', registration.id,
                                'amount', payment.amount::text, 'payment_method', payment.payment_method)::text;
    return a;
end $$;

create or replace function sugang.register_{kind}(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                  p_method text, p_min text, p_max text, p_external_id text,
                                                  p_request_id text, p_key text, p_fingerprint text,
                                                  p_epoch bigint default null, p_one_step boolean default true)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'register_{kind}' then
        perform sugang.misrouted(p_function, 'register_{kind}');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_register_{kind}(
        p_user, p_id, p_amount::numeric, p_method, p_min::numeric, p_max::numeric, p_external_id,
        p_one_step => p_one_step));
end $$;

-- Locks the registration of a user for an item, and returns its status.
create or replace function sugang.lock_{kind}_registration(p_user bigint, p_id bigint) returns text
language sql volatile as $$
    select status from {registrations} where user_id = p_user and {item_id} = p_id for update
$$;

-- Whether a gateway is giving back the payment of a registration, which that ends. Until it is known, nothing is
-- completed.
create or replace function sugang.gives_back_{kind}(p_user bigint, p_id bigint) returns boolean
language sql stable as $$
    select exists (
        select from payments p join sugang.refunds r on r.payment_id = p.id
        where p.user_id = p_user and p.object_id = p_id and p.status = 'paid' and p.partly_refunded > 0
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
          and r.status = 'sent' and r.cancels_payment and not r.keeps_registration)
$$;

create or replace function sugang.complete_{kind}(p_function text, p_user bigint, p_id bigint, p_request_id text,
                                                  p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    registration {registrations};
begin
    if p_function is distinct from 'complete_{kind}' then
        perform sugang.misrouted(p_function, 'complete_{kind}');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, null, null);
    if a.outcome is not null then return a; end if;
    select * into registration from {registrations} where user_id = p_user and {item_id} = p_id for update;
    perform sugang.check_user(p_user);
    a.outcome := case
        when registration.id is null then 'not_registered'
        when registration.status = 'completed' then 'already_completed'
        when registration.status = 'cancelled' then 'cancelled'
        when sugang.gives_back_{kind}(p_user, p_id) then 'refund_in_progress'
    end;
    if a.outcome is not null then return a; end if;
    update {registrations}
        set status = 'completed', completed_at = greatest(clock_timestamp(), {registered_at}),
            history_entries = history_entries + 1
        where id = registration.id returning * into registration;
    a.outcome := 'ok';
    a.body := json_build_object('registration_id', registration.id,
                                'completed_at', sugang.iso(registration.completed_at))::text;
    return a;
end $$;

-- Cancels a registration, which frees its seat. Returns false for a completed one, which stays as it is. The row of the
-- user, which an idempotency key refers to, is locked before that of the item.
create or replace function sugang.cancel_{kind}_registration(p_user bigint, p_id bigint, p_now timestamptz)
returns boolean language plpgsql as $$
declare
    registration {registrations};
begin
    select * into registration from {registrations} where user_id = p_user and {item_id} = p_id for update;
    perform sugang.lock_user(p_user);
    if registration.status = 'completed' then return false; end if;
    if registration.status = '{active}' then
        update {registrations}
            set status = 'cancelled', cancelled_at = p_now, history_entries = history_entries + 1
            where id = registration.id;
        perform sugang.check_user(p_user);
    end if;
    return true;
end $$;
