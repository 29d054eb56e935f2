-- The audit log: its rows, its chains, and the triggers that write those of payments.
--
-- A payment or registration has the entries 1, 2, ... and counts them in history_entries. A row that comes back under
-- an id that was deleted begins again with 1. An entry has a digest of the row that it leaves behind, and a hash that
-- includes the hash of the entry before. The audit computes all of them again.

create or replace function sugang.refuse_audit_log_change() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only', tg_table_schema, tg_table_name using errcode = 'insufficient_privilege';
end $$;
create or replace trigger append_only before update or delete or truncate on sugang.audit_log
    for each statement execute function sugang.refuse_audit_log_change();
create or replace trigger append_only before update or delete or truncate on sugang.audit_seals
    for each statement execute function sugang.refuse_audit_log_change();

-- Tells the triggers the user and the request behind the changes of this transaction.
create or replace function sugang.set_actor(p_user bigint, p_request_id text) returns void language plpgsql as $$
begin
    -- A condition is evaluated without a plan.
    if set_config('sugang.actor', p_user::text, true) is null
       or set_config('sugang.request', p_request_id, true) is null then
        return;
    end if;
end $$;

-- That user and request; null when another program makes the change.
create or replace function sugang.actor() returns bigint language sql stable as $$
    select nullif(current_setting('sugang.actor', true), '')::bigint
$$;
create or replace function sugang.request() returns text language sql stable as $$
    select nullif(current_setting('sugang.request', true), '')
$$;

-- The digests are taken of bytes that depend on no setting of the session: those of PostgreSQL's binary protocol, and
-- quoted texts. What they contain is frozen: another column would need another digest beside them. One expression each,
-- so that PostgreSQL puts it in place of the call.
create or replace function sugang.payment_state(p payments) returns bytea language sql stable parallel safe as $$
    select substr(sha256(
        int8send(p.id) || int8send(p.user_id) || int4send(p.content_type_id) || int8send(p.object_id)
        || numeric_send(p.amount) || timestamptz_send(p.paid_at)
        || coalesce(E'\\x01' || timestamptz_send(p.cancelled_at), E'\\x00')
        || coalesce(E'\\x01' || int8send(p.registration_id), E'\\x00')
        || coalesce(E'\\x01' || timestamptz_send(p.registration_time), E'\\x00')
        || convert_to(quote_nullable(p.payment_type) || ',' || quote_nullable(p.payment_method) || ','
                      || quote_nullable(p.external_transaction_id) || ',' || quote_nullable(p.status) || ','
                      || quote_nullable(p.refund_reason) || ',' || quote_nullable(p.target_title), 'UTF8')), 1, 16)
$$;
create or replace function sugang.registration_state(p_id bigint, p_user bigint, p_item bigint, p_status text,
                                                     p_registered_at timestamptz, p_completed_at timestamptz,
                                                     p_cancelled_at timestamptz)
returns bytea language sql stable parallel safe as $$
    select substr(sha256(
        int8send(p_id) || int8send(p_user) || int8send(p_item) || timestamptz_send(p_registered_at)
        || coalesce(E'\\x01' || timestamptz_send(p_completed_at), E'\\x00')
        || coalesce(E'\\x01' || timestamptz_send(p_cancelled_at), E'\\x00') || convert_to(p_status, 'UTF8')), 1, 16)
$$;

-- The hash of an entry. p_previous: the hash of the entry before it; null for the first one.
create or replace function sugang.entry_hash(p_previous bytea, p_state bytea, p_entry integer, p_at timestamptz,
                                             p_subject text, p_subject_id bigint, p_item_kind text, p_item_id bigint,
                                             p_user bigint, p_status text, p_amount numeric, p_seats integer,
                                             p_actor bigint, p_request_id text)
returns bytea language sql stable parallel safe as $$
    select substr(sha256(
        coalesce(E'\\x01' || p_previous, E'\\x00') || coalesce(E'\\x01' || p_state, E'\\x00')
        || int4send(p_entry) || timestamptz_send(p_at) || int8send(p_subject_id) || int8send(p_item_id)
        || int8send(p_user) || numeric_send(p_amount::numeric(12, 2)) || int4send(p_seats)
        || coalesce(E'\\x01' || int8send(p_actor), E'\\x00')
        || convert_to(quote_nullable(p_subject) || ',' || quote_nullable(p_item_kind) || ','
                      || quote_nullable(p_status) || ',' || quote_nullable(p_request_id), 'UTF8')), 1, 16)
$$;

-- The hash of this entry; of the latest, where a deleted row came back under its id. Without a limit: with one, a
-- search along the ids might read the whole log. Without sequential scans: a plan may be kept from when the log was
-- short.
create or replace function sugang.hash_of_entry(p_subject text, p_subject_id bigint, p_entry integer) returns bytea
language plpgsql stable set enable_seqscan = off as $$
declare
    found_hash bytea;
begin
    select hash into found_hash from sugang.audit_log
        where subject = p_subject and subject_id = p_subject_id and entry = p_entry order by id desc;
    return found_hash;
end $$;

-- The time of the cancellation follows the status, for a program that changes the status alone; and the entries of the
-- payment are counted. The functions of the API count by themselves where they change the status, which is faster.
create or replace function sugang.follow_payment() returns trigger language plpgsql as $$
begin
    if (new.status = 'paid') = (new.cancelled_at is not null) and new.status in ('paid', 'cancelled') then
        new.cancelled_at := case when new.status = 'cancelled' then clock_timestamp() end;
    end if;
    if tg_op = 'INSERT' or new.history_entries = old.history_entries + 1 and new.status <> old.status
       or sugang.recounts() then
        return new;
    end if;
    new.history_entries := case
        when new.id <> old.id then 1
        when (new.user_id, new.content_type_id, new.object_id) <> (old.user_id, old.content_type_id, old.object_id)
            then old.history_entries + 2
        when sugang.payment_state(new) <> sugang.payment_state(old) then old.history_entries + 1
        else old.history_entries
    end;
    return new;
end $$;
-- After all others, whose changes count as well: triggers run in the order of their names. Without a condition, which
-- PostgreSQL would parse again in each statement: that takes longer than the call.
create or replace trigger sugang_z_follow before insert or update on payments
    for each row execute function sugang.follow_payment();

-- A payment that comes to another user or item is a removal and an addition.
create or replace function sugang.log_payment() returns trigger language plpgsql as $$
declare
    moved boolean := tg_op = 'UPDATE'
        and (old.id, old.user_id, old.content_type_id, old.object_id)
            is distinct from (new.id, new.user_id, new.content_type_id, new.object_id);
    h sugang.audit_log;
    before numeric := 0;
    after  numeric := 0;
    previous bytea;
    is_booked boolean := false;
begin
    if tg_op = 'UPDATE' and old.id = new.id and old.history_entries = new.history_entries or sugang.recounts() then
        return null;
    end if;
    if tg_op <> 'INSERT' and old.status = 'paid' then before := old.amount; end if;
    if tg_op <> 'DELETE' and new.status = 'paid' then after := new.amount; end if;
    h.at := clock_timestamp();
    h.actor_id := sugang.actor();
    h.request_id := sugang.request();
    if tg_op <> 'INSERT' then previous := sugang.hash_of_entry('payment', old.id, old.history_entries); end if;
    if tg_op = 'DELETE' or moved then
        h.entry := old.history_entries + 1;
        h.item_kind := coalesce((select kind from sugang.kinds where content_type_id = old.content_type_id),
                                old.payment_type);
        h.status := case when tg_op = 'UPDATE' and old.id = new.id then 'moved' else 'deleted' end;
        h.hash := sugang.entry_hash(previous, null, h.entry, h.at, 'payment', old.id, h.item_kind, old.object_id,
                                    old.user_id, h.status, -before, 0, h.actor_id, h.request_id);
        insert into sugang.audit_log
            (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry,
             hash)
            values (h.at, 'payment', old.id, h.item_kind, old.object_id, old.user_id, h.status, -before, 0, h.actor_id,
                    h.request_id, h.entry, h.hash)
            returning id into h.id;
        if h.status = 'deleted' then perform sugang.book_removal(old, h); end if;
        before := 0;
        previous := case when h.status = 'moved' then h.hash end;
    end if;
    if tg_op <> 'DELETE' then
        h.item_kind := new.payment_type;
        if h.actor_id is null then
            h.item_kind := coalesce((select kind from sugang.kinds where content_type_id = new.content_type_id),
                                    new.payment_type);
        end if;
        h.state := sugang.payment_state(new);
        h.entry := case tg_op when 'INSERT' then 1 else new.history_entries end;
        insert into sugang.audit_log
            (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry,
             state, hash)
            values (h.at, 'payment', new.id, h.item_kind, new.object_id, new.user_id, new.status, after - before, 0,
                    h.actor_id, h.request_id, h.entry, h.state,
                    sugang.entry_hash(previous, h.state, h.entry, h.at, 'payment', new.id, h.item_kind, new.object_id,
                                      new.user_id, new.status, after - before, 0, h.actor_id, h.request_id))
            returning id into h.id;
        -- The first two are what the API does, and what other programs mostly do.
        if tg_op = 'INSERT' and new.status = 'paid' and new.partly_refunded = 0 then
            is_booked := sugang.book_capture(new.id, new.amount, h.at, h.actor_id, h.request_id);
        elsif old.status = 'paid' and new.status <> 'paid' and (old.id, old.amount) = (new.id, new.amount) then
            perform sugang.give_rest_back(new.id, new.amount - new.partly_refunded, new.refund_reason, h.at, h.actor_id,
                                          h.request_id);
            is_booked := true;
        end if;
        if not is_booked then perform sugang.book_payment(old, new, h); end if;
        -- A copy of another row, as from a backup.
        if new.history_entries <> h.entry then
            perform set_config('sugang.recount', 'on', true);
            update payments set history_entries = h.entry where id = new.id;
            perform set_config('sugang.recount', '', true);
        end if;
    end if;
    return null;
end $$;
create or replace trigger sugang_audit_log after insert or update or delete on payments
    for each row execute function sugang.log_payment();

-- Before the rows are gone.
create or replace function sugang.log_truncated_payments() returns trigger language plpgsql as $$
declare
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz := clock_timestamp();
    h sugang.audit_log;
begin
    for h in insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry, hash)
        select happened_at, 'payment', p.id, i.kind, p.object_id, p.user_id, 'deleted', i.amount, 0, actor,
               request, p.history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('payment', p.id, p.history_entries), null, p.history_entries + 1,
                                 happened_at, 'payment', p.id, i.kind, p.object_id, p.user_id, 'deleted', i.amount, 0,
                                 actor, request)
        from payments p left join sugang.kinds k using (content_type_id)
        cross join lateral (select coalesce(k.kind, p.payment_type) as kind,
                                   case when p.status = 'paid' then -p.amount else 0 end as amount) i
        order by p.id
        returning * loop
        perform sugang.book_removal(p, h) from payments p where p.id = h.subject_id;
    end loop;
    -- The registrations may be truncated as well. Their trigger has nothing more to change here then.
    perform set_config('sugang.recount', 'on', true);
    update payments set registration_id = null where registration_id is not null;
    perform set_config('sugang.recount', '', true);
    return null;
end $$;
create or replace trigger sugang_audit_log_truncate before truncate on payments
    for each statement execute function sugang.log_truncated_payments();

-- Writes down what the history lacks of the payments as they are, and returns for how many: for an operator who has
-- written payments while the triggers were disabled.
create or replace function sugang.log_unlogged_payments() returns bigint language plpgsql as $$
declare
    happened_at timestamptz := clock_timestamp();
    known_until bigint;
    logged bigint;
begin
    lock table payments in share row exclusive mode;
    known_until := (select coalesce(max(id), 0) from sugang.audit_log);
    perform set_config('sugang.recount', 'on', true);
    with sums as (
        select subject_id as id, sum(amount) as amount, max(id) as last_id
        from sugang.audit_log where subject = 'payment' group by 1
    ), unlogged as (
        select coalesce(p.id, s.id) as id, coalesce(k.kind, p.payment_type, l.item_kind) as item_kind,
               coalesce(p.object_id, l.item_id) as item_id, coalesce(p.user_id, l.user_id) as user_id,
               coalesce(p.status, 'deleted') as status,
               case when p.status = 'paid' then p.amount else 0 end - coalesce(s.amount, 0) as amount,
               case when l.status <> 'deleted' then l.entry end as last_entry, l.hash as last_hash,
               case when p.id is not null then sugang.payment_state(p) end as state
        from payments p
        full join sums s on s.id = p.id
        left join sugang.audit_log l on l.id = s.last_id
        left join sugang.kinds k on k.content_type_id = p.content_type_id
        where case when p.id is null then (l.status, s.amount) <> ('deleted', 0)
                   else (l.entry, l.state, l.status) is distinct from (p.history_entries, sugang.payment_state(p), p.status)
                        or s.amount <> case when p.status = 'paid' then p.amount else 0 end end
    ), entries as (
        insert into sugang.audit_log
            (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
            select happened_at, 'payment', id, item_kind, item_id, user_id, status, amount, 0, i.entry, state,
                   sugang.entry_hash(case when last_entry is not null then last_hash end, state, i.entry, happened_at,
                                     'payment', id, item_kind, item_id, user_id, status, amount, 0, null, null)
            from unlogged cross join lateral (select coalesce(last_entry, 0) + 1 as entry) i
            order by id returning subject_id, entry
    ), counted as (
        update payments p set history_entries = e.entry from entries e where p.id = e.subject_id
    )
    select count(*) into logged from entries;
    perform set_config('sugang.recount', '', true);
    perform sugang.book_unbooked_payments(known_until);
    return logged;
end $$;
