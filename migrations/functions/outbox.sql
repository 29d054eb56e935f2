-- The outbox: triggers write each change that a webhook is told of, in its transaction, whichever program makes the
-- change. See docs/decisions/outbox-by-triggers.md.
--
-- The history has a row for each change of a payment, a registration or an order, so one trigger on it writes the
-- events of all three. As long as there has never been a webhook, its sequence says so, which costs a trigger less than
-- a look at the table.

create or replace function sugang.has_webhooks() returns boolean language plpgsql stable as $$
begin
    return exists (select from sugang.webhooks where status <> 'ended');
end $$;

-- Writes an event, and what each webhook is told of it. A webhook that is paused is told later.
create or replace function sugang.publish(p_type text, p_subject text, p_subject_id bigint, p_data json,
                                          p_change bigint default null)
returns void language plpgsql as $$
begin
    with receivers as (
        select id from sugang.webhooks where status <> 'ended' and (types = '{}' or p_type = any (types))
    ), event as (
        insert into sugang.outbox (type, subject, subject_id, data, change_id)
            select p_type, p_subject, p_subject_id, p_data, p_change where exists (select from receivers)
            returning id
    )
    insert into sugang.deliveries (webhook_id, event_id, subject, subject_id)
        select r.id, e.id, p_subject, p_subject_id from receivers r cross join event e;
end $$;

-- The status that a row of the history has changed; null if there was none before.
create or replace function sugang.status_before(p sugang.audit_log) returns text
language plpgsql stable set enable_seqscan = off as $$
declare
    found_status text;
begin
    select status into found_status from sugang.audit_log
        where subject = p.subject and subject_id = p.subject_id and entry = p.entry - 1 and id < p.id order by id desc;
    return found_status;
end $$;

-- What a row of the history is told as. A payment or registration that comes to another user or item is deleted there,
-- and created here.
create or replace function sugang.event_type(p sugang.audit_log) returns text language sql stable as $$
    select case when p.subject in ('payment', 'order') then p.subject else 'registration' end || '.' || case
        when p.status in ('deleted', 'moved') then 'deleted'
        when p.entry > 1 and p.status = sugang.status_before(p) then 'updated'
        when p.subject in ('payment', 'order') or p.status in ('completed', 'cancelled') then p.status
        else 'created'
    end
$$;

-- What is told of it.
create or replace function sugang.change_json(p sugang.audit_log) returns json language sql stable as $$
    select json_build_object(
        case when p.subject in ('payment', 'order') then p.subject else 'registration' end || '_id', p.subject_id,
        'user_id', p.user_id, 'item_type', p.item_kind, 'item_id', p.item_id, 'status', p.status)
$$;

create or replace function sugang.publish_change() returns trigger language plpgsql as $$
begin
    if pg_sequence_last_value('sugang.webhooks_id_seq') is null or not sugang.has_webhooks() then return null; end if;
    perform sugang.publish(sugang.event_type(new), new.subject, new.subject_id, sugang.change_json(new), new.id);
    return null;
end $$;
create or replace trigger sugang_outbox after insert on sugang.audit_log
    for each row execute function sugang.publish_change();

create or replace function sugang.publish_refund() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.status = old.status
       or pg_sequence_last_value('sugang.webhooks_id_seq') is null or not sugang.has_webhooks() then
        return null;
    end if;
    perform sugang.publish(
        'refund.' || new.status, 'refund', new.id,
        json_build_object('refund_id', new.id, 'payment_id', new.payment_id, 'status', new.status));
    return null;
end $$;
create or replace trigger sugang_outbox after insert or update of status on sugang.refunds
    for each row execute function sugang.publish_refund();

create or replace function sugang.publish_item(p_kind text, p_id bigint, p_change text) returns void
language sql as $$
    select sugang.publish('item.' || p_change, p_kind || ' item', p_id,
                          json_build_object('item_type', p_kind, 'item_id', p_id, 'status', p_change))
$$;

-- Writes the events of items whose period has begun since the latest look, once for each. What was missed while there
-- was no webhook is not told.
create or replace function sugang.publish_openings() returns void language plpgsql as $$
declare
    k record;
    since timestamptz;
    until timestamptz := clock_timestamp();
begin
    select greatest(known_until, (select min(created_at) from sugang.webhooks)) into since
        from sugang.openings for update skip locked;
    if since is null or since >= until then return; end if;
    for k in select kind from sugang.kinds order by kind loop
        execute format('select sugang.%I($1, $2)', 'publish_' || k.kind || '_openings') using since, until;
    end loop;
    update sugang.openings set known_until = until;
end $$;
