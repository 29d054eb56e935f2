-- Work without a request. Sweeps that run at once share it: each skips what another one has locked.

-- Until when a process looks after what it has claimed. Each failure doubles the lease, up to an hour.
create or replace function sugang.lease_end(p_lease interval, p_tries integer) returns timestamptz
language sql volatile as $$
    select clock_timestamp() + least(p_lease * 2 ^ least(p_tries, 20), interval '1 hour')
$$;

-- Ends up to p_limit orders whose time is up, items in the order of their ids, and returns how many. What a gateway may
-- know more about is looked up first.
create or replace function sugang.expire_orders(p_limit bigint) returns table (holds bigint, deposits bigint)
language plpgsql as $$
declare
    o record;
begin
    holds := 0;
    deposits := 0;
    for o in select id, status from (
            select id, kind, item_id, status from sugang.orders
            where is_live and expires_at < clock_timestamp()
              and (status = 'held' or status = 'awaiting_deposit' and gateway = 'manual')
            order by expires_at limit p_limit for update skip locked) due
            order by kind, item_id, id loop
        perform sugang.end_order(o.id, 'expired');
        if o.status = 'held' then holds := holds + 1; else deposits := deposits + 1; end if;
    end loop;
    return next;
end $$;

-- What a sweep has done, and in how many seconds the next one has something to do.
create or replace function sugang.sweep(p_function text, p_limit bigint) returns sugang.function_row
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    done record;
    next_at timestamptz;
begin
    if p_function is distinct from 'sweep' then perform sugang.misrouted(p_function, 'sweep'); end if;
    select * into done from sugang.expire_orders(p_limit);
    select min(expires_at) into next_at from sugang.orders where is_live;
    a.outcome := 'ok';
    a.body := json_build_object(
        'expired_holds', done.holds, 'expired_deposits', done.deposits,
        'again_in_seconds', case
            when done.holds + done.deposits >= p_limit then 0
            else greatest(1, least(60, ceil(extract(epoch from next_at - clock_timestamp()))))
        end::bigint)::text;
    return a;
end $$;

-- Claims up to p_limit attempts whose outcome has to be looked up at the gateway: those that were sent by a process
-- that has not answered within its lease, and deposits whose time is up. Each failure doubles the lease, up to an hour.
create or replace function sugang.claim_due(p_function text, p_limit bigint, p_lease_ms bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'claim_due' then perform sugang.misrouted(p_function, 'claim_due'); end if;
    with due as (
        select id from sugang.payment_attempts
        where status in ('sent', 'waiting') and gateway <> 'manual'
          and coalesce(lease_until, due_at) < clock_timestamp()
        order by coalesce(lease_until, due_at) limit p_limit for update skip locked
    ), claimed as (
        update sugang.payment_attempts t
            set tries = tries + 1,
                lease_until = sugang.lease_end(make_interval(secs => p_lease_ms / 1e3), tries)
            from due where t.id = due.id returning t as attempt, t.order_id, t.id
    )
    select 'ok', coalesce(json_agg(sugang.attempt_json(attempt, o) order by c.id), '[]')::text into a.outcome, a.body
        from claimed c join sugang.orders o on o.id = c.order_id;
    return a;
end $$;
