-- Orders: their states, their history, and what a client is shown of them.
--
-- An order that is live holds a seat. Each status leads to few others; `approving` ends by knowledge, never by time:
-- money may be moving. Locks are taken in the order that registrations.sql describes, with the order and its attempts
-- before the payment. Whatever concerns one user and one item, orders included, is serialized by their advisory lock.

-- A digest of an order, as sugang.payment_state: what it contains is frozen.
create or replace function sugang.order_state(o sugang.orders) returns bytea language sql stable parallel safe as $$
    select substr(sha256(
        int8send(o.id) || int8send(o.user_id) || int8send(o.item_id) || numeric_send(o.price)
        || timestamptz_send(o.created_at) || timestamptz_send(o.expires_at)
        || coalesce(E'\\x01' || timestamptz_send(o.ended_at), E'\\x00')
        || coalesce(E'\\x01' || int8send(o.payment_id), E'\\x00')
        || coalesce(E'\\x01' || int8send(o.registration_id), E'\\x00')
        || convert_to(quote_literal(o.kind) || ',' || quote_literal(o.title) || ',' || quote_literal(o.payment_method)
                      || ',' || quote_literal(o.gateway) || ',' || quote_literal(o.status), 'UTF8')), 1, 16)
$$;

-- Whether an order with one status may get another.
create or replace function sugang.order_may_become(p_old text, p_new text) returns boolean
language sql immutable parallel safe as $$
    select p_new = any (case p_old
        when 'held' then array['held', 'approving', 'awaiting_deposit', 'paid', 'expired', 'cancelled', 'refund_due']
        when 'approving' then array['held', 'awaiting_deposit', 'paid', 'expired', 'refund_due']
        when 'awaiting_deposit' then array['paid', 'expired', 'cancelled', 'refund_due']
        -- Late money.
        when 'expired' then array['paid', 'refund_due']
        when 'cancelled' then array['paid', 'refund_due']
        -- A deposit that was taken back: see deposit_reversal.sql.
        when 'paid' then array['awaiting_deposit', 'expired']
        else array[]::text[]
    end)
$$;

create or replace function sugang.follow_order() returns trigger language plpgsql as $$
begin
    if new.status <> old.status
       and (not sugang.order_may_become(old.status, new.status)
            or old.status = 'paid' and sugang.reversed_order() is distinct from old.id) then
        raise check_violation using message = format('an order that is %s cannot become %s', old.status, new.status),
            table = 'orders', constraint = 'orders_status_follows';
    end if;
    new.ended_at := case
        when new.status in ('held', 'approving', 'awaiting_deposit') then null
        when new.status <> old.status or new.ended_at is null then greatest(clock_timestamp(), new.created_at)
        else new.ended_at
    end;
    -- A branch of its own: what is not evaluated is not compiled either, and the digest has the status.
    if new.status <> old.status then
        new.history_entries := old.history_entries + 1;
    elsif sugang.order_state(new) <> sugang.order_state(old) then
        new.history_entries := old.history_entries + 1;
    end if;
    return new;
end $$;
create or replace trigger sugang_follow before update on sugang.orders
    for each row execute function sugang.follow_order();

create or replace function sugang.log_order() returns trigger language plpgsql as $$
declare
    h sugang.audit_log;
    o sugang.orders := case when tg_op = 'DELETE' then old else new end;
begin
    if tg_op = 'UPDATE' and new.history_entries = old.history_entries then return null; end if;
    h.at := clock_timestamp();
    h.actor_id := sugang.actor();
    h.request_id := sugang.request();
    h.status := o.status;
    h.entry := o.history_entries;
    if tg_op <> 'INSERT' then h.hash := sugang.hash_of_entry('order', old.id, old.history_entries); end if;
    if tg_op = 'DELETE' then
        h.status := 'deleted';
        h.entry := o.history_entries + 1;
    else
        h.state := sugang.order_state(o);
    end if;
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry,
         state, hash)
        values (h.at, 'order', o.id, o.kind, o.item_id, o.user_id, h.status, 0, 0, h.actor_id, h.request_id, h.entry,
                h.state, sugang.entry_hash(h.hash, h.state, h.entry, h.at, 'order', o.id, o.kind, o.item_id, o.user_id,
                                           h.status, 0, 0, h.actor_id, h.request_id));
    return null;
end $$;
create or replace trigger sugang_audit_log after insert or update or delete on sugang.orders
    for each row execute function sugang.log_order();

-- A user who is deleted takes their orders along, unless money may be on its way, or a gateway holds it: without the
-- order, nothing knows where to give it back.
create or replace function sugang.guard_order_deletion() returns trigger language plpgsql as $$
begin
    if old.status in ('approving', 'awaiting_deposit') then
        raise check_violation using message = format('order %s is being paid', old.id), table = 'orders',
            constraint = 'orders_outcome_known', hint = 'Wait for its outcome, or cancel it first.';
    end if;
    if exists (select from sugang.payment_attempts t join sugang.refunds r on r.payment_id = t.payment_id
               where t.order_id = old.id and r.status in ('requested', 'sent')) then
        raise check_violation using message = format('money of order %s is being given back', old.id),
            table = 'orders', constraint = 'orders_outcome_known', hint = 'Wait until it is, or give it back by hand.';
    end if;
    if coalesce(current_setting('sugang.truncates', true), '') = ''
       and exists (select from sugang.payment_attempts t join payments p on p.id = t.payment_id
                   where t.order_id = old.id and p.status = 'paid' and sugang.gives_back(t.gateway)) then
        raise check_violation using message = format('a gateway holds the money of order %s', old.id),
            table = 'orders', constraint = 'orders_outcome_known',
            hint = 'Cancel its payment first, or give the order to the user of the payment.';
    end if;
    return old;
end $$;
create or replace trigger sugang_guard_deletion before delete on sugang.orders
    for each row execute function sugang.guard_order_deletion();

create or replace function sugang.orders_truncated() returns trigger language plpgsql as $$
begin
    perform set_config('sugang.truncates', 'on', true);
    delete from sugang.orders;
    perform set_config('sugang.truncates', '', true);
    return null;
end $$;
create or replace trigger sugang_truncated before truncate on sugang.orders
    for each statement execute function sugang.orders_truncated();

-- A random reference, by which a gateway knows an attempt.
create or replace function sugang.new_reference() returns text language sql volatile as $$
    select 'sugang_' || replace(gen_random_uuid()::text, '-', '')
$$;

-- The attempt that a client may work with: the live one, or else the latest.
create or replace function sugang.current_attempt(p_order bigint) returns sugang.payment_attempts
language plpgsql stable as $$
declare
    t sugang.payment_attempts;
begin
    select * into t from sugang.payment_attempts where order_id = p_order order by is_live desc, id desc limit 1;
    return t;
end $$;

-- What a client sees of an order. `now` lets it count down whatever its own clock says. The attempt is that of
-- sugang.current_attempt, in place of a call, whose row would be copied twice.
create or replace function sugang.order_json(o sugang.orders) returns table (object text) language sql stable as $$
    select row_to_json(j)::text from (select
        o.id, o.kind as item_type, o.item_id, o.title, o.price::text as amount, o.payment_method, o.gateway, o.status,
        sugang.iso(o.created_at) as created_at, sugang.iso(o.expires_at) as expires_at,
        sugang.iso(o.ended_at) as ended_at, o.payment_id, o.registration_id, (c.t).reference,
        sugang.window_json(o, c.t) as "window",
        (select code from sugang.payment_attempts
         where order_id = o.id and status = 'declined' order by id desc limit 1) as declined_code,
        case when (c.t).due_at is not null then json_build_object(
            'account', (c.t).facts ->> 'account', 'amount', (c.t).amount::text,
            'due_at', sugang.iso((c.t).due_at)) end as deposit,
        (select json_build_object('amount', amount::text, 'status', status, 'code', code) from sugang.refunds
         where payment_id = o.payment_id and (ends_payment or cancels_payment) and status <> 'refused'
         order by id desc limit 1) as refund,
        sugang.iso(moment) as now
        from clock_timestamp() moment left join lateral (
            select t from sugang.payment_attempts t
            where order_id = o.id order by is_live desc, id desc limit 1) c on true) j
$$;

-- An answer that is repeated tells the time of its repetition.
create or replace function sugang.with_now(p_row sugang.function_row) returns sugang.function_row
language plpgsql stable as $$
begin
    if p_row.replayed then
        p_row.body := regexp_replace(p_row.body, '"now":"[^"]*"', format('"now":"%s"', sugang.iso(clock_timestamp())));
    end if;
    return p_row;
end $$;

-- Locks an order with all that concerns its user and item. With p_user, only an order of that user.
create or replace function sugang.lock_order(p_id bigint, p_user bigint default null) returns sugang.orders
language plpgsql as $$
declare
    o sugang.orders;
begin
    perform pg_advisory_xact_lock(hashtextextended(kind || ' ' || item_id, user_id)) from sugang.orders
        where id = p_id and (p_user is null or user_id = p_user);
    if found then select * into o from sugang.orders where id = p_id for update; end if;
    return o;
end $$;

-- Ends an order that nothing was paid for. Its attempts are void: money that comes for one of them is late.
create or replace function sugang.end_order(p_id bigint, p_status text) returns void language plpgsql as $$
begin
    update sugang.orders set status = p_status where id = p_id;
    update sugang.payment_attempts t
        set status = 'void', ended_at = clock_timestamp(), reconcile_at = sugang.first_closing(t)
        where order_id = p_id and is_live;
end $$;

create or replace function sugang.get_order(p_function text, p_user bigint, p_id bigint, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_order' then perform sugang.misrouted(p_function, 'get_order'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select object into a.body from sugang.orders o, sugang.order_json(o) where o.id = p_id and o.user_id = p_user;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- Newest first. p_from and p_to are days in UTC, both inclusive.
create or replace function sugang.list_orders(p_function text, p_user bigint, p_page bigint, p_status text, p_type text,
                                              p_from text, p_to text, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    found_n bigint;
    not_before timestamptz;
    before timestamptz;
begin
    if p_function is distinct from 'list_orders' then perform sugang.misrouted(p_function, 'list_orders'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    not_before := sugang.day_begin(p_from);
    before := sugang.day_end(p_to);
    select count(*) into found_n from sugang.orders
        where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or kind = p_type)
          and (not_before is null or created_at >= not_before) and (before is null or created_at < before);
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(object, ',' order by created_at desc, id desc) from (
        select * from sugang.orders
        where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or kind = p_type)
          and (not_before is null or created_at >= not_before) and (before is null or created_at < before)
        order by created_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) o, sugang.order_json(o::sugang.orders)),
        '') || ']';
    return a;
end $$;

-- Cancels an order that waits for its user, or for a deposit that only an operator confirms.
create or replace function sugang.do_cancel_order(p_user bigint, p_id bigint) returns sugang.function_row
language plpgsql as $$
declare
    a sugang.function_row;
    o sugang.orders;
begin
    o := sugang.lock_order(p_id, p_user);
    perform sugang.lock_user(p_user);
    a.outcome := sugang.order_cancellation_error(o);
    if a.outcome is not null then return a; end if;
    perform sugang.end_order(p_id, 'cancelled');
    a.outcome := 'ok';
    select object into a.body from sugang.orders c, sugang.order_json(c) where c.id = p_id;
    return a;
end $$;

-- Why an order cannot be cancelled; null if it can.
create or replace function sugang.order_cancellation_error(o sugang.orders) returns sugang.outcome
language sql immutable as $$
    select case
        when o.id is null then 'not_found'
        when o.status = 'paid' then 'already_paid'
        when o.status = 'approving' or o.status = 'awaiting_deposit' and o.gateway <> 'manual' then 'order_in_progress'
        when o.status not in ('held', 'awaiting_deposit') then 'order_ended'
    end
$$;

create or replace function sugang.cancel_order(p_function text, p_user bigint, p_order bigint, p_request_id text,
                                               p_key text, p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_order' then perform sugang.misrouted(p_function, 'cancel_order'); end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return sugang.with_now(a); end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_cancel_order(p_user, p_order));
end $$;
