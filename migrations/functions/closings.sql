-- What was opened at a gateway for an attempt that nothing approves any more. Where the user's agreement reserves
-- money, the sweep has the gateway release it.

-- Whether a gateway reserves money before the approval, and for days.
create or replace function sugang.reserves_money(p_gateway text) returns boolean language sql immutable as $$
    select p_gateway = 'stripe'
$$;

-- When the gateway is asked to release what it has reserved for an attempt that ends without money: at once. What a
-- gateway may know more about is `sent`, and does not end so.
create or replace function sugang.first_closing(t sugang.payment_attempts) returns timestamptz
language sql volatile as $$
    select case when t.gateway_key is not null and sugang.reserves_money(t.gateway) then clock_timestamp() end
$$;

-- Claims up to p_limit of them. Without an answer, the gateway is asked again soon, until it has released the money by
-- itself.
create or replace function sugang.claim_closings(p_function text, p_limit bigint) returns sugang.function_row
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    -- An index finds what is due by a value that stays the same.
    moment timestamptz := clock_timestamp();
begin
    if p_function is distinct from 'claim_closings' then perform sugang.misrouted(p_function, 'claim_closings'); end if;
    with due as (
        select id from sugang.payment_attempts
        where reconcile_at < moment and status in ('void', 'declined')
        order by reconcile_at limit p_limit for update skip locked
    ), claimed as (
        update sugang.payment_attempts t
            set tries = tries + 1,
                reconcile_at = case when ended_at > moment - interval '8 days' then moment + interval '10 minutes' end
            from due where t.id = due.id returning t as attempt, t.id, t.order_id
    )
    select 'ok', coalesce(json_agg(sugang.attempt_json(c.attempt, o) order by c.id), '[]')::text
        into a.outcome, a.body from claimed c join sugang.orders o on o.id = c.order_id;
    return a;
end $$;

-- Notes what has become of it. p_outcome and p_facts are as in sugang.settle: `declined` if the money is released, and
-- `captured` if it was taken before, which is late money.
create or replace function sugang.settle_closing(p_function text, p_attempt bigint, p_outcome text, p_facts text,
                                                 p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
begin
    if p_function is distinct from 'settle_closing' then perform sugang.misrouted(p_function, 'settle_closing'); end if;
    a.outcome := 'ok';
    o := sugang.lock_order((select order_id from sugang.payment_attempts where id = p_attempt));
    perform sugang.set_actor(o.user_id, p_request_id);
    if p_outcome = 'declined' then
        update sugang.payment_attempts set reconcile_at = null where id = p_attempt and payment_id is null;
    else
        perform sugang.settle(o, p_attempt, p_outcome, p_facts::jsonb);
    end if;
    return a;
end $$;
