-- Events of the gateways. Each is stored once, and has its attempt looked up; only what the look-up says is settled, by
-- the function that settles everything else. An event brings good news of an attempt that is under way, and any news
-- of a deposit. A refusal that its sender, or the sweep, is about to learn is left to them.

-- The secret that the gateway gave with the approval proves an event that has no signature. Digests are compared, so
-- that the time tells nothing.
create or replace function sugang.is_forged(t sugang.payment_attempts, p_secret text) returns boolean
language sql immutable as $$
    select coalesce(sha256(convert_to(t.secret, 'UTF8')) <> sha256(convert_to(p_secret, 'UTF8')), false)
$$;

-- What is looked up because of an event. `event` and `look_up` say what the answer is to.
create or replace function sugang.due_event_json(e sugang.gateway_events) returns json language sql stable as $$
    select json_build_object('event', e.id, 'look_up', e.tries, 'attempt', sugang.attempt_json(t, o))
    from sugang.payment_attempts t join sugang.orders o on o.id = t.order_id where t.id = e.attempt_id
$$;

-- Stores an event. `ok` has the attempt to look up, which the caller looks after until p_lease_ms have passed;
-- `repeated` was stored before; `ignored` is about nothing that is known; `forged` is not stored.
create or replace function sugang.receive_event(p_function text, p_gateway text, p_key text, p_reference text,
                                                p_gateway_key text, p_secret text, p_signed boolean, p_body text,
                                                p_lease_ms bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    t sugang.payment_attempts;
    e sugang.gateway_events;
begin
    if p_function is distinct from 'receive_event' then perform sugang.misrouted(p_function, 'receive_event'); end if;
    select * into t from sugang.payment_attempts where reference = p_reference and gateway = p_gateway;
    if t.id is null then
        select * into t from sugang.payment_attempts where gateway_key = p_gateway_key and gateway = p_gateway;
    end if;
    if sugang.is_forged(t, p_secret) then
        a.outcome := 'forged';
        return a;
    end if;
    insert into sugang.gateway_events (gateway, event_key, status, attempt_id, body, is_signed, lease_until)
        values (p_gateway, p_key, case when t.id is null then 'ignored' else 'due' end, t.id, p_body, p_signed,
                clock_timestamp() + make_interval(secs => p_lease_ms / 1e3))
        on conflict (gateway, event_key) do nothing returning * into e;
    a.outcome := case when e.id is null then 'repeated' when e.status = 'ignored' then 'ignored' else 'ok' end;
    if a.outcome = 'ok' then a.body := sugang.due_event_json(e)::text; end if;
    return a;
end $$;

-- Claims up to p_limit events whose look-up nothing has settled within its lease; each failure doubles the lease, up to
-- an hour. Removes as many that are older than p_days.
create or replace function sugang.claim_events(p_function text, p_limit bigint, p_lease_ms bigint, p_days bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'claim_events' then perform sugang.misrouted(p_function, 'claim_events'); end if;
    delete from sugang.gateway_events where id in (
        select id from sugang.gateway_events
        where received_at < clock_timestamp() - make_interval(days => p_days::integer)
        order by received_at limit p_limit for update skip locked);
    -- An event whose attempt was deleted is about nothing any more.
    with due as (
        select id, exists (select from sugang.payment_attempts t where t.id = attempt_id) as is_known
        from sugang.gateway_events where status = 'due' and lease_until < clock_timestamp()
        order by lease_until limit p_limit for update skip locked
    ), claimed as (
        update sugang.gateway_events e
            set status = case when is_known then 'due' else 'ignored' end, tries = tries + 1,
                claimed_at = clock_timestamp(),
                lease_until = sugang.lease_end(make_interval(secs => p_lease_ms / 1e3), tries)
            from due where e.id = due.id returning e as event, e.id, e.status
    )
    select 'ok', coalesce(json_agg(sugang.due_event_json(event) order by id) filter (where status = 'due'), '[]')::text
        into a.outcome, a.body from claimed;
    return a;
end $$;

-- Settles what a look-up because of an event has found. An answer that is not to the last look-up, or to one that began
-- before the money was there, or before it was taken back, may be older than what is known: it changes nothing.
create or replace function sugang.do_settle_event(p_event bigint, p_look_up bigint, p_outcome text, p_facts jsonb)
returns void language plpgsql as $$
declare
    e sugang.gateway_events;
    o sugang.orders;
    t sugang.payment_attempts;
    is_news boolean := false;
begin
    o := sugang.lock_order((
        select order_id from sugang.payment_attempts
        where id = (select attempt_id from sugang.gateway_events where id = p_event)));
    select * into e from sugang.gateway_events where id = p_event for update;
    if e.status is distinct from 'due' or e.tries <> p_look_up or p_outcome = 'unknown' then return; end if;
    select * into t from sugang.payment_attempts where id = e.attempt_id for update;
    if p_outcome = 'waiting' and t.status = 'captured' and t.ended_at < e.claimed_at then
        is_news := sugang.take_deposit_back(o, t, p_facts);
    elsif p_outcome = 'captured' and t.payment_id is null
          and ((t.facts ->> 'taken_back_at')::timestamptz < e.claimed_at) is not false
          or p_outcome = 'declined' and t.status = 'waiting' or p_outcome = 'waiting' and t.status = 'sent' then
        perform sugang.settle(o, t.id, p_outcome, p_facts);
        is_news := true;
    end if;
    -- It may be about money that was given back, which the sweep then looks up.
    if not is_news then
        update sugang.payment_attempts set reconcile_at = '-infinity', lease_until = null
            where id = t.id and status in ('captured', 'surplus') and sugang.gives_back(gateway);
    end if;
    -- The gateway may tell of what its look-ups show a moment later: the sweep looks once more.
    if not is_news and p_look_up = 1 and (t.status in ('sent', 'waiting') or t.due_at is not null) then return; end if;
    update sugang.gateway_events set status = 'done', outcome = p_outcome where id = p_event;
end $$;

create or replace function sugang.settle_event(p_function text, p_event bigint, p_look_up bigint, p_outcome text,
                                               p_facts text, p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'settle_event' then perform sugang.misrouted(p_function, 'settle_event'); end if;
    perform sugang.set_actor(o.user_id, p_request_id)
        from sugang.gateway_events e join sugang.payment_attempts t on t.id = e.attempt_id
        join sugang.orders o on o.id = t.order_id where e.id = p_event;
    perform sugang.do_settle_event(p_event, p_look_up, p_outcome, p_facts::jsonb);
    a.outcome := 'ok';
    return a;
end $$;
