-- What operators do with webhooks. To say where events go is for superusers, as to make operators is.

create or replace function sugang.new_webhook_secret() returns text language sql volatile as $$
    select 'whsec_' || encode(sha256(convert_to(concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()),
                                                'UTF8')), 'base64')
$$;

-- Without its secrets.
create or replace function sugang.webhook_json(w sugang.webhooks) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'id', w.id, 'url', w.url, 'types', w.types, 'status', w.status, 'paused_by', w.paused_by,
        'created_at', sugang.iso(w.created_at), 'created_by', w.created_by,
        'failing_since', sugang.iso(w.failing_since),
        'old_secret_until', case when w.old_secret_until > clock_timestamp() then sugang.iso(w.old_secret_until) end,
        'pending', (select count(*) from sugang.deliveries where webhook_id = w.id and status = 'pending'))
$$;

-- What is logged of a webhook.
create or replace function sugang.webhook_fields(w sugang.webhooks) returns jsonb language sql stable as $$
    select jsonb_build_object('url', w.url, 'types', w.types, 'status', w.status)
$$;

create or replace function sugang.log_webhook() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform sugang.log_change('webhook', new.id, 'created', null, sugang.webhook_fields(new));
    elsif tg_op = 'DELETE' then
        perform sugang.log_change('webhook', old.id, 'deleted', sugang.webhook_fields(old), null);
    -- A new secret is logged without a field.
    elsif sugang.webhook_fields(new) <> sugang.webhook_fields(old) or new.secret <> old.secret then
        perform sugang.log_change('webhook', new.id, 'edited', sugang.webhook_fields(old), sugang.webhook_fields(new));
    end if;
    return null;
end $$;
create or replace trigger sugang_change_log after insert or update or delete on sugang.webhooks
    for each row execute function sugang.log_webhook();

create or replace function sugang.list_webhooks(p_function text, p_user bigint, p_page bigint,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'list_webhooks' then perform sugang.misrouted(p_function, 'list_webhooks'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a := sugang.paginate((select count(*) from sugang.webhooks), p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(sugang.webhook_json(w::sugang.webhooks)::text, ',' order by id) from (
        select * from sugang.webhooks order by id
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) w), '') || ']';
    return a;
end $$;

create or replace function sugang.get_webhook(p_function text, p_user bigint, p_id bigint,
                                              p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_webhook' then perform sugang.misrouted(p_function, 'get_webhook'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.body := (select sugang.webhook_json(w)::text from sugang.webhooks w where id = p_id);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- One that does not exist yet has no id. p_change: `create`, `edit`, `rotate` or `delete`; p_fields has those of
-- the form.
create or replace function sugang.do_change_webhook(p_user bigint, p_epoch bigint, p_id bigint, p_change text,
                                                    p_fields jsonb)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    w sugang.webhooks;
    wanted text[];
begin
    perform sugang.lock_user(p_user);
    -- Few are changed, and rarely: one lock counts them.
    perform pg_advisory_xact_lock(hashtextextended('webhooks', 0));
    if p_change <> 'create' then select * into w from sugang.webhooks where id = p_id for update; end if;
    perform sugang.check_operator(p_user, p_epoch);
    a.outcome := case
        when not exists (select from users where id = p_user and is_superuser) then 'not_superuser'
        when p_change = 'create' and (select count(*) >= 16 from sugang.webhooks) then 'too_many_webhooks'
        when p_change <> 'create' and w.id is null then 'not_found'
    end;
    if a.outcome is not null then return a; end if;
    wanted := array(select jsonb_array_elements_text(p_fields -> 'types') order by 1);
    if p_change = 'create' then
        insert into sugang.webhooks (url, types, secret, created_by)
            values (p_fields ->> 'url', wanted, sugang.new_webhook_secret(), p_user) returning * into w;
    elsif p_change = 'edit' then
        -- One that is told of more from now on, is not told of what was before.
        if p_fields ? 'types' or w.status = 'ended' then w.first_change := null; end if;
        if (p_fields ->> 'paused')::boolean then
            w.paused_by := coalesce(w.paused_by, 'operator');
            w.status := 'paused';
        elsif p_fields ? 'paused' then
            w.paused_by := null;
            w.status := 'active';
            w.failing_since := null;
        end if;
        update sugang.webhooks
            set url = coalesce(p_fields ->> 'url', w.url),
                types = case when p_fields ? 'types' then wanted else w.types end,
                status = w.status, paused_by = w.paused_by, failing_since = w.failing_since,
                first_change = w.first_change
            where id = p_id returning * into w;
    elsif p_change = 'rotate' then
        update sugang.webhooks
            set secret = sugang.new_webhook_secret(), old_secret = secret,
                old_secret_until = clock_timestamp() + interval '1 day'
            where id = p_id returning * into w;
    else
        delete from sugang.deliveries where webhook_id = p_id;
        delete from sugang.webhooks where id = p_id;
    end if;
    a.outcome := 'ok';
    a.body := case when p_change in ('create', 'rotate')
                   then (sugang.webhook_json(w) || jsonb_build_object('secret', w.secret))::text
                   when p_change = 'edit' then sugang.webhook_json(w)::text end;
    return a;
end $$;

create or replace function sugang.change_webhook(p_function text, p_user bigint, p_webhook bigint, p_change text,
                                                 p_fields text, p_request_id text, p_key text, p_fingerprint text,
                                                 p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'change_webhook' then perform sugang.misrouted(p_function, 'change_webhook'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_change_webhook(
        p_user, p_epoch, p_webhook, p_change, p_fields::jsonb));
end $$;

-- Writes an event for this webhook alone, paused or not, and claims it: the caller sends it.
create or replace function sugang.ping_webhook(p_function text, p_user bigint, p_webhook bigint, p_lease_ms bigint,
                                               p_request_id text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    w sugang.webhooks;
    d sugang.deliveries;
    event bigint;
begin
    if p_function is distinct from 'ping_webhook' then perform sugang.misrouted(p_function, 'ping_webhook'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, null, null);
    if a.outcome is not null then return a; end if;
    select * into w from sugang.webhooks where id = p_webhook;
    if w.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    insert into sugang.outbox (type, subject, subject_id, data)
        values ('ping', 'ping', w.id, json_build_object('webhook_id', w.id, 'status', w.status))
        returning id into event;
    insert into sugang.deliveries (webhook_id, event_id, subject, subject_id, tries, last_at, lease_until, next_at)
        values (w.id, event, 'ping', w.id, 1, clock_timestamp(),
                clock_timestamp() + make_interval(secs => p_lease_ms / 1e3),
                clock_timestamp() + make_interval(secs => p_lease_ms / 1e3)) returning * into d;
    a.outcome := 'ok';
    a.body := sugang.delivery_json(d, w)::text;
    return a;
end $$;

create or replace function sugang.delivery_for_operator_json(d sugang.deliveries) returns text language sql stable as $$
    select jsonb_build_object(
        'id', d.id, 'event_id', 'evt_' || replace(e.key::text, '-', ''), 'type', e.type, 'timestamp', sugang.iso(e.at),
        'data', e.data, 'status', d.status, 'tries', d.tries,
        'next_at', case when d.status = 'pending' then sugang.iso(d.next_at) end, 'last_at', sugang.iso(d.last_at),
        'last_status', d.last_status, 'last_error', d.last_error, 'ended_at', sugang.iso(d.ended_at))::text
        from sugang.outbox e where e.id = d.event_id
$$;

-- Newest first.
create or replace function sugang.list_deliveries(p_function text, p_user bigint, p_id bigint, p_page bigint,
                                                  p_status text, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    found_n bigint;
begin
    if p_function is distinct from 'list_deliveries' then
        perform sugang.misrouted(p_function, 'list_deliveries');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is null and not exists (select from sugang.webhooks where id = p_id) then
        a.outcome := 'not_found';
    end if;
    if a.outcome is not null then return a; end if;
    select count(*) into found_n from sugang.deliveries
        where webhook_id = p_id and (p_status is null or status = p_status);
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(sugang.delivery_for_operator_json(d::sugang.deliveries), ','
                                                 order by id desc) from (
        select * from sugang.deliveries where webhook_id = p_id and (p_status is null or status = p_status)
        order by id desc offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) d), '') || ']';
    return a;
end $$;

-- Sends again what has failed since a time; of one delivery that is named, whatever became of it.
create or replace function sugang.redeliver(p_function text, p_user bigint, p_webhook bigint, p_delivery bigint,
                                            p_since text, p_request_id text, p_key text, p_fingerprint text,
                                            p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    n bigint;
begin
    if p_function is distinct from 'redeliver' then perform sugang.misrouted(p_function, 'redeliver'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    perform sugang.lock_user(p_user);
    with chosen as (
        select id from sugang.deliveries
        where webhook_id = p_webhook and status <> 'pending'
          and case when p_delivery is not null then id = p_delivery
                   else status = 'failed' and ended_at >= p_since::timestamptz end
        order by id for update
    ), again as (
        update sugang.deliveries d
            set status = 'pending', tries = 0, next_at = clock_timestamp(), ended_at = null
            from chosen c where c.id = d.id returning d.id
    )
    select count(*) into n from again;
    a.outcome := case when exists (
        select from sugang.webhooks w where w.id = p_webhook and (p_delivery is null or exists (
            select from sugang.deliveries where webhook_id = w.id and id = p_delivery))) then 'ok'
        else 'not_found' end;
    a.body := case a.outcome when 'ok' then json_build_object('deliveries', n)::text end;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, a);
end $$;
