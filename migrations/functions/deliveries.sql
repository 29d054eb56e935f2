-- What the sweep sends to webhooks: claimed, sent while no transaction is open, and settled.

-- How long after each failed try the next one comes, as Standard Webhooks recommends. After the last one it has failed.
create or replace function sugang.retry_after(p_tries integer) returns interval language sql immutable as $$
    select (array['5 s', '5 min', '30 min', '2 h', '5 h', '10 h', '14 h', '20 h', '24 h']::interval[])[p_tries]
$$;

-- What is sent. The same text for each try, since it is stored so.
create or replace function sugang.delivery_json(d sugang.deliveries, w sugang.webhooks) returns json
language sql stable as $$
    select json_build_object(
        'id', d.id, 'try', d.tries, 'url', w.url, 'event', 'evt_' || replace(e.key::text, '-', ''),
        'secrets', array_remove(array[
            w.secret, case when w.old_secret_until > clock_timestamp() then w.old_secret end], null),
        'body', json_build_object('type', e.type, 'timestamp', sugang.iso(e.at), 'data', e.data)::text)
        from sugang.outbox e where e.id = d.event_id
$$;

-- Removes up to 500 events that are older than that, with what became of them.
create or replace function sugang.remove_old_events(p_keep interval) returns void language plpgsql as $$
declare
    old_events bigint[];
begin
    old_events := array(
        select id from (select id, at from sugang.outbox order by id limit 500) o
        where at < (select sugang.steady_now()) - p_keep);
    if old_events = '{}' then return; end if;
    update sugang.webhooks set first_change = c.id
        from (select max(change_id) as id from sugang.outbox where id = any (old_events)) c where first_change < c.id;
    delete from sugang.deliveries where event_id = any (old_events);
    delete from sugang.outbox where id = any (old_events);
end $$;

-- Notes from where on each webhook is told of every change: what gets an id of the history after that, finds it.
create or replace function sugang.note_first_changes() returns void language plpgsql
security definer set search_path = public, pg_temp as $$
begin
    -- A copy of the rows alone: the triggers look at the sequence.
    if pg_sequence_last_value('sugang.webhooks_id_seq') is null then
        perform setval('sugang.webhooks_id_seq', (select max(id) from sugang.webhooks));
    end if;
    update sugang.webhooks set first_change = coalesce(
        (select pg_sequence_last_value(pg_get_serial_sequence('sugang.audit_log', 'id'))), 0)
        where first_change is null;
end $$;

-- Claims what is due: for each webhook as many as are not under way, so that one that hangs delays no other. Of one
-- subject, the next one waits until the one before is settled. p_first: also looks for what the time has brought.
create or replace function sugang.claim_deliveries(p_function text, p_each bigint, p_lease_ms bigint,
                                                   p_keep_days bigint, p_first boolean)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan
set enable_sort = off set jit = off as $$
declare
    a sugang.function_row;
    w sugang.webhooks;
    taken json[] := array[]::json[];
    more json[];
    again timestamptz;
    soonest timestamptz;
    -- An index finds what is due by a value that stays the same.
    moment timestamptz;
begin
    if p_function is distinct from 'claim_deliveries' then
        perform sugang.misrouted(p_function, 'claim_deliveries');
    end if;
    if p_first and sugang.has_webhooks() then
        perform sugang.note_first_changes();
        perform sugang.publish_openings();
    end if;
    if p_first then perform sugang.remove_old_events(make_interval(days => p_keep_days::integer)); end if;
    moment := clock_timestamp();
    for w in select * from sugang.webhooks where status = 'active' order by id for no key update skip locked loop
        with due as (
            select d.id from sugang.deliveries d
            where d.webhook_id = w.id and d.status = 'pending' and d.next_at <= moment
              -- With a limit, so that the index finds it for each row that is looked at: few of a long backlog.
              and (select b.event_id from sugang.deliveries b
                   where b.webhook_id = w.id and b.status = 'pending'
                     and (b.subject, b.subject_id) = (d.subject, d.subject_id) and b.event_id < d.event_id
                   order by b.event_id limit 1) is null
            order by d.next_at
            limit greatest(0, p_each - (select count(*) from sugang.deliveries
                                        where webhook_id = w.id and lease_until > moment))
            for update skip locked
        ), claimed as (
            update sugang.deliveries d
                set tries = tries + 1, last_at = moment,
                    lease_until = moment + make_interval(secs => p_lease_ms / 1e3),
                    next_at = moment + make_interval(secs => p_lease_ms / 1e3)
                from due where d.id = due.id returning d as delivery
        )
        select array_agg(j) into more from claimed c, sugang.delivery_json(c.delivery, w) j where j is not null;
        taken := taken || coalesce(more, array[]::json[]);
        select min(next_at) into soonest from sugang.deliveries
            where webhook_id = w.id and status = 'pending' and next_at > moment;
        -- What another program changes is told soon.
        again := least(again, soonest, moment + interval '5 s');
    end loop;
    a.outcome := 'ok';
    a.body := json_build_object(
        'deliveries', to_json(taken),
        'again_in_seconds', case when again is not null
            then greatest(1, ceil(extract(epoch from again - moment))) end::bigint)::text;
    return a;
end $$;

-- Settles a try, once: p_status is the receiver's, if it has answered. What was delivered counts even if another sweep
-- has taken over; a failure counts for the try that it belongs to. p_retry_after: for how many seconds the receiver
-- asks to be left alone, of which it gets a day at most.
create or replace function sugang.settle_delivery(p_function text, p_id bigint, p_try bigint, p_status bigint,
                                                  p_error text, p_retry_after bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    d sugang.deliveries;
    pause interval;
    delivered boolean := coalesce(p_status between 200 and 299, false);
begin
    if p_function is distinct from 'settle_delivery' then
        perform sugang.misrouted(p_function, 'settle_delivery');
    end if;
    a.outcome := 'ok';
    select * into d from sugang.deliveries where id = p_id for update;
    if d.status is distinct from 'pending' or not delivered and d.tries <> p_try then return a; end if;
    if p_status is distinct from 410 and d.subject <> 'ping' then pause := sugang.retry_after(d.tries); end if;
    update sugang.deliveries
        set status = case when delivered then 'delivered' when pause is null then 'failed' else 'pending' end,
            next_at = clock_timestamp() + greatest(coalesce(pause, '0') * (1 + random() / 5),
                                                   make_interval(secs => least(coalesce(p_retry_after, 0), 86400))),
            ended_at = case when delivered or pause is null then clock_timestamp() end,
            lease_until = null, last_status = p_status, last_error = p_error
        where id = p_id;
    -- Without a change, the webhook is not written, so that many deliveries do not wait for each other.
    if delivered then
        update sugang.webhooks set failing_since = null where id = d.webhook_id and failing_since is not null;
    elsif p_status = 410 then
        update sugang.webhooks set status = 'ended', paused_by = null where id = d.webhook_id and status <> 'ended';
    elsif d.subject <> 'ping' then
        update sugang.webhooks set failing_since = clock_timestamp() where id = d.webhook_id and failing_since is null;
        update sugang.webhooks set status = 'paused', paused_by = 'failures'
            where id = d.webhook_id and status = 'active' and failing_since < clock_timestamp() - interval '5 days';
    end if;
    return a;
end $$;
