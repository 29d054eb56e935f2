-- One kind: the seats that orders hold, and the pre-order that takes one.

-- Keeps held_count, whichever program writes the orders. The trigger of the item guards it: see seats.sql.
create or replace function sugang.{kind}_order_written() returns trigger language plpgsql as $$
declare
    item bigint;
    change integer := 0;
begin
    if tg_op = 'UPDATE' and new.is_live = old.is_live then return null; end if;
    item := case when tg_op = 'DELETE' then old.item_id else new.item_id end;
    if tg_op <> 'DELETE' then change := new.is_live::integer; end if;
    if tg_op <> 'INSERT' then change := change - old.is_live::integer; end if;
    if change <> 0 then update {items} set held_count = held_count + change where id = item; end if;
    return null;
end $$;
create or replace trigger sugang_{kind}_order_added after insert or update on sugang.orders
    for each row when (new.kind = '{kind}') execute function sugang.{kind}_order_written();
create or replace trigger sugang_{kind}_order_removed after delete on sugang.orders
    for each row when (old.kind = '{kind}') execute function sugang.{kind}_order_written();

-- An item that another program deletes, or gives another id, ends the orders that nothing was paid for.
create or replace function sugang.end_orders_of_{kind}() returns trigger language plpgsql as $$
declare
    o record;
begin
    if exists (select from sugang.orders
               where kind = '{kind}' and item_id = old.id and status in ('approving', 'awaiting_deposit')) then
        raise check_violation using message = format('an order for {kind} %s is being paid', old.id), table = '{items}',
            constraint = 'orders_outcome_known', hint = 'Wait for its outcome, or cancel it first.';
    end if;
    for o in select id from sugang.orders where kind = '{kind}' and item_id = old.id and is_live loop
        perform sugang.end_order(o.id, 'cancelled');
    end loop;
    return null;
end $$;
create or replace trigger sugang_orders_deleted after delete on {items}
    for each row when (old.held_count <> 0) execute function sugang.end_orders_of_{kind}();
create or replace trigger sugang_orders_moved after update of id on {items}
    for each row when (old.held_count <> 0 and new.id <> old.id) execute function sugang.end_orders_of_{kind}();

create or replace function sugang.{kind}_items_truncated() returns trigger language plpgsql as $$
begin
    if exists (select from sugang.orders where kind = '{kind}' and status in ('approving', 'awaiting_deposit')) then
        raise check_violation using message = 'an order for a {kind} is being paid', table = '{items}',
            constraint = 'orders_outcome_known';
    end if;
    perform sugang.end_order(id, 'cancelled') from sugang.orders where kind = '{kind}' and is_live;
    return null;
end $$;
create or replace trigger sugang_orders_truncated before truncate on {items}
    for each statement execute function sugang.{kind}_items_truncated();

-- Called when the item is full: releases up to ten expired holds of other users, and tells whether a seat is free then.
-- Holds that another statement works on are left to it.
create or replace function sugang.frees_{kind}_seat(p_id bigint) returns boolean
language plpgsql as $$
declare
    o record;
begin
    for o in select id from sugang.orders
            where kind = '{kind}' and item_id = p_id and is_live and status = 'held' and expires_at < clock_timestamp()
            order by expires_at limit 10 for update skip locked loop
        perform sugang.end_order(o.id, 'expired');
    end loop;
    return (select registration_count + held_count < capacity from {items} where id = p_id);
end $$;

-- Why an order may not be paid any more; null if it may.
create or replace function sugang.{kind}_payment_error(o sugang.orders) returns sugang.outcome
language plpgsql stable as $$
begin
    return case
        when exists (select from {registrations}
                     where user_id = o.user_id and {item_id} = o.item_id and status <> 'cancelled')
            then 'already_registered'
        when not exists (select from {items} where id = o.item_id and end_at >= clock_timestamp()) then 'order_ended'
    end;
end $$;

-- Cancels the registration of an order whose deposit was taken back, unless it is completed. Returns whether the order
-- may hold a seat again.
create or replace function sugang.release_{kind}_of_order(o sugang.orders) returns boolean language plpgsql as $$
begin
    update {registrations}
        set status = 'cancelled', cancelled_at = greatest(clock_timestamp(), {registered_at}),
            history_entries = history_entries + 1
        where id = o.registration_id and status = '{active}';
    return found and exists (
        select from {items}
        where id = o.item_id and end_at > clock_timestamp()
          and coalesce(registration_count + held_count < capacity, true));
end $$;

create or replace function sugang.{kind}_end(p_id bigint) returns timestamptz language sql stable as $$
    select end_at from {items} where id = p_id
$$;

-- The checks are those of do_register_{kind}, in their order.
create or replace function sugang.do_preorder_{kind}(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                     p_gateway text, p_min numeric, p_max numeric, p_hold interval,
                                                     p_window_keys jsonb, p_needs_opening boolean)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item record;
    o sugang.orders;
    happened_at timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended('{kind} ' || p_id, p_user));
    select * into o from sugang.orders where user_id = p_user and kind = '{kind}' and item_id = p_id and is_live
        for update;
    perform sugang.lock_user(p_user);
    happened_at := clock_timestamp();
    -- Only the columns that are read, as in do_register_{kind}.
    select id, title, price, start_at, end_at, capacity, registration_count, held_count,
           exists (select from payments
                   where user_id = p_user and object_id = p_id and status = 'paid'
                     and content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')) as is_paid,
           exists (select from {registrations}
                   where user_id = p_user and {item_id} = p_id and status <> 'cancelled') as is_registered
        into item from {items} where id = p_id and not hidden;
    a.outcome := case
        when item.id is null then 'not_found'
        when item.is_registered then 'already_registered'
        -- The registration was cancelled by another program. To register again costs nothing.
        when item.is_paid then 'already_paid'
        when o.status <> 'held' then 'order_in_progress'
        when happened_at not between item.start_at and item.end_at then 'not_open'
        when p_amount <> item.price then 'amount_mismatch'
        when p_amount not between p_min and p_max then 'amount_out_of_bounds'
        -- Gateways take whole won.
        when p_gateway <> 'manual' and item.price <> trunc(item.price) then 'method_unavailable'
    end;
    if a.outcome is not null then return a; end if;
    if o.id is not null and o.expires_at < happened_at then
        perform sugang.end_order(o.id, 'expired');
        o := null;
        select id, title, price, start_at, end_at, capacity, registration_count, held_count into item from {items}
            where id = p_id;
    end if;
    if o.id is not null then
        a.outcome := 'held_before';
        o := sugang.change_order(o, item.title, item.price, p_method, p_gateway, p_window_keys, p_needs_opening);
    elsif coalesce(item.registration_count + item.held_count >= item.capacity, false)
        and (item.held_count = 0 or not sugang.frees_{kind}_seat(p_id)) then
        a.outcome := 'sold_out';
        return a;
    else
        a.outcome := 'ok';
        insert into sugang.orders
            (user_id, kind, item_id, title, price, payment_method, gateway, window_keys, needs_opening, created_at,
             expires_at)
            values (p_user, '{kind}', p_id, item.title, item.price, p_method, p_gateway, p_window_keys, p_needs_opening,
                    happened_at, least(happened_at + p_hold, item.end_at))
            returning * into o;
        perform sugang.open_attempt(o);
        -- As in do_register_{kind}: what has decided is read again under the lock of the item's row. Not with `=`, for
        -- which a plan may choose the index of a time that many items share.
        if not exists (select from {items} i
                       where i.id = p_id and not i.hidden and exists (select from users where id = p_user and is_active)
                         and (i.price, i.start_at, i.end_at)
                             is not distinct from (item.price, item.start_at, item.end_at)) then
            raise serialization_failure using message = 'the {kind} or the user has changed meanwhile';
        end if;
    end if;
    a.body := (select object from sugang.order_json(o));
    return a;
end $$;

create or replace function sugang.preorder_{kind}(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                  p_method text, p_gateway text, p_min text, p_max text,
                                                  p_hold_seconds bigint, p_window_keys text,
                                                  p_needs_opening boolean, p_request_id text, p_key text,
                                                  p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'preorder_{kind}' then
        perform sugang.misrouted(p_function, 'preorder_{kind}');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return sugang.with_now(a); end if;
    -- Not kept: it depends on the configuration.
    if p_gateway is null then
        a.outcome := 'method_unavailable';
        return a;
    end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_preorder_{kind}(
        p_user, p_id, p_amount::numeric, p_method, p_gateway, p_min::numeric, p_max::numeric,
        make_interval(secs => p_hold_seconds), p_window_keys::jsonb, p_needs_opening));
end $$;
