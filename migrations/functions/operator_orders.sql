-- What operators do with orders: find them, confirm what has arrived on the account, cancel them, and note that a
-- refund was paid out.

create or replace function sugang.order_for_operator_json(o sugang.orders) returns table (body text)
language sql stable as $$
    select (object::jsonb || jsonb_build_object(
            'window', null, 'user_id', o.user_id, 'email', (select email from users where id = o.user_id),
            'attempts', coalesce((select jsonb_agg(jsonb_build_object(
                'id', id, 'gateway', gateway, 'status', status, 'reference', reference, 'gateway_key', gateway_key,
                'captured', captured::text, 'payment_id', payment_id, 'code', code,
                'created_at', sugang.iso(created_at), 'ended_at', sugang.iso(ended_at),
                'refunds', sugang.refunds_json(payment_id)) order by id)
                from sugang.payment_attempts where order_id = o.id), '[]')))::text
        from sugang.order_json(o)
$$;

create or replace function sugang.found_orders(p_users bigint[], p_status text, p_kind text, p_item bigint,
                                               p_not_before timestamptz, p_before timestamptz)
returns setof sugang.orders language sql stable as $$
    select * from sugang.orders
    where (p_users is null or user_id = any (p_users))
      and (p_status is null or status = p_status)
      and (p_kind is null or kind = p_kind)
      and (p_item is null or item_id = p_item)
      and (p_not_before is null or created_at >= p_not_before)
      and (p_before is null or created_at < p_before)
$$;

-- Newest first. A page is read along an index in the order of the list, from the nearer end of it. p_from and p_to are
-- days in UTC, both inclusive.
create or replace function sugang.list_orders_for_operator(p_function text, p_user bigint, p_page bigint, p_owner text,
                                                           p_key text, p_typed_key text, p_ascii_key text,
                                                           p_status text, p_type text, p_item text, p_from text,
                                                           p_to text, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    found_n bigint;
    skipped bigint;
    ids bigint[];
    owners bigint[];
    item bigint := p_item::bigint;
    not_before timestamptz;
    before timestamptz;
begin
    if p_function is distinct from 'list_orders_for_operator' then
        perform sugang.misrouted(p_function, 'list_orders_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    not_before := sugang.day_begin(p_from);
    before := sugang.day_end(p_to);
    owners := sugang.users_of_email(p_key, p_typed_key, p_ascii_key);
    if p_owner is not null then
        owners := array(select p_owner::bigint where owners is null or p_owner::bigint = any (owners));
    end if;
    select count(*) into found_n from sugang.found_orders(owners, p_status, p_type, item, not_before, before);
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    skipped := (a.page - 1) * sugang.page_size();
    if skipped > found_n / 2 then
        ids := array(select id from sugang.found_orders(owners, p_status, p_type, item, not_before, before)
                     order by created_at, id offset greatest(found_n - skipped - sugang.page_size(), 0)
                     limit least(found_n - skipped, sugang.page_size()));
    else
        ids := array(select id from sugang.found_orders(owners, p_status, p_type, item, not_before, before)
                     order by created_at desc, id desc offset skipped limit sugang.page_size());
    end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(body, ',' order by o.created_at desc, o.id desc)
        from sugang.orders o cross join lateral sugang.order_for_operator_json(o)
        where o.id = any (ids)), '') || ']';
    return a;
end $$;

-- Begins what an operator does with one order, and locks it.
create or replace function sugang.lock_order_for_operator(p_user bigint, p_epoch bigint, p_id bigint)
returns sugang.orders language plpgsql as $$
declare
    o sugang.orders := sugang.lock_order(p_id);
begin
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    return o;
end $$;

create or replace function sugang.do_confirm_order(p_user bigint, p_epoch bigint, p_id bigint, p_amount numeric,
                                                   p_reference text, p_reason text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
begin
    o := sugang.lock_order_for_operator(p_user, p_epoch, p_id);
    a.outcome := case
        when o.id is null then 'not_found'
        when o.gateway <> 'manual' then 'gateway_decides'
        when o.status = 'paid' then 'already_paid'
        when o.status = 'refund_due' then 'order_ended'
        -- What has arrived is typed by hand: another amount is more likely a mistake than money.
        when p_amount <> o.price then 'amount_mismatch'
        -- One deposit pays one order.
        when exists (select from sugang.payment_attempts
                     where gateway = 'manual' and gateway_key = p_reference and order_id <> p_id) then 'key_used'
    end;
    if a.outcome is not null then
        if a.outcome = 'amount_mismatch' then a.body := json_build_object('kind', o.kind)::text; end if;
        return a;
    end if;
    t := sugang.current_attempt(p_id);
    begin
        update sugang.payment_attempts set gateway_key = p_reference where id = t.id;
    exception when unique_violation then
        -- Another order was confirmed with it since.
        a.outcome := 'key_used';
        return a;
    end;
    o := sugang.settle(o, t.id, 'captured', jsonb_build_object(
        'amount', p_amount::text, 'reason', p_reason, 'reference', p_reference, 'confirmed_by', p_user,
        -- Ids with this prefix are ours, and unique.
        'external_id', case when starts_with(p_reference, 'sugang_') then t.reference else p_reference end));
    a.outcome := 'ok';
    a.body := (select body from sugang.order_for_operator_json(o));
    return a;
end $$;

-- Confirms that the deposit of an order has arrived. One that is late gets a free seat, or is owed back.
create or replace function sugang.confirm_order(p_function text, p_user bigint, p_order bigint, p_amount text,
                                                p_reference text, p_reason text, p_request_id text, p_key text,
                                                p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'confirm_order' then perform sugang.misrouted(p_function, 'confirm_order'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_confirm_order(
        p_user, p_epoch, p_order, p_amount::numeric, p_reference, p_reason));
end $$;

create or replace function sugang.do_cancel_order_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                               p_reason text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    o sugang.orders;
    attempt bigint;
begin
    o := sugang.lock_order_for_operator(p_user, p_epoch, p_id);
    a.outcome := sugang.order_cancellation_error(o);
    if a.outcome is not null then return a; end if;
    attempt := (sugang.current_attempt(p_id)).id;
    perform sugang.end_order(p_id, 'cancelled');
    update sugang.payment_attempts
        set facts = coalesce(facts, '{}') || jsonb_build_object('cancelled_by', p_user, 'reason', p_reason)
        where id = attempt;
    a.outcome := 'ok';
    select body into a.body from sugang.orders c, sugang.order_for_operator_json(c) where c.id = p_id;
    return a;
end $$;

create or replace function sugang.cancel_order_for_operator(p_function text, p_user bigint, p_order bigint,
                                                            p_reason text, p_request_id text, p_key text,
                                                            p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_order_for_operator' then
        perform sugang.misrouted(p_function, 'cancel_order_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_cancel_order_for_operator(p_user, p_epoch, p_order, p_reason));
end $$;

-- What of an order waits for a person: no gateway gives it back, or the gateway has refused to, or does not know where
-- the money goes. What the sweep will send is left to it.
create or replace function sugang.lock_refunds_to_note(p_order bigint, p_refund bigint) returns setof sugang.refunds
language sql volatile as $$
    select r.* from sugang.refunds r join sugang.payment_attempts t using (payment_id)
    where t.order_id = p_order and r.status = 'requested' and (r.code is not null or not sugang.gives_back(t.gateway))
      and (p_refund is null or r.id = p_refund)
    for update of r
$$;

-- p_refund may be null where one refund alone waits.
create or replace function sugang.do_refund_order(p_user bigint, p_epoch bigint, p_id bigint, p_reference text,
                                                  p_refund bigint)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    o sugang.orders := sugang.lock_order_for_operator(p_user, p_epoch, p_id);
    waiting sugang.refunds[] := array(select r from sugang.lock_refunds_to_note(p_id, p_refund) r);
begin
    a.outcome := case
        when o.id is null then 'not_found'
        when cardinality(waiting) = 0 then 'no_refund_due'
        when cardinality(waiting) > 1 then 'invalid_fields'
    end;
    if a.outcome is not null then return a; end if;
    update sugang.refunds set status = 'done', reference = p_reference, due_at = null, code = null, account = null
        where (payment_id, id) = (waiting[1].payment_id, waiting[1].id);
    a.outcome := 'ok';
    a.body := (select body from sugang.order_for_operator_json(o));
    return a;
end $$;

-- Notes that a refund that is owed of an order was paid out: by hand, or in the gateway's own console.
create or replace function sugang.refund_order(p_function text, p_user bigint, p_order bigint, p_reference text,
                                               p_request_id text, p_key text, p_fingerprint text,
                                               p_epoch bigint default null, p_refund bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'refund_order' then perform sugang.misrouted(p_function, 'refund_order'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_refund_order(p_user, p_epoch, p_order, p_reference, p_refund));
end $$;
