-- ===== accounts

-- Accounts. The API hashes and verifies passwords; the database stores the hashes.

-- The key that all spellings of an e-mail address share: case is ignored for ASCII letters alone, whatever the
-- collation, and composed and decomposed characters are equal. The index users_email_key_unique has this expression.
create or replace function sugang.email_key(p_email text) returns text language sql immutable as $$
    select translate(normalize(p_email, nfc), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')
$$;

-- The key that all spellings of a username share. The index users_username_key_unique has this expression.
create or replace function sugang.username_key(p_username text) returns text language sql immutable as $$
    select normalize(p_username, nfkc)
$$;

create or replace function sugang.user_json(users) returns text language sql stable as $$
    select json_build_object('id', $1.id, 'email', $1.email, 'username', $1.username)::text
$$;

-- Which fields of a sign-up another user has, as a JSON array; null if none.
create or replace function sugang.taken_fields(p_email text, p_ascii_key text, p_username text) returns text
language plpgsql stable as $$
begin
    return (select json_agg(field) from (
        select 'email' as field where exists (
            select from users where sugang.email_key(email) in (sugang.email_key(p_email), p_ascii_key))
        union all
        select 'username' where exists (
            select from users where sugang.username_key(username) = sugang.username_key(p_username))) taken)::text;
end $$;

-- p_ascii_key is the key of the address with its domain in ASCII, if it has another domain: another program may have
-- stored it like that.
create or replace function sugang.signup(p_function text, p_email text, p_ascii_key text, p_username text,
                                         p_password text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    created users;
begin
    if p_function is distinct from 'signup' then perform sugang.misrouted(p_function, 'signup'); end if;
    -- Without a check first: the unique indexes decide, between concurrent requests as well. Not by `on conflict`: it
    -- does not say which of them did, and takes neither a deferrable constraint nor a table with rules.
    begin
        insert into users (email, username, password)
            select p_email, p_username, p_password
            where not exists (select from users where sugang.email_key(email) = p_ascii_key)
            returning * into created;
        if found then
            a.outcome := 'ok';
            a.body := sugang.user_json(created);
            return a;
        end if;
        a.body := sugang.taken_fields(p_email, p_ascii_key, p_username);
    exception when unique_violation then
        a.body := sugang.taken_fields(p_email, p_ascii_key, p_username);
        -- Neither, so it is the id, for which the API advances the sequence and sends the statement once more, or a
        -- constraint of another program, which the log names.
        if a.body is null then raise; end if;
    end;
    if a.body is null then
        raise serialization_failure using message = 'no user was added: the address has become free meanwhile, or a '
            'trigger of another program has kept the row from users';
    end if;
    a.outcome := 'taken';
    return a;
end $$;

-- The stored hash that a login is verified against. The keys are those of the address in its one spelling, as the
-- client sent it, and with its domain in ASCII; where another program stored several, that of the client counts. An
-- unknown and an inactive user give the same outcome, so that a client cannot tell them apart.
create or replace function sugang.credentials(p_function text, p_key text, p_typed_key text, p_ascii_key text)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'credentials' then perform sugang.misrouted(p_function, 'credentials'); end if;
    select 'ok', json_build_object('id', id, 'email', email, 'username', username, 'password', password,
                                   'epoch', coalesce(token_epoch, 0))::text
        into a.outcome, a.body from users
        where sugang.email_key(email) in (p_key, p_typed_key, p_ascii_key) and is_active
        order by sugang.email_key(email) = p_typed_key desc, sugang.email_key(email) = p_key desc
        limit 1;
    a.outcome := coalesce(a.outcome, 'unknown');
    return a;
end $$;

-- Records a login, and replaces a hash of the Django service, unless the password has changed in the meantime. Resets
-- the attempts that were counted for the account while Redis could not count. Returns the epoch of its tokens. p_epoch:
-- the one that was read together with the password; if both have changed, the password that was verified is an old one.
create or replace function sugang.logged_in(p_function text, p_user bigint, p_old_password text, p_new_password text,
                                            p_attempts text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'logged_in' then perform sugang.misrouted(p_function, 'logged_in'); end if;
    -- Reads need no more than a token. Nor does a login wait for a row that another program keeps locked.
    if sugang.is_read_only() or sugang.is_locked(p_user) then
        select 'ok', coalesce(token_epoch, 0)::text into a.outcome, a.body from users
            where id = p_user and is_active
              and (password = p_old_password or coalesce(token_epoch, 0) = p_epoch) is not false;
        a.outcome := coalesce(a.outcome, 'unknown');
        return a;
    end if;
    -- For sugang.advance_token_epoch; ends with the transaction.
    perform set_config('sugang.rehashed_user', p_user::text, true);
    update users
        set last_login = now(),
            password = case when password = p_old_password then coalesce(p_new_password, password) else password end
        where id = p_user and is_active
          and (password = p_old_password or coalesce(token_epoch, 0) = p_epoch) is not false
        returning 'ok', coalesce(token_epoch, 0)::text into a.outcome, a.body;
    a.outcome := coalesce(a.outcome, 'unknown');
    if a.outcome = 'ok' then delete from sugang.attempts where key = p_attempts; end if;
    return a;
end $$;

-- ===== alter_table

-- How the type of a column changes that a trigger of ours names, such as tests.title: PostgreSQL refuses it as long as
-- the trigger is there. A trigger that named no column would run for each registration as well.

-- Runs `alter table <p_table> <p_change>` without our triggers and makes them again, in one transaction under the lock
-- that the change needs: no write gets past them. As the role that migrates.
create or replace function sugang.alter_table(p_table regclass, p_change text) returns void language plpgsql
set search_path = public as $$
declare
    t record;
    triggers jsonb;
    unchanged text[];
begin
    -- The caller gives the statement, and has no other rights in it.
    -- @plpgsql_check_options: security_warnings = false
    execute format('lock table %s in access exclusive mode', p_table);
    triggers := (select jsonb_agg(jsonb_build_object('name', tgname, 'made_by', pg_get_triggerdef(pg_trigger.oid),
                                                     'enabled', tgenabled) order by tgname)
                 from pg_trigger join pg_proc on pg_proc.oid = tgfoid
                 where tgrelid = p_table and pronamespace = 'sugang'::regnamespace and not tgisinternal);
    unchanged := array(select name from sugang.current_definitions() join sugang.schema_definitions d
                       using (kind, relation, name, definition) where kind = 'trigger' and relation = p_table::text);
    for t in select * from jsonb_to_recordset(triggers) as (name text, made_by text, enabled text) loop
        execute format('drop trigger %I on %s', t.name, p_table);
    end loop;
    execute format('alter table %s %s', p_table, p_change);
    for t in select * from jsonb_to_recordset(triggers) as (name text, made_by text, enabled text) loop
        execute t.made_by;
        if t.enabled <> 'O' then
            execute format('alter table %s %s trigger %I', p_table, case t.enabled
                when 'A' then 'enable always' when 'R' then 'enable replica' else 'disable' end, t.name);
        end if;
    end loop;
    -- A condition compares another type now. What the audit would have named before, it still does.
    update sugang.schema_definitions d set definition = c.definition
        from sugang.current_definitions() c
        where (c.kind, c.relation, c.name) = (d.kind, d.relation, d.name)
          and d.kind = 'trigger' and d.relation = p_table::text and d.name = any (unchanged);
end $$;

-- ===== approval_keys

-- The Idempotency-Key of an approval while its answer is not known. It is kept with the outcome `send`, and with the
-- attempt in place of an answer: for another request it is taken, and the same request finds out what has become of it.

-- p_attempt: what is kept already.
create or replace function sugang.keep_approval(p_user bigint, p_order bigint, p_key text, p_fingerprint text,
                                                p_attempt text)
returns void language plpgsql as $$
declare
    kept sugang.function_row;
begin
    if p_key is null then return; end if;
    kept.outcome := 'send';
    kept.body := (sugang.current_attempt(p_order)).id::text;
    if kept.body is distinct from p_attempt then
        perform sugang.end_idempotent(p_user, p_key, p_fingerprint, kept);
    end if;
end $$;

-- The order of an approval that the gateway has declined since, while no answer told so; null for any other. A request
-- that is repeated after that begins no other attempt.
create or replace function sugang.declined_approval(p_user bigint, p_order bigint, p_attempt text) returns text
language plpgsql as $$
begin
    if p_attempt is null then return null; end if;
    perform sugang.lock_order(p_order, p_user);
    return (select object
            from sugang.payment_attempts t join sugang.orders o on o.id = t.order_id
            cross join lateral sugang.order_json(o)
            where t.id = p_attempt::bigint and t.status = 'declined' and o.status in ('held', 'expired'));
end $$;

-- ===== attempts

-- Attempts to log in and to sign up, counted while Redis cannot: the same sliding window as that of the API's script.

-- Locks the counter of a key, and returns it as of now. p_window in milliseconds.
create or replace function sugang.lock_attempts(p_key text, p_window bigint) returns sugang.attempts
language plpgsql as $$
declare
    a sugang.attempts;
    counted_for constant interval := p_window * interval '1 millisecond';
    moment timestamptz;
begin
    loop
        select * into a from sugang.attempts where key = p_key for update;
        exit when found;
        insert into sugang.attempts
            values (p_key, clock_timestamp(), 0, 0, clock_timestamp() + 2 * counted_for) on conflict do nothing;
    end loop;
    moment := clock_timestamp();
    if moment - a.began_at >= 2 * counted_for then
        a.began_at := moment;
        a.in_window := 0;
        a.in_previous := 0;
    elsif moment - a.began_at >= counted_for then
        a.began_at := a.began_at + counted_for;
        a.in_previous := a.in_window;
        a.in_window := 0;
    elsif moment < a.began_at then
        -- The clock was set back. What was counted stays counted, for one window more.
        a.began_at := moment;
    end if;
    a.expires_at := a.began_at + 2 * counted_for;
    return a;
end $$;

-- The milliseconds until a counter admits an attempt; 0 or less if it does now.
create or replace function sugang.attempts_wait(p_counter sugang.attempts, p_limit bigint, p_window bigint)
returns double precision language plpgsql as $$
declare
    passed constant double precision := extract(epoch from clock_timestamp() - p_counter.began_at) * 1000;
begin
    if p_counter.in_window >= p_limit then
        return p_window - passed + p_window * (1 - (p_limit - 1)::double precision / p_counter.in_window);
    elsif p_counter.in_previous * (1 - passed / p_window) + p_counter.in_window > p_limit - 1 then
        return p_window * (1 - (p_limit - 1 - p_counter.in_window)::double precision / p_counter.in_previous) - passed;
    end if;
    return 0;
end $$;

-- Counts one attempt for the address and the account, or for neither of them. A null key has no limit. The outcome
-- 'rate_limited' has the milliseconds until the next attempt is admitted.
create or replace function sugang.count_attempt(p_function text, p_address text, p_address_limit bigint,
                                                p_account text, p_account_limit bigint, p_window bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    wait double precision := 0;
    address sugang.attempts;
    account sugang.attempts;
begin
    if p_function is distinct from 'count_attempt' then perform sugang.misrouted(p_function, 'count_attempt'); end if;
    -- Said here, since a standby refuses an unlogged table for another reason.
    if sugang.is_read_only() then
        raise read_only_sql_transaction using message = 'attempts cannot be counted in a read-only transaction';
    end if;
    -- Always in this order: two attempts with the same keys never wait for each other.
    if p_address is not null then
        address := sugang.lock_attempts(p_address, p_window);
        wait := sugang.attempts_wait(address, p_address_limit, p_window);
    end if;
    if p_account is not null then
        account := sugang.lock_attempts(p_account, p_window);
        wait := greatest(wait, sugang.attempts_wait(account, p_account_limit, p_window));
    end if;
    if wait > 0 then
        a.outcome := 'rate_limited';
        a.body := ceil(wait)::bigint::text;
        return a;
    end if;
    update sugang.attempts t
        set began_at = c.began_at, in_window = c.in_window + 1, in_previous = c.in_previous, expires_at = c.expires_at
        from (values ((address).key, (address).began_at, (address).in_window, (address).in_previous,
                      (address).expires_at),
                     ((account).key, (account).began_at, (account).in_window, (account).in_previous,
                      (account).expires_at)) c (key, began_at, in_window, in_previous, expires_at)
        where t.key = c.key;
    -- A few that have passed, so that no scheduled job is needed.
    delete from sugang.attempts where ctid = any (array(
        select ctid from sugang.attempts
        where expires_at < (select clock_timestamp()) order by expires_at limit 10 for update skip locked));
    a.outcome := 'ok';
    return a;
end $$;

-- ===== audit_log

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

-- ===== authorization

-- Whether a user may send requests, and the epoch before which the user's tokens have ended.

-- The reason why this user may not send requests with a token of this epoch; null if there is none. A p_epoch of null
-- stands for a caller without a token, such as a tool.
create or replace function sugang.authorization_error(p_user bigint, p_epoch bigint) returns sugang.outcome
language plpgsql stable as $$
declare
    active boolean;
    ended boolean;
begin
    select is_active, p_epoch < token_epoch into active, ended from users where id = p_user;
    return case
        when not active then 'user_inactive' when active is null then 'user_not_found' when ended then 'login_ended'
    end;
end $$;

-- Refuses to go on with a change whose user was deleted or deactivated while it waited for a lock. The API sends the
-- statement once more, and finds the reason.
create or replace function sugang.check_user(p_user bigint) returns void language plpgsql as $$
begin
    if not exists (select from users where id = p_user and is_active) then
        raise serialization_failure using message = 'the user was deleted or deactivated meanwhile';
    end if;
end $$;

-- Locks the row of a user as the foreign keys of what is written do at the end of the statement, or at its commit. Done
-- before the row of an item is locked, it lets no other user wait for this one.
create or replace function sugang.lock_user(p_user bigint) returns void language plpgsql as $$
begin
    perform from users where id = p_user and is_active for key share;
    if not found then perform sugang.check_user(p_user); end if;
end $$;

-- Whether another transaction keeps the row of a user locked. If none does, this one has it locked now.
create or replace function sugang.is_locked(p_user bigint) returns boolean language plpgsql as $$
begin
    perform from users where id = p_user for no key update skip locked;
    return not found;
end $$;

-- Ends the tokens of a user whose password changes, whichever program changes it. A new epoch is the time, and later
-- than any before, even if the clock was set back. It calls no function of this schema: the role of another program may
-- have no rights on it.
create or replace function sugang.advance_token_epoch() returns trigger language plpgsql as $$
begin
    -- sugang.logged_in stores the same password under a new hash.
    if new.token_epoch is distinct from old.token_epoch
        or current_setting('sugang.rehashed_user', true) is distinct from new.id::text then
        new.token_epoch := greatest(old.token_epoch + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint);
    end if;
    return new;
end $$;
create or replace trigger sugang_token_epoch before update of password, token_epoch on users for each row
    when (old.password is distinct from new.password or old.token_epoch is distinct from new.token_epoch)
    execute function sugang.advance_token_epoch();

-- ===== cancellation

-- Cancels a payment, and with it the registration. Where a gateway holds the money, it gives it back first: see
-- functions/gateway_refunds.sql.

-- Why the payment of a user cannot be cancelled. Null if it can.
create or replace function sugang.cancellation_error(p_user bigint, p payments, p_under_way sugang.refunds)
returns sugang.outcome language sql immutable as $$
    select case
        when p.id is null then 'not_found'
        when p.user_id <> p_user then 'not_owner'
        -- An operator has decided so, and only an operator decides otherwise.
        when p.status = 'paid' and p.refund_refused then 'refund_refused'
        -- It is on its way already.
        when p_under_way.cancels_payment or p_under_way.ends_payment then 'accepted'
        when p_under_way.id is not null then 'refund_in_progress'
        when p.status <> 'paid' then 'already_cancelled'
    end
$$;

-- Begins to give back all that is left of a payment, for its user. What is completed is not cancelled: as long as the
-- refund is under way, it is not completed either.
create or replace function sugang.begin_cancellation(p payments, p_kind text, t sugang.payment_attempts,
                                                     p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    registration_status text;
begin
    if p_kind is not null then
        execute format('select sugang.%I($1, $2)', 'lock_' || p_kind || '_registration')
            into registration_status using p.user_id, p.object_id;
    end if;
    perform sugang.check_user(p.user_id);
    if registration_status = 'completed' then
        a.outcome := 'item_completed';
        a.body := json_build_object('payment_type', p_kind)::text;
        return a;
    end if;
    p_ask.payment_id := p.id;
    p_ask.amount := p.amount - p.partly_refunded;
    p_ask.cancels_payment := true;
    return sugang.begin_refund(p_ask, t, p_lease);
end $$;

-- Locks are taken in the order that functions/registrations.sql describes. p_ask: reason, account, and the request.
create or replace function sugang.do_cancel_payment(p_user bigint, p_id bigint, p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    payment payments;
    held sugang.payment_attempts;
    under_way sugang.refunds;
    owed sugang.refunds;
    kind text;
    released boolean;
    happened_at timestamptz;
begin
    select * into payment from payments where id = p_id;
    a.outcome := case
        when payment.id is null then 'not_found'
        when payment.user_id <> p_user then 'not_owner'
    end;
    if a.outcome is not null then return a; end if;
    -- The lock that a registration takes first: a cancellation and a new registration never overtake each other.
    payment := sugang.lock_payment(p_id);
    select k.kind into kind from sugang.kinds k where content_type_id = payment.content_type_id;
    held := sugang.attempt_at_gateway(p_id);
    if held.id is not null then under_way := sugang.refund_under_way(p_id); end if;
    a.outcome := sugang.cancellation_error(p_user, payment, under_way);
    -- Where a registration is cancelled, that checks the user.
    if a.outcome is not null or kind is null then perform sugang.check_user(p_user); end if;
    if a.outcome = 'accepted' then return sugang.refund_answer(under_way); end if;
    if a.outcome = 'already_cancelled' and sugang.needs_account(held) and p_ask.account is not null then
        owed := sugang.refund_waiting(p_id);
        -- The gateway has refused this account.
        if owed.account = p_ask.account then return sugang.refund_answer(owed); end if;
        return sugang.begin_owed_refund(owed, held, p_ask, p_lease);
    end if;
    if a.outcome is not null then return a; end if;
    if held.id is not null and payment.partly_refunded < payment.amount then
        return sugang.begin_cancellation(payment, kind, held, p_ask, p_lease);
    end if;
    -- A clock may have been set back.
    happened_at := greatest(clock_timestamp(), payment.paid_at);
    -- Old rows may pay for something that nothing registers for.
    if kind is not null then
        execute format('select sugang.%I($1, $2, $3)', 'cancel_' || kind || '_registration')
            into released using p_user, payment.object_id, happened_at;
    end if;
    if not released then
        a.outcome := 'item_completed';
        a.body := json_build_object('payment_type', kind)::text;
        return a;
    end if;
    update payments
        set status = 'cancelled', cancelled_at = happened_at, refund_reason = p_ask.reason,
            history_entries = history_entries + 1
        where id = p_id;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', p_id, 'cancelled_at', sugang.iso(happened_at))::text;
    return a;
end $$;

-- The outcome `send` has the refund to send to the gateway. What is still to be known is not kept under the key.
create or replace function sugang.cancel_payment(p_function text, p_user bigint, p_id bigint, p_reason text,
                                                 p_request_id text, p_key text, p_fingerprint text,
                                                 p_epoch bigint default null, p_account text default null,
                                                 p_lease_ms bigint default 30000)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_payment' then perform sugang.misrouted(p_function, 'cancel_payment'); end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is null then a := sugang.repeated_refund(p_user, p_key, p_fingerprint); end if;
    if a.outcome is not null then return a; end if;
    return sugang.end_refund(p_user, p_key, p_fingerprint, sugang.do_cancel_payment(
        p_user, p_id, sugang.asked_refund(p_user, p_reason, p_account, p_key, p_fingerprint),
        make_interval(secs => p_lease_ms / 1e3)));
end $$;

-- ===== catalogue/available_count (course)

-- One kind: the number of items that are available now, kept in sugang.available_counts.

create or replace function sugang.course_available_count(p_now timestamptz) returns bigint
language plpgsql stable as $$
declare
    known bigint;
begin
    select n into known from sugang.available_counts
        where kind = 'course' and valid_from <= p_now and p_now < valid_until
          and not exists (select from sugang.bucket_changes where kind = 'course');
    return coalesce(known, sugang.course_count_available(p_now));
end $$;

-- Counts the items that have started less those that have ended, and keeps the result until the next one starts or
-- ends. Volatile, so that each statement sees what was committed before it. On a large table the planner expects a
-- statement that reads a few rows to read many; compiling it or starting parallel workers would take longer than the
-- rows.
create or replace function sugang.course_count_available(p_now timestamptz) returns bigint
language plpgsql set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    this_hour timestamptz := date_trunc('hour', p_now, 'UTC');
    counted bigint;
    keeps boolean := false;
    is_folded boolean;
begin
    -- While this row is locked, no change is folded, so the count belongs to the buckets as they are until then. Without
    -- the lock nothing is kept: another request counts, or changes are being folded.
    if sugang.keeps_counts() then
        perform from sugang.available_counts where kind = 'course' for update skip locked;
        keeps := found;
    end if;
    if keeps then perform sugang.fold_bucket_changes('course'); end if;
    select sugang.count_before_hour('course', 'start', p_now) - sugang.count_before_hour('course', 'end', p_now)
        + (select count(*) from courses
           where not hidden and start_at >= this_hour and start_at <= p_now and start_at <= end_at)
        - (select count(*) from courses
           where not hidden and end_at >= this_hour and end_at < p_now and start_at <= end_at),
        not exists (select from sugang.bucket_changes where kind = 'course')
        into counted, is_folded;
    -- The count is kept until any item starts: looking for one that is shown might pass by many that are hidden.
    if keeps and is_folded then
        update sugang.available_counts
            set n = counted,
                valid_from = greatest('-infinity',
                                      (select max(start_at) from courses where start_at <= p_now),
                                      (select max(end_at) from courses where not hidden and end_at < p_now)
                                          + interval '1 microsecond'),
                valid_until = least((select min(start_at) from courses where start_at > p_now),
                                    sugang.readable_time((select min(end_at) from courses
                                                          where not hidden and end_at >= p_now))
                                        + interval '1 microsecond', 'infinity')
            where kind = 'course';
        -- A count that is lost in a crash is taken again.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    return counted;
end $$;

-- ===== catalogue/available_count (test)

-- One kind: the number of items that are available now, kept in sugang.available_counts.

create or replace function sugang.test_available_count(p_now timestamptz) returns bigint
language plpgsql stable as $$
declare
    known bigint;
begin
    select n into known from sugang.available_counts
        where kind = 'test' and valid_from <= p_now and p_now < valid_until
          and not exists (select from sugang.bucket_changes where kind = 'test');
    return coalesce(known, sugang.test_count_available(p_now));
end $$;

-- Counts the items that have started less those that have ended, and keeps the result until the next one starts or
-- ends. Volatile, so that each statement sees what was committed before it. On a large table the planner expects a
-- statement that reads a few rows to read many; compiling it or starting parallel workers would take longer than the
-- rows.
create or replace function sugang.test_count_available(p_now timestamptz) returns bigint
language plpgsql set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    this_hour timestamptz := date_trunc('hour', p_now, 'UTC');
    counted bigint;
    keeps boolean := false;
    is_folded boolean;
begin
    -- While this row is locked, no change is folded, so the count belongs to the buckets as they are until then. Without
    -- the lock nothing is kept: another request counts, or changes are being folded.
    if sugang.keeps_counts() then
        perform from sugang.available_counts where kind = 'test' for update skip locked;
        keeps := found;
    end if;
    if keeps then perform sugang.fold_bucket_changes('test'); end if;
    select sugang.count_before_hour('test', 'start', p_now) - sugang.count_before_hour('test', 'end', p_now)
        + (select count(*) from tests
           where not hidden and start_at >= this_hour and start_at <= p_now and start_at <= end_at)
        - (select count(*) from tests
           where not hidden and end_at >= this_hour and end_at < p_now and start_at <= end_at),
        not exists (select from sugang.bucket_changes where kind = 'test')
        into counted, is_folded;
    -- The count is kept until any item starts: looking for one that is shown might pass by many that are hidden.
    if keeps and is_folded then
        update sugang.available_counts
            set n = counted,
                valid_from = greatest('-infinity',
                                      (select max(start_at) from tests where start_at <= p_now),
                                      (select max(end_at) from tests where not hidden and end_at < p_now)
                                          + interval '1 microsecond'),
                valid_until = least((select min(start_at) from tests where start_at > p_now),
                                    sugang.readable_time((select min(end_at) from tests
                                                          where not hidden and end_at >= p_now))
                                        + interval '1 microsecond', 'infinity')
            where kind = 'test';
        -- A count that is lost in a crash is taken again.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    return counted;
end $$;

-- ===== catalogue/bucket_counts

-- Keeps and reads sugang.bucket_counts.

-- Records that items come (sign 1) or go (-1) in sugang.bucket_changes, in the transaction of the change. It locks
-- nothing that another writer needs.
create or replace function sugang.add_to_bucket_counts(p_kind text, p_sign integer[], p_created timestamptz[],
                                                       p_start timestamptz[], p_end timestamptz[])
returns void language sql as $$
    -- What comes and goes at the same time cancels out before the hours are computed, which takes longer.
    with edges as materialized (
        select edge, at, sum(sign) as n from (
            select 'created' as edge, at, sign from unnest(p_created, p_sign) s (at, sign)
            union all
            select 'start', start_at, sign from unnest(p_start, p_end, p_sign) s (start_at, end_at, sign)
                where start_at <= end_at
            union all
            select 'end', end_at, sign from unnest(p_start, p_end, p_sign) s (start_at, end_at, sign)
                where start_at <= end_at) changed
        group by 1, 2 having sum(sign) <> 0
    )
    insert into sugang.bucket_changes (kind, edge, bucket, n)
        select p_kind, edge, date_trunc('hour', sugang.readable_time(at), 'UTC'), sum(n) from edges
        group by 2, 3 having sum(n) <> 0
        union all
        -- Also for a period that moves within its hours: what is available changes. The commit follows from this row.
        select p_kind, 'any', '-infinity', 0 where exists (select from edges);
$$;

-- For triggers. The first argument is the kind; the second one, after a statement, is the sign. A statement that leaves
-- all periods as they were records nothing. A hidden item counts as one that is not there.
create or replace function sugang.bucket_counts_after_statement() returns trigger language plpgsql as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array_agg(tg_argv[1]::integer), array_agg(created_at),
                                        array_agg(start_at), array_agg(end_at))
        from changed where not hidden having count(*) > 0;
    return null;
end $$;
create or replace function sugang.bucket_counts_after_update() returns trigger language plpgsql
set work_mem = '64MB' set jit = off as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array_agg(sign), array_agg(created_at), array_agg(start_at),
                                        array_agg(end_at)) from (
        select created_at, start_at, end_at, 1 as sign from added where not hidden
        union all
        select created_at, start_at, end_at, -1 from removed where not hidden) versions
        having count(*) > 0;
    return null;
end $$;
create or replace function sugang.bucket_counts_after_row() returns trigger language plpgsql as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array[old.hidden::integer - 1, 1 - new.hidden::integer],
                                        array[old.created_at, new.created_at], array[old.start_at, new.start_at],
                                        array[old.end_at, new.end_at]);
    return null;
end $$;
-- No item can be written meanwhile, so the changes of all others are visible.
create or replace function sugang.bucket_counts_after_truncate() returns trigger language plpgsql as $$
begin
    insert into sugang.bucket_changes (kind, edge, bucket, n)
        select tg_argv[0], edge, bucket, -sum(n) from (
            select edge, bucket, n from sugang.bucket_counts where kind = tg_argv[0] and level = 'hour'
            union all
            select edge, bucket, n from sugang.bucket_changes where kind = tg_argv[0]) counted
        group by 2, 3 having sum(n) <> 0
        union all
        select tg_argv[0], 'any', '-infinity', 0;
    return null;
end $$;

-- Adds the recorded changes to their buckets, deletes buckets that are empty then, and drops the kept count of
-- available items. It never waits: while another session holds the lock, the changes stay for the next one.
--
-- It works as its owner, as triggers do (roles.sql): readers call it, and may not write counts otherwise.
create or replace function sugang.fold_bucket_changes(p_kind text) returns void language plpgsql
security definer set search_path = public, pg_temp as $$
declare
    edges text[];
    levels text[];
    buckets timestamptz[];
begin
    if not sugang.keeps_counts() or not exists (select from sugang.bucket_changes where kind = p_kind) then
        return;
    end if;
    -- The lock of everything that writes sugang.bucket_counts or sugang.available_counts.
    perform from sugang.available_counts where kind = p_kind for update skip locked;
    if not found then return; end if;
    with changed as (
        delete from sugang.bucket_changes where kind = p_kind returning edge, bucket, n
    ), hours as (
        select edge, bucket, sum(n) as n from changed group by 1, 2 having sum(n) <> 0
    ), kept as (
        insert into sugang.bucket_counts (kind, edge, level, bucket, n)
            select p_kind, edge, level, date_trunc(level, bucket, 'UTC'), sum(n)
            from hours cross join (values ('month'), ('day'), ('hour')) l (level)
            group by 1, 2, 3, 4 having sum(n) <> 0
        on conflict (kind, edge, level, bucket) do update set n = bucket_counts.n + excluded.n
        returning edge, level, bucket, n
    )
    select array_agg(edge), array_agg(level), array_agg(bucket) into edges, levels, buckets from kept where n = 0;
    -- Without this, a period that moves leaves a row in each hour.
    if edges is not null then
        delete from sugang.bucket_counts b using unnest(edges, levels, buckets) e (edge, level, bucket)
            where b.kind = p_kind and (b.edge, b.level, b.bucket) = (e.edge, e.level, e.bucket);
    end if;
    update sugang.available_counts set valid_from = 'infinity' where kind = p_kind;
end $$;

-- At the commit, so that a transaction that stays open holds no lock.
create or replace function sugang.fold_bucket_changes_at_commit() returns trigger language plpgsql as $$
begin
    perform sugang.fold_bucket_changes(new.kind);
    return null;
end $$;
-- PostgreSQL cannot replace a constraint trigger, so it is made once.
do $$
begin
    if not exists (select from pg_trigger where tgrelid = 'sugang.bucket_changes'::regclass and tgname = 'fold') then
        create constraint trigger fold after insert on sugang.bucket_changes deferrable initially deferred
            for each row when (new.edge = 'any') execute function sugang.fold_bucket_changes_at_commit();
    end if;
end $$;

-- The number of items whose edge is before the hour of p_at.
create or replace function sugang.count_before_hour(p_kind text, p_edge text, p_at timestamptz) returns bigint
language plpgsql stable as $$
declare
    this_month timestamptz := date_trunc('month', p_at, 'UTC');
    this_day   timestamptz := date_trunc('day', p_at, 'UTC');
    this_hour  timestamptz := date_trunc('hour', p_at, 'UTC');
begin
    return (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'month' and bucket < this_month)
         + (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'day' and bucket >= this_month and bucket < this_day)
         + (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'hour' and bucket >= this_day and bucket < this_hour)
         + (select coalesce(sum(n), 0) from sugang.bucket_changes
            where kind = p_kind and edge = p_edge and bucket < this_hour);
end $$;

-- The number of all items.
create or replace function sugang.total_count(p_kind text) returns bigint language plpgsql stable as $$
declare
    counted bigint;
    changed bigint;
    changes bigint;
begin
    select coalesce(sum(n), 0), count(*) into changed, changes from sugang.bucket_changes
        where kind = p_kind and edge = 'created';
    counted := (select coalesce(sum(n), 0) from sugang.bucket_counts
                where kind = p_kind and edge = 'created' and level = 'month');
    -- They are many after a large change whose commit has met another one.
    if changes > 100 then perform sugang.fold_bucket_changes(p_kind); end if;
    return counted + changed;
end $$;

-- Finds the item at p_offset in newest-first order: it was created no later than created_until, after `skip` other
-- items of that hour. Nulls when there are fewer items.
create or replace function sugang.seek_newest(p_kind text, p_offset bigint, out created_until timestamptz,
                                              out skip bigint)
language plpgsql stable as $$
declare
    finer text;
    begins timestamptz := '-infinity'::timestamptz;
    created_before timestamptz := 'infinity'::timestamptz;
begin
    skip := p_offset;
    foreach finer in array array['month', 'day', 'hour'] loop
        select t.bucket, skip - (t.upto - t.n) into begins, skip from (
            select bucket, sum(n) as n, sum(sum(n)) over (order by bucket desc) as upto from (
                select bucket, n from sugang.bucket_counts
                where kind = p_kind and edge = 'created' and level = finer
                  and bucket >= begins and bucket < created_before
                union all
                select date_trunc(finer, bucket, 'UTC'), n from sugang.bucket_changes
                where kind = p_kind and edge = 'created' and bucket >= begins and bucket < created_before) b
            group by bucket) t
        where t.upto > skip order by t.bucket desc limit 1;
        created_before := (begins at time zone 'UTC' + ('1 ' || finer)::interval) at time zone 'UTC';
    end loop;
    created_until := created_before - interval '1 microsecond';
    -- The last hour has all later times as well.
    if created_until >= sugang.readable_time('infinity') then created_until := 'infinity'; end if;
end $$;

-- ===== catalogue/bucket_counts_of_items (course)

-- One kind: the triggers that keep sugang.bucket_counts.
create or replace trigger sugang_bucket_counts_insert after insert on courses referencing new table as changed
    for each statement execute function sugang.bucket_counts_after_statement('course', '1');
create or replace trigger sugang_bucket_counts_delete after delete on courses referencing old table as changed
    for each statement execute function sugang.bucket_counts_after_statement('course', '-1');
-- Once for a statement, except within a trigger: there, nearly all are those of registrations that change
-- registration_count, and the condition of a row costs them nothing.
create or replace trigger sugang_bucket_counts_update after update on courses
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.bucket_counts_after_update('course');
create or replace trigger sugang_bucket_counts_nested_update
    after update of created_at, start_at, end_at, hidden on courses for each row
    when (pg_trigger_depth() > 0
          and (old.created_at, old.start_at, old.end_at, old.hidden)
              is distinct from (new.created_at, new.start_at, new.end_at, new.hidden))
    execute function sugang.bucket_counts_after_row('course');
create or replace trigger sugang_bucket_counts_truncate after truncate on courses
    for each statement execute function sugang.bucket_counts_after_truncate('course');

-- ===== catalogue/bucket_counts_of_items (test)

-- One kind: the triggers that keep sugang.bucket_counts.
create or replace trigger sugang_bucket_counts_insert after insert on tests referencing new table as changed
    for each statement execute function sugang.bucket_counts_after_statement('test', '1');
create or replace trigger sugang_bucket_counts_delete after delete on tests referencing old table as changed
    for each statement execute function sugang.bucket_counts_after_statement('test', '-1');
-- Once for a statement, except within a trigger: there, nearly all are those of registrations that change
-- registration_count, and the condition of a row costs them nothing.
create or replace trigger sugang_bucket_counts_update after update on tests
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.bucket_counts_after_update('test');
create or replace trigger sugang_bucket_counts_nested_update
    after update of created_at, start_at, end_at, hidden on tests for each row
    when (pg_trigger_depth() > 0
          and (old.created_at, old.start_at, old.end_at, old.hidden)
              is distinct from (new.created_at, new.start_at, new.end_at, new.hidden))
    execute function sugang.bucket_counts_after_row('test');
create or replace trigger sugang_bucket_counts_truncate after truncate on tests
    for each statement execute function sugang.bucket_counts_after_truncate('test');

-- ===== catalogue/hidden_page (course)

-- One kind: a page of its hidden items, for operators, as sugang.course_page has those of the others. A search finds
-- titles by a part of them: sugang.course_search has only what users find.
create or replace function sugang.course_hidden_page(p_page bigint, p_available boolean, p_search text,
                                                     p_popular boolean)
returns sugang.function_row language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    part text := sugang.search_fold(btrim(p_search));
    asked_at timestamptz := now();
    hidden_n bigint;
begin
    select count(*) into hidden_n from courses
        where hidden and (not p_available or (start_at <= asked_at and end_at >= asked_at))
          and (part is null or strpos(sugang.search_fold(title), part) > 0);
    a := sugang.paginate(hidden_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := array(select id from courses
        where hidden and (not p_available or (start_at <= asked_at and end_at >= asked_at))
          and (part is null or strpos(sugang.search_fold(title), part) > 0)
        order by case when p_popular then registration_count end desc, created_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size())::text;
    return a;
end $$;

-- ===== catalogue/hidden_page (test)

-- One kind: a page of its hidden items, for operators, as sugang.test_page has those of the others. A search finds
-- titles by a part of them: sugang.test_search has only what users find.
create or replace function sugang.test_hidden_page(p_page bigint, p_available boolean, p_search text,
                                                     p_popular boolean)
returns sugang.function_row language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    part text := sugang.search_fold(btrim(p_search));
    asked_at timestamptz := now();
    hidden_n bigint;
begin
    select count(*) into hidden_n from tests
        where hidden and (not p_available or (start_at <= asked_at and end_at >= asked_at))
          and (part is null or strpos(sugang.search_fold(title), part) > 0);
    a := sugang.paginate(hidden_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := array(select id from tests
        where hidden and (not p_available or (start_at <= asked_at and end_at >= asked_at))
          and (part is null or strpos(sugang.search_fold(title), part) > 0)
        order by case when p_popular then registration_count end desc, created_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size())::text;
    return a;
end $$;

-- ===== catalogue/items (course)

-- One kind: the list of its items, and a single item.

-- The JSON objects of the API in the order of the ids, separated by commas. Hidden items have none.
create or replace function sugang.course_json(p_user bigint, p_ids bigint[]) returns text
language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
        select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join courses i on i.id = wanted.id and not i.hidden
        cross join lateral (select
            i.id, i.title, i.description, i.price::text as price,
            sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
            sugang.iso(i.created_at) as created_at,
            exists (select from course_registrations r
                    where r.user_id = p_user and r.course_id = i.id and r.status <> 'cancelled') as is_registered,
            i.registration_count, i.capacity,
            sugang.seats_left(i.capacity, i.registration_count, i.held_count) as remaining) o)
        page (o_ordinality, o));
end $$;

-- One page of a list: the counts, and the ids in their order as the body.
create or replace function sugang.course_page(p_page bigint, p_available boolean, p_search text, p_popular boolean)
returns sugang.function_row language plpgsql stable as $$
declare
    a sugang.function_row;
    ids bigint[];
    query tsquery;
    from_row bigint;
    asked_at timestamptz := now();
begin
    if btrim(p_search) <> '' then
        query := sugang.search_query(p_search);
        a := sugang.paginate(sugang.course_search_count(p_available, query, asked_at), p_page);
    elsif p_available then
        a := sugang.paginate(sugang.course_available_count(asked_at), p_page);
    else
        a := sugang.paginate(sugang.total_count('course'), p_page);
    end if;
    if a.outcome is not null then return a; end if;
    from_row := (a.page - 1) * sugang.page_size();
    -- The way that reads fewer rows: all matches, available or not, or the order of the list until the page is full.
    if a.count = 0 then
        ids := '{}';
    elsif query is not null and a.count::float8 * a.count
            <= (from_row + sugang.page_size())::float8
               * (case when p_available then sugang.course_available_count(asked_at)
                       else sugang.total_count('course') end) then
        ids := sugang.course_matching_page(p_available, query, p_popular, from_row, asked_at);
    elsif p_popular then
        ids := sugang.course_popular_page(p_available, query, from_row, a.count, asked_at);
    else
        ids := sugang.course_newest_page(p_available, query, from_row, a.count, asked_at);
    end if;
    a.outcome := 'ok';
    a.body := ids::text;
    return a;
end $$;

-- A search without a letter or a digit raises a notice that no caller reads and that some drivers mishandle; hence
-- client_min_messages.
create or replace function sugang.list_course(p_function text, p_user bigint, p_page bigint, p_available boolean,
                                              p_search text, p_popular boolean, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'list_course' then perform sugang.misrouted(p_function, 'list_course'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a := sugang.course_page(p_page, p_available, p_search, p_popular);
    if a.outcome = 'ok' then
        a.body := '[' || coalesce(sugang.course_json(p_user, a.body::bigint[]), '') || ']';
    end if;
    return a;
end $$;

create or replace function sugang.get_course(p_function text, p_user bigint, p_id bigint,
                                             p_epoch bigint default null)
returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_course' then perform sugang.misrouted(p_function, 'get_course'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.body := sugang.course_json(p_user, array[p_id]);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- ===== catalogue/items (test)

-- One kind: the list of its items, and a single item.

-- The JSON objects of the API in the order of the ids, separated by commas. Hidden items have none.
create or replace function sugang.test_json(p_user bigint, p_ids bigint[]) returns text
language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
        select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join tests i on i.id = wanted.id and not i.hidden
        cross join lateral (select
            i.id, i.title, i.description, i.price::text as price,
            sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
            sugang.iso(i.created_at) as created_at,
            exists (select from test_registrations r
                    where r.user_id = p_user and r.test_id = i.id and r.status <> 'cancelled') as is_registered,
            i.registration_count, i.capacity,
            sugang.seats_left(i.capacity, i.registration_count, i.held_count) as remaining) o)
        page (o_ordinality, o));
end $$;

-- One page of a list: the counts, and the ids in their order as the body.
create or replace function sugang.test_page(p_page bigint, p_available boolean, p_search text, p_popular boolean)
returns sugang.function_row language plpgsql stable as $$
declare
    a sugang.function_row;
    ids bigint[];
    query tsquery;
    from_row bigint;
    asked_at timestamptz := now();
begin
    if btrim(p_search) <> '' then
        query := sugang.search_query(p_search);
        a := sugang.paginate(sugang.test_search_count(p_available, query, asked_at), p_page);
    elsif p_available then
        a := sugang.paginate(sugang.test_available_count(asked_at), p_page);
    else
        a := sugang.paginate(sugang.total_count('test'), p_page);
    end if;
    if a.outcome is not null then return a; end if;
    from_row := (a.page - 1) * sugang.page_size();
    -- The way that reads fewer rows: all matches, available or not, or the order of the list until the page is full.
    if a.count = 0 then
        ids := '{}';
    elsif query is not null and a.count::float8 * a.count
            <= (from_row + sugang.page_size())::float8
               * (case when p_available then sugang.test_available_count(asked_at)
                       else sugang.total_count('test') end) then
        ids := sugang.test_matching_page(p_available, query, p_popular, from_row, asked_at);
    elsif p_popular then
        ids := sugang.test_popular_page(p_available, query, from_row, a.count, asked_at);
    else
        ids := sugang.test_newest_page(p_available, query, from_row, a.count, asked_at);
    end if;
    a.outcome := 'ok';
    a.body := ids::text;
    return a;
end $$;

-- A search without a letter or a digit raises a notice that no caller reads and that some drivers mishandle; hence
-- client_min_messages.
create or replace function sugang.list_test(p_function text, p_user bigint, p_page bigint, p_available boolean,
                                              p_search text, p_popular boolean, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'list_test' then perform sugang.misrouted(p_function, 'list_test'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a := sugang.test_page(p_page, p_available, p_search, p_popular);
    if a.outcome = 'ok' then
        a.body := '[' || coalesce(sugang.test_json(p_user, a.body::bigint[]), '') || ']';
    end if;
    return a;
end $$;

create or replace function sugang.get_test(p_function text, p_user bigint, p_id bigint,
                                             p_epoch bigint default null)
returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_test' then perform sugang.misrouted(p_function, 'get_test'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.body := sugang.test_json(p_user, array[p_id]);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- ===== catalogue/pages (course)

-- One kind: the ids of one page of its items. p_query null means no search.
--
-- A search looks up the period of an item in the index courses_newest, by both of its columns: rows that match lie in
-- nearly the same order there, so this reads neither the table nor much of the index.

-- Newest first. Without a search p_count is exact, and a page in the second half is reached from the other end.
create or replace function sugang.course_newest_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                     p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    created_until timestamptz := 'infinity'::timestamptz;
begin
    if p_query is not null then
        -- Along the order until the page is full: bitmap scans are off because the planner cannot know that the
        -- word is frequent.
        return array(select item_id from sugang.course_search s
            where search_vector @@ p_query
              and (not p_available or (select start_at <= p_now and end_at >= p_now from courses i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden))
            order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
    end if;
    if p_available and p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at from courses
            where not hidden and start_at <= p_now and end_at >= p_now
            order by created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by created_at desc, id desc);
    end if;
    if not p_available and p_offset > 0 then
        select * into created_until, p_offset from sugang.seek_newest('course', p_offset);
    end if;
    return array(select id from courses
        where not hidden and created_at <= created_until
          and (not p_available or (start_at <= p_now and end_at >= p_now))
        order by created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- Most registrations first.
create or replace function sugang.course_popular_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                      p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    if p_query is not null then
        -- Along the order until the page is full. Not a join, which the planner would begin at the other table.
        return array(select id from courses i
            where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
              and (select search_vector from sugang.course_search where item_id = i.id) @@ p_query
            order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
    end if;
    if p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at, registration_count from courses
            where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
            order by registration_count, created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by registration_count desc, created_at desc, id desc);
    end if;
    return array(select id from courses
        where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
        order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- For a search with few matches: sorts all of them.
create or replace function sugang.course_matching_page(p_available boolean, p_query tsquery, p_popular boolean,
                                                       p_offset bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
begin
    -- Materialized, since the planner would hope that a walk along the order soon fills the page.
    if p_popular then
        return array(
            with found as materialized (
                select item_id from sugang.course_search s
                where search_vector @@ p_query
                  and (not p_available or (select start_at <= p_now and end_at >= p_now from courses i
                                           where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
            select i.id from found join courses i on i.id = item_id
            order by i.registration_count desc, i.created_at desc, i.id desc
            offset p_offset limit sugang.page_size());
    end if;
    return array(
        with found as materialized (
            select item_id, created_at from sugang.course_search s
            where search_vector @@ p_query
              and (not p_available or (select start_at <= p_now and end_at >= p_now from courses i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
        select item_id from found order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
end $$;

-- ===== catalogue/pages (test)

-- One kind: the ids of one page of its items. p_query null means no search.
--
-- A search looks up the period of an item in the index tests_newest, by both of its columns: rows that match lie in
-- nearly the same order there, so this reads neither the table nor much of the index.

-- Newest first. Without a search p_count is exact, and a page in the second half is reached from the other end.
create or replace function sugang.test_newest_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                     p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    created_until timestamptz := 'infinity'::timestamptz;
begin
    if p_query is not null then
        -- Along the order until the page is full: bitmap scans are off because the planner cannot know that the
        -- word is frequent.
        return array(select item_id from sugang.test_search s
            where search_vector @@ p_query
              and (not p_available or (select start_at <= p_now and end_at >= p_now from tests i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden))
            order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
    end if;
    if p_available and p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at from tests
            where not hidden and start_at <= p_now and end_at >= p_now
            order by created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by created_at desc, id desc);
    end if;
    if not p_available and p_offset > 0 then
        select * into created_until, p_offset from sugang.seek_newest('test', p_offset);
    end if;
    return array(select id from tests
        where not hidden and created_at <= created_until
          and (not p_available or (start_at <= p_now and end_at >= p_now))
        order by created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- Most registrations first.
create or replace function sugang.test_popular_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                      p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    if p_query is not null then
        -- Along the order until the page is full. Not a join, which the planner would begin at the other table.
        return array(select id from tests i
            where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
              and (select search_vector from sugang.test_search where item_id = i.id) @@ p_query
            order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
    end if;
    if p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at, registration_count from tests
            where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
            order by registration_count, created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by registration_count desc, created_at desc, id desc);
    end if;
    return array(select id from tests
        where not hidden and (not p_available or (start_at <= p_now and end_at >= p_now))
        order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- For a search with few matches: sorts all of them.
create or replace function sugang.test_matching_page(p_available boolean, p_query tsquery, p_popular boolean,
                                                       p_offset bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
begin
    -- Materialized, since the planner would hope that a walk along the order soon fills the page.
    if p_popular then
        return array(
            with found as materialized (
                select item_id from sugang.test_search s
                where search_vector @@ p_query
                  and (not p_available or (select start_at <= p_now and end_at >= p_now from tests i
                                           where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
            select i.id from found join tests i on i.id = item_id
            order by i.registration_count desc, i.created_at desc, i.id desc
            offset p_offset limit sugang.page_size());
    end if;
    return array(
        with found as materialized (
            select item_id, created_at from sugang.test_search s
            where search_vector @@ p_query
              and (not p_available or (select start_at <= p_now and end_at >= p_now from tests i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
        select item_id from found order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
end $$;

-- ===== catalogue/search_bitmaps

-- Frequent words as bitmaps of the items that have them, which the sweep makes and keeps: sugang.search_bitmap_sets.

-- A word has a bitmap if at least as many items match; at most as many words of a kind do.
create or replace function sugang.search_ahead_from() returns bigint language sql immutable as $$
    select 200000::bigint
$$;
create or replace function sugang.search_ahead_limit() returns bigint language sql immutable as $$
    select 200::bigint
$$;

-- How many items show which words are frequent.
create or replace function sugang.search_ahead_sample() returns bigint language sql immutable as $$
    select 2000::bigint
$$;

-- One sweep works at them for about this long, in pieces of this number of items.
create or replace function sugang.search_ahead_patience() returns interval language sql immutable as $$
    select interval '1 second'
$$;
create or replace function sugang.search_ahead_piece() returns bigint language sql immutable as $$
    select 10000::bigint
$$;

-- Bitmaps of this age are brought up to date, so that a user's search has little left to do, and no change is forgotten
-- before; for this number of items that have begun or ended at a time.
create or replace function sugang.search_ahead_age() returns interval language sql immutable as $$
    select interval '1 minute'
$$;
create or replace function sugang.search_ahead_edges() returns bigint language sql immutable as $$
    select 100000::bigint
$$;

-- Making them begins again no sooner, so that many large changes do not keep the sweep at it; and the words are chosen
-- again after a day.
create or replace function sugang.search_ahead_pause() returns interval language sql immutable as $$
    select interval '10 minutes'
$$;

-- Only where a block has this number of items on average: elsewhere bitmaps would take more room than the items.
create or replace function sugang.search_bitmap_density() returns bigint language sql immutable as $$
    select 1024::bigint
$$;

-- The bitmap without any item, the number of an item's bitmap, and the bitmap in which this item alone is.
create or replace function sugang.no_bits() returns bit varying language sql immutable parallel safe as $$
    select repeat('0', 8192)::bit varying
$$;
create or replace function sugang.block_of(p_item bigint) returns bigint language sql immutable parallel safe as $$
    select p_item >> 13
$$;
create or replace function sugang.bit_of(p_item bigint) returns bit varying language sql immutable parallel safe as $$
    select set_bit(sugang.no_bits()::bit(8192), (p_item & 8191)::integer, 1)
$$;

-- What users may type to find a text: each of its words without punctuation, each run of letters, digits or syllables,
-- and the beginnings and ends of a run of syllables, from two syllables on, with the run that they are part of.
create or replace function sugang.search_words(p_text text) returns table (word text, part_of text)
language plpgsql immutable parallel safe as $$
declare
    separators text := sugang.search_separators();
    syllables text := sugang.search_syllables();
begin
    return query
        with typed as (
            select regexp_replace(t, '^[' || separators || ']+|[' || separators || ']+$', '', 'g') as whole
            from regexp_split_to_table(left(sugang.search_fold(p_text), 16000), E'\\s+') t
        ), runs as (
            select m[1] as run, m[1] ~ ('^[' || syllables || ']') as is_of_syllables
            from typed, regexp_matches(whole, '[' || syllables || ']+|[0-9]+|[^0-9' || syllables || separators || ']+',
                                       'g') m
        )
        select whole, null from typed where length(whole) between 1 and 64
        union
        select run, null from runs where length(run) between 1 and 64
        union
        select part, run from runs cross join generate_series(2, least(length(run), 20) - 1) n
            cross join lateral (values (left(run, n)), (right(run, n))) parts (part)
            where is_of_syllables;
end $$;

-- A query as an SQL expression of the bitmaps b1, b2, ... of the given words; null when it has another word. The order
-- of words counts in a phrase, so a phrase is a word here.
create or replace function sugang.bitmap_expression(p_query text, p_words text[]) returns text
language plpgsql immutable strict parallel safe as $$
declare
    place integer := array_position(p_words, p_query);
    parts text[];
    terms text[];
    first integer := 1;
    last integer;
    term text;
    part text;
begin
    if place is not null then return 'b' || place; end if;
    foreach term in array array['|', '&'] loop
        parts := sugang.query_parts(p_query, term);
        exit when cardinality(parts) > 1;
    end loop;
    if cardinality(parts) > 1 then
        while first <= cardinality(parts) loop
            -- A word may consist of some of the parts.
            last := least(first + 3, cardinality(parts));
            while last > first and array_to_string(parts[first:last], ' ' || term || ' ') <> all (p_words) loop
                last := last - 1;
            end loop;
            part := sugang.bitmap_expression(array_to_string(parts[first:last], ' ' || term || ' '), p_words);
            if part is null then return null; end if;
            terms := terms || part;
            first := last + 1;
        end loop;
        return '(' || array_to_string(terms, ' ' || term || ' ') || ')';
    elsif p_query like '!%' then
        return '(~' || sugang.bitmap_expression(substr(p_query, 2), p_words) || ')';
    elsif p_query like '( % )' and cardinality(sugang.query_parts(p_query, '<->')) = 1 then
        return sugang.bitmap_expression(substr(p_query, 3, length(p_query) - 4), p_words);
    end if;
    return null;
end $$;

-- The set that searches use; nulls when there is none. A set from the future is not used: the clock was set back.
create or replace function sugang.search_bitmaps_in_use(p_kind text) returns sugang.search_bitmap_sets
language plpgsql as $$
declare
    in_use sugang.search_bitmap_sets;
begin
    -- A standby has no contents of an unlogged table, and refuses to read it.
    if pg_is_in_recovery() then return null; end if;
    select * into in_use from sugang.search_bitmap_sets
        where kind = p_kind and next_item_id is null and words <> '{}'
          and table_oid = 'sugang.search_bitmaps'::regclass and as_of <= clock_timestamp()
        order by begun_at desc limit 1;
    return in_use;
end $$;

-- Gives a set up, and remembers when it was begun.
create or replace function sugang.give_bitmaps_up(p_kind text, p_number integer) returns void language sql as $$
    delete from sugang.search_bitmaps where kind = p_kind and number = p_number;
    update sugang.search_bitmap_sets set words = '{}', next_item_id = null where kind = p_kind and number = p_number;
$$;

-- ===== catalogue/search_bitmaps_of_items (course)

-- One kind: makes and keeps the bitmaps of frequent words, and counts by them.

-- The searches that have bitmaps: words that are frequent in a sample of the items, then what users have searched for.
create or replace function sugang.course_frequent_searches() returns tsquery[]
language plpgsql stable set jit = off set enable_mergejoin = off as $$
declare
    total bigint := sugang.total_count('course');
begin
    if total < sugang.search_ahead_from() then return array[]::tsquery[]; end if;
    return array(
        with sampled as materialized (
            select id, concat_ws(' ', title, description) as words from courses
            tablesample system (least(100, 100.0 * sugang.search_ahead_sample() / total)) where not hidden
        ), frequent as materialized (
            -- A longer part is a word of its own if several words have it, as 프로그래밍 in 파이썬프로그래밍.
            select word, count(distinct id) * total::float8 / (select count(*) from sampled) as n
            from sampled cross join lateral sugang.search_words(words)
            group by word
            having bool_or(part_of is null) or length(word) = 2 or count(distinct part_of) > 1
        ), searches as (
            select sugang.search_query(word) as words, n, false as is_users from frequent
            where n >= sugang.search_ahead_from()
            union all
            select words, n, true from sugang.search_counts
            where kind = 'course' and not available and table_oid = tableoid and next_item_id is null
              and searched_at > clock_timestamp() - sugang.search_count_lifetime()
              and n >= sugang.search_ahead_from() and querytree(words) <> 'T'
        )
        select words from searches where numnode(words) > 0 group by words
        order by bool_and(is_users), max(n) desc limit sugang.search_ahead_limit());
end $$;

-- Whether the ids of the items are so close to each other that bitmaps are short. The blocks are looked up one after
-- the other, until they are too many.
create or replace function sugang.course_ids_are_dense() returns boolean
language sql stable set enable_seqscan = off set enable_sort = off as $$
    with recursive blocks (block) as (
        select sugang.block_of(min(item_id)) from sugang.course_search
        union all
        select sugang.block_of((select item_id from sugang.course_search where item_id >= block + 1 << 13
                                order by item_id limit 1))
        from blocks where block is not null
    ), bound as (
        select sugang.total_count('course') / sugang.search_bitmap_density() + 2 as n
    )
    select count(*) < (select n from bound) from (select from blocks limit (select n from bound)) b
$$;

-- Begins a set in the place of one that is not in use, with the searches that are frequent now. Returns whether there
-- are any.
create or replace function sugang.course_begin_bitmaps() returns boolean language plpgsql as $$
declare
    number_in_use integer := (sugang.search_bitmaps_in_use('course')).number;
    searches tsquery[] := array[]::tsquery[];
begin
    if sugang.course_ids_are_dense() then searches := sugang.course_frequent_searches(); end if;
    delete from sugang.search_bitmaps where kind = 'course' and number is distinct from number_in_use;
    delete from sugang.search_bitmap_sets where kind = 'course' and number is distinct from number_in_use;
    insert into sugang.search_bitmap_sets (kind, number, begun_at, words, snapshot, as_of, next_item_id, table_oid)
        values ('course', 1 - coalesce(number_in_use, 0), clock_timestamp(), searches, pg_current_snapshot(), now(),
                case when searches <> '{}' then -9223372036854775808 end, 'sugang.search_bitmaps'::regclass);
    return searches <> '{}';
end $$;

-- Adds the next piece to a set that is being made, and brings what it includes up to date: one statement, so all of it
-- belongs to one snapshot. Of the items that have changed, it looks at what they are now. Returns the set as it is
-- then; nulls when not all changes are known.
create or replace function sugang.course_renew_bitmaps(p_set sugang.search_bitmap_sets)
returns sugang.search_bitmap_sets
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off
set work_mem = '32MB' set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    is_whole boolean := p_set.next_item_id is null;
    end_item_id bigint := (select item_id from sugang.course_search where item_id >= p_set.next_item_id
                           order by item_id offset sugang.search_ahead_piece() limit 1);
    -- Not all at once where many begin or end.
    latest timestamptz := greatest(now(), p_set.as_of);
    until timestamptz := least(
        latest,
        (select start_at from courses where not hidden and start_at > p_set.as_of and start_at <= latest
         order by start_at offset sugang.search_ahead_edges() limit 1),
        (select end_at from courses where not hidden and end_at > p_set.as_of and end_at <= latest
         order by end_at offset sugang.search_ahead_edges() limit 1));
    renewed sugang.search_bitmap_sets;
begin
    with changes as materialized (
        select c.item_id, c.sign from sugang.search_changes c
        where c.kind = 'course' and c.xid >= pg_snapshot_xmin(p_set.snapshot)
          and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, p_set.snapshot))
    ), known as materialized (
        select coalesce(bool_and(sign <> 0), true) and count(*) = count(sign) as are_all from changes
    ), looked_at as materialized (
        select ids.id, sugang.block_of(ids.id) as block, sugang.bit_of(ids.id) as mask,
               (select s.search_vector from sugang.course_search s where s.item_id = ids.id) as search_vector,
               coalesce((select i.start_at <= until and i.end_at >= until from courses i
                         where i.id = ids.id and not i.hidden), false) as is_available
        from (select item_id as id from changes where is_whole or item_id < p_set.next_item_id
              union
              select item_id from sugang.course_search
              where item_id >= p_set.next_item_id and (end_item_id is null or item_id < end_item_id)) ids
    ), timed as (
        select block, mask, is_available from looked_at
        union all
        select sugang.block_of(edges.id), sugang.bit_of(edges.id), edges.is_available
        from (select i.id, i.end_at >= until as is_available from courses i
              where not i.hidden and i.start_at > p_set.as_of and i.start_at <= until and i.start_at <= i.end_at
              union all
              select i.id, false from courses i
              where not i.hidden and i.end_at >= p_set.as_of and i.end_at < until and i.start_at <= i.end_at) edges
        where is_whole or edges.id < p_set.next_item_id
    ), renewed_bits as (
        -- Of the items that were looked at, those that have the word.
        select place, block, bit_or(mask) as mask, coalesce(bit_or(members), sugang.no_bits()) as members from (
            select place, block, mask, null::bit varying as members
            from (select block, bit_or(mask) as mask from looked_at group by block) masks
            cross join generate_series(0, cardinality(p_set.words)) place
            union all
            select w.place, l.block, null, bit_or(l.mask) from looked_at l
            join unnest(p_set.words) with ordinality w (words, place) on l.search_vector @@ w.words
            group by w.place, l.block
            union all
            select 0, block, null, bit_or(mask) from looked_at where search_vector is not null group by block
            union all
            select -1, block, bit_or(mask), bit_or(mask) filter (where is_available) from timed group by block) bits
        group by place, block
    ), written as (
        insert into sugang.search_bitmaps (kind, number, place, block, bits)
            select 'course', p_set.number, place, block, (before & (~mask)) | members
            from (select r.*, coalesce((select b.bits from sugang.search_bitmaps b
                                        where (b.kind, b.number, b.place, b.block)
                                            = ('course', p_set.number, r.place, r.block)),
                                       sugang.no_bits()) as before from renewed_bits r) r
            where (select are_all from known) and before & mask <> members
        on conflict (kind, number, place, block) do update set bits = excluded.bits
    )
    update sugang.search_bitmap_sets set snapshot = pg_current_snapshot(), as_of = until, next_item_id = end_item_id
        where kind = 'course' and number = p_set.number and (select are_all from known)
        returning * into renewed;
    return renewed;
end $$;

-- What a search for frequent words matches, at the time and with the snapshot of the bitmaps; nulls when they do not
-- tell.
create or replace function sugang.course_count_in_bitmaps(p_available boolean, p_query tsquery)
returns sugang.search_counts
language plpgsql set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    -- The expression has names of bitmaps and operators, and nothing that a user typed.
    -- @plpgsql_check_options: security_warnings = false
    in_use sugang.search_bitmap_sets := sugang.search_bitmaps_in_use('course');
    expression text := sugang.bitmap_expression(p_query::text, in_use.words::text[]);
    joins text;
    counted sugang.search_counts;
begin
    if expression is null then return null; end if;
    select string_agg(distinct format(
        ' left join sugang.search_bitmaps %1$s on (%1$s.kind, %1$s.number, %1$s.place, %1$s.block)'
        ' = (shown.kind, shown.number, %2$s, shown.block)', name[1], substr(name[1], 2)), '')
        into joins from regexp_matches(expression, E'b\\d+', 'g') name;
    -- The set in the same statement: it may have been renewed since.
    execute 'select sets.as_of, sets.snapshot,
                 coalesce((select sum(bit_count(shown.bits & '
        || regexp_replace(expression, E'b\\d+', E'coalesce(\\&.bits, $1)', 'g') || '))
                  from sugang.search_bitmaps shown' || joins || '
                  where (shown.kind, shown.number, shown.place) = (sets.kind, sets.number, $2)), 0)
             from sugang.search_bitmap_sets sets
             where (sets.kind, sets.number, sets.begun_at) = ($3, $4, $5) and sets.words <> ''{}'''
        into counted.as_of, counted.snapshot, counted.n
        using sugang.no_bits(), case when p_available then -1 else 0 end, 'course', in_use.number, in_use.begun_at;
    counted.available := p_available;
    counted.words := p_query;
    counted.counted_at := '-infinity';
    return counted;
end $$;

-- A sweep's part of the work. The body tells whether there is more to do at once. Of sweeps at the same time, one does
-- it.
create or replace function sugang.count_course_ahead(p_function text) returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    until timestamptz := clock_timestamp() + sugang.search_ahead_patience();
    in_use sugang.search_bitmap_sets;
    made sugang.search_bitmap_sets;
    renewed sugang.search_bitmap_sets;
    goes_on boolean := false;
begin
    if p_function is distinct from 'count_course_ahead' then
        perform sugang.misrouted(p_function, 'count_course_ahead');
    end if;
    if sugang.keeps_counts() and sugang.total_count('course') >= sugang.search_ahead_from()
            and pg_try_advisory_xact_lock(hashtextextended('count_ahead course', 0)) then
        in_use := sugang.search_bitmaps_in_use('course');
        if in_use.as_of < clock_timestamp() - sugang.search_ahead_age() then
            renewed := sugang.course_renew_bitmaps(in_use);
            if renewed.kind is null then perform sugang.give_bitmaps_up('course', in_use.number); end if;
            in_use := renewed;
            goes_on := coalesce(in_use.as_of < now(), false);
        end if;
        select * into made from sugang.search_bitmap_sets
            where kind = 'course' and next_item_id is not null and table_oid = 'sugang.search_bitmaps'::regclass
              and as_of <= clock_timestamp();
        if made.kind is not null then
            loop
                renewed := sugang.course_renew_bitmaps(made);
                if renewed.kind is null then
                    perform sugang.give_bitmaps_up('course', made.number);
                elsif renewed.next_item_id is null then
                    perform sugang.give_bitmaps_up('course', in_use.number);
                elsif clock_timestamp() < until then
                    made := renewed;
                    continue;
                else
                    goes_on := true;
                end if;
                exit;
            end loop;
        elsif not exists (select from sugang.search_bitmap_sets
                          where kind = 'course'
                            and begun_at between clock_timestamp() - case when in_use.kind is not null then interval '1 day'
                                                                          else sugang.search_ahead_pause() end
                                             and clock_timestamp()) then
            -- That takes about as long as a piece.
            goes_on := sugang.course_begin_bitmaps() or goes_on;
        end if;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('goes_on', goes_on)::text;
    return a;
end $$;

-- ===== catalogue/search_bitmaps_of_items (test)

-- One kind: makes and keeps the bitmaps of frequent words, and counts by them.

-- The searches that have bitmaps: words that are frequent in a sample of the items, then what users have searched for.
create or replace function sugang.test_frequent_searches() returns tsquery[]
language plpgsql stable set jit = off set enable_mergejoin = off as $$
declare
    total bigint := sugang.total_count('test');
begin
    if total < sugang.search_ahead_from() then return array[]::tsquery[]; end if;
    return array(
        with sampled as materialized (
            select id, concat_ws(' ', title, description) as words from tests
            tablesample system (least(100, 100.0 * sugang.search_ahead_sample() / total)) where not hidden
        ), frequent as materialized (
            -- A longer part is a word of its own if several words have it, as 프로그래밍 in 파이썬프로그래밍.
            select word, count(distinct id) * total::float8 / (select count(*) from sampled) as n
            from sampled cross join lateral sugang.search_words(words)
            group by word
            having bool_or(part_of is null) or length(word) = 2 or count(distinct part_of) > 1
        ), searches as (
            select sugang.search_query(word) as words, n, false as is_users from frequent
            where n >= sugang.search_ahead_from()
            union all
            select words, n, true from sugang.search_counts
            where kind = 'test' and not available and table_oid = tableoid and next_item_id is null
              and searched_at > clock_timestamp() - sugang.search_count_lifetime()
              and n >= sugang.search_ahead_from() and querytree(words) <> 'T'
        )
        select words from searches where numnode(words) > 0 group by words
        order by bool_and(is_users), max(n) desc limit sugang.search_ahead_limit());
end $$;

-- Whether the ids of the items are so close to each other that bitmaps are short. The blocks are looked up one after
-- the other, until they are too many.
create or replace function sugang.test_ids_are_dense() returns boolean
language sql stable set enable_seqscan = off set enable_sort = off as $$
    with recursive blocks (block) as (
        select sugang.block_of(min(item_id)) from sugang.test_search
        union all
        select sugang.block_of((select item_id from sugang.test_search where item_id >= block + 1 << 13
                                order by item_id limit 1))
        from blocks where block is not null
    ), bound as (
        select sugang.total_count('test') / sugang.search_bitmap_density() + 2 as n
    )
    select count(*) < (select n from bound) from (select from blocks limit (select n from bound)) b
$$;

-- Begins a set in the place of one that is not in use, with the searches that are frequent now. Returns whether there
-- are any.
create or replace function sugang.test_begin_bitmaps() returns boolean language plpgsql as $$
declare
    number_in_use integer := (sugang.search_bitmaps_in_use('test')).number;
    searches tsquery[] := array[]::tsquery[];
begin
    if sugang.test_ids_are_dense() then searches := sugang.test_frequent_searches(); end if;
    delete from sugang.search_bitmaps where kind = 'test' and number is distinct from number_in_use;
    delete from sugang.search_bitmap_sets where kind = 'test' and number is distinct from number_in_use;
    insert into sugang.search_bitmap_sets (kind, number, begun_at, words, snapshot, as_of, next_item_id, table_oid)
        values ('test', 1 - coalesce(number_in_use, 0), clock_timestamp(), searches, pg_current_snapshot(), now(),
                case when searches <> '{}' then -9223372036854775808 end, 'sugang.search_bitmaps'::regclass);
    return searches <> '{}';
end $$;

-- Adds the next piece to a set that is being made, and brings what it includes up to date: one statement, so all of it
-- belongs to one snapshot. Of the items that have changed, it looks at what they are now. Returns the set as it is
-- then; nulls when not all changes are known.
create or replace function sugang.test_renew_bitmaps(p_set sugang.search_bitmap_sets)
returns sugang.search_bitmap_sets
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off
set work_mem = '32MB' set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    is_whole boolean := p_set.next_item_id is null;
    end_item_id bigint := (select item_id from sugang.test_search where item_id >= p_set.next_item_id
                           order by item_id offset sugang.search_ahead_piece() limit 1);
    -- Not all at once where many begin or end.
    latest timestamptz := greatest(now(), p_set.as_of);
    until timestamptz := least(
        latest,
        (select start_at from tests where not hidden and start_at > p_set.as_of and start_at <= latest
         order by start_at offset sugang.search_ahead_edges() limit 1),
        (select end_at from tests where not hidden and end_at > p_set.as_of and end_at <= latest
         order by end_at offset sugang.search_ahead_edges() limit 1));
    renewed sugang.search_bitmap_sets;
begin
    with changes as materialized (
        select c.item_id, c.sign from sugang.search_changes c
        where c.kind = 'test' and c.xid >= pg_snapshot_xmin(p_set.snapshot)
          and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, p_set.snapshot))
    ), known as materialized (
        select coalesce(bool_and(sign <> 0), true) and count(*) = count(sign) as are_all from changes
    ), looked_at as materialized (
        select ids.id, sugang.block_of(ids.id) as block, sugang.bit_of(ids.id) as mask,
               (select s.search_vector from sugang.test_search s where s.item_id = ids.id) as search_vector,
               coalesce((select i.start_at <= until and i.end_at >= until from tests i
                         where i.id = ids.id and not i.hidden), false) as is_available
        from (select item_id as id from changes where is_whole or item_id < p_set.next_item_id
              union
              select item_id from sugang.test_search
              where item_id >= p_set.next_item_id and (end_item_id is null or item_id < end_item_id)) ids
    ), timed as (
        select block, mask, is_available from looked_at
        union all
        select sugang.block_of(edges.id), sugang.bit_of(edges.id), edges.is_available
        from (select i.id, i.end_at >= until as is_available from tests i
              where not i.hidden and i.start_at > p_set.as_of and i.start_at <= until and i.start_at <= i.end_at
              union all
              select i.id, false from tests i
              where not i.hidden and i.end_at >= p_set.as_of and i.end_at < until and i.start_at <= i.end_at) edges
        where is_whole or edges.id < p_set.next_item_id
    ), renewed_bits as (
        -- Of the items that were looked at, those that have the word.
        select place, block, bit_or(mask) as mask, coalesce(bit_or(members), sugang.no_bits()) as members from (
            select place, block, mask, null::bit varying as members
            from (select block, bit_or(mask) as mask from looked_at group by block) masks
            cross join generate_series(0, cardinality(p_set.words)) place
            union all
            select w.place, l.block, null, bit_or(l.mask) from looked_at l
            join unnest(p_set.words) with ordinality w (words, place) on l.search_vector @@ w.words
            group by w.place, l.block
            union all
            select 0, block, null, bit_or(mask) from looked_at where search_vector is not null group by block
            union all
            select -1, block, bit_or(mask), bit_or(mask) filter (where is_available) from timed group by block) bits
        group by place, block
    ), written as (
        insert into sugang.search_bitmaps (kind, number, place, block, bits)
            select 'test', p_set.number, place, block, (before & (~mask)) | members
            from (select r.*, coalesce((select b.bits from sugang.search_bitmaps b
                                        where (b.kind, b.number, b.place, b.block)
                                            = ('test', p_set.number, r.place, r.block)),
                                       sugang.no_bits()) as before from renewed_bits r) r
            where (select are_all from known) and before & mask <> members
        on conflict (kind, number, place, block) do update set bits = excluded.bits
    )
    update sugang.search_bitmap_sets set snapshot = pg_current_snapshot(), as_of = until, next_item_id = end_item_id
        where kind = 'test' and number = p_set.number and (select are_all from known)
        returning * into renewed;
    return renewed;
end $$;

-- What a search for frequent words matches, at the time and with the snapshot of the bitmaps; nulls when they do not
-- tell.
create or replace function sugang.test_count_in_bitmaps(p_available boolean, p_query tsquery)
returns sugang.search_counts
language plpgsql set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    -- The expression has names of bitmaps and operators, and nothing that a user typed.
    -- @plpgsql_check_options: security_warnings = false
    in_use sugang.search_bitmap_sets := sugang.search_bitmaps_in_use('test');
    expression text := sugang.bitmap_expression(p_query::text, in_use.words::text[]);
    joins text;
    counted sugang.search_counts;
begin
    if expression is null then return null; end if;
    select string_agg(distinct format(
        ' left join sugang.search_bitmaps %1$s on (%1$s.kind, %1$s.number, %1$s.place, %1$s.block)'
        ' = (shown.kind, shown.number, %2$s, shown.block)', name[1], substr(name[1], 2)), '')
        into joins from regexp_matches(expression, E'b\\d+', 'g') name;
    -- The set in the same statement: it may have been renewed since.
    execute 'select sets.as_of, sets.snapshot,
                 coalesce((select sum(bit_count(shown.bits & '
        || regexp_replace(expression, E'b\\d+', E'coalesce(\\&.bits, $1)', 'g') || '))
                  from sugang.search_bitmaps shown' || joins || '
                  where (shown.kind, shown.number, shown.place) = (sets.kind, sets.number, $2)), 0)
             from sugang.search_bitmap_sets sets
             where (sets.kind, sets.number, sets.begun_at) = ($3, $4, $5) and sets.words <> ''{}'''
        into counted.as_of, counted.snapshot, counted.n
        using sugang.no_bits(), case when p_available then -1 else 0 end, 'test', in_use.number, in_use.begun_at;
    counted.available := p_available;
    counted.words := p_query;
    counted.counted_at := '-infinity';
    return counted;
end $$;

-- A sweep's part of the work. The body tells whether there is more to do at once. Of sweeps at the same time, one does
-- it.
create or replace function sugang.count_test_ahead(p_function text) returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    until timestamptz := clock_timestamp() + sugang.search_ahead_patience();
    in_use sugang.search_bitmap_sets;
    made sugang.search_bitmap_sets;
    renewed sugang.search_bitmap_sets;
    goes_on boolean := false;
begin
    if p_function is distinct from 'count_test_ahead' then
        perform sugang.misrouted(p_function, 'count_test_ahead');
    end if;
    if sugang.keeps_counts() and sugang.total_count('test') >= sugang.search_ahead_from()
            and pg_try_advisory_xact_lock(hashtextextended('count_ahead test', 0)) then
        in_use := sugang.search_bitmaps_in_use('test');
        if in_use.as_of < clock_timestamp() - sugang.search_ahead_age() then
            renewed := sugang.test_renew_bitmaps(in_use);
            if renewed.kind is null then perform sugang.give_bitmaps_up('test', in_use.number); end if;
            in_use := renewed;
            goes_on := coalesce(in_use.as_of < now(), false);
        end if;
        select * into made from sugang.search_bitmap_sets
            where kind = 'test' and next_item_id is not null and table_oid = 'sugang.search_bitmaps'::regclass
              and as_of <= clock_timestamp();
        if made.kind is not null then
            loop
                renewed := sugang.test_renew_bitmaps(made);
                if renewed.kind is null then
                    perform sugang.give_bitmaps_up('test', made.number);
                elsif renewed.next_item_id is null then
                    perform sugang.give_bitmaps_up('test', in_use.number);
                elsif clock_timestamp() < until then
                    made := renewed;
                    continue;
                else
                    goes_on := true;
                end if;
                exit;
            end loop;
        elsif not exists (select from sugang.search_bitmap_sets
                          where kind = 'test'
                            and begun_at between clock_timestamp() - case when in_use.kind is not null then interval '1 day'
                                                                          else sugang.search_ahead_pause() end
                                             and clock_timestamp()) then
            -- That takes about as long as a piece.
            goes_on := sugang.test_begin_bitmaps() or goes_on;
        end if;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('goes_on', goes_on)::text;
    return a;
end $$;

-- ===== catalogue/search_changes

-- The changes of items that a search can see, in sugang.search_changes: search_table_of_items.sql and
-- search_changes_of_items.sql record them.

-- Whether the next p_n changes of this transaction are to be recorded. Recording and reading more than 1,000 would take
-- longer than counting again, so one row stands for all changes of a transaction that makes more.
create or replace function sugang.records_search_changes(p_kind text, p_n bigint) returns boolean
language plpgsql as $$
declare
    setting text := 'sugang.search_changes_of_' || p_kind;
    made bigint := coalesce(nullif(current_setting(setting, true), '')::bigint, 0);
begin
    if p_n = 0 or made > 1000 then return false; end if;
    -- Ends with the transaction.
    perform set_config(setting, (made + p_n)::text, true);
    if made + p_n > 1000 then
        insert into sugang.search_changes (kind) values (p_kind);
        return false;
    end if;
    return true;
end $$;

-- Each hundred changes prune once on average, so the table stays short however seldom searches are counted. At the
-- commit, so that a transaction that stays open keeps no other from it.
create or replace function sugang.prune_search_changes_at_commit() returns trigger language plpgsql as $$
begin
    perform sugang.prune_search_changes(new.kind);
    return null;
end $$;
-- PostgreSQL cannot replace a constraint trigger, so it is made once.
do $$
begin
    if not exists (select from pg_trigger where tgrelid = 'sugang.search_changes'::regclass and tgname = 'prune') then
        create constraint trigger prune after insert on sugang.search_changes deferrable initially deferred
            for each row when (new.sign is null or new.sign <> 0 and random() < 0.01)
            execute function sugang.prune_search_changes_at_commit();
    end if;
end $$;

-- ===== catalogue/search_changes_of_items (course)

-- One kind: records periods that move in sugang.search_changes, and items that move in the list. All else is recorded
-- where sugang.course_search is written, in search_table_of_items.sql, and an item whose words change as well is
-- recorded there alone.

-- jit as in change_log_of_items.sql.
create or replace function sugang.record_course_moves() returns trigger language plpgsql
set work_mem = '64MB' set jit = off as $$
declare
    moved bigint[] := array(
        select id from removed o join added n using (id)
        where (o.title, o.description, o.hidden) is not distinct from (n.title, n.description, n.hidden)
          and not o.hidden and (o.created_at, o.start_at, o.end_at) <> (n.created_at, n.start_at, n.end_at)
        limit 501);
begin
    if sugang.records_search_changes('course', 2 * cardinality(moved)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'course', sign, id, created_at, (select search_vector from sugang.course_search where item_id = id),
                   start_at, end_at
            from (select -1 as sign, id, created_at, start_at, end_at from removed
                  union all
                  select 1, id, created_at, start_at, end_at from added) versions
            where id = any (moved);
    end if;
    return null;
end $$;
-- As in bucket_counts_of_items.sql.
create or replace trigger sugang_search_changes_move after update on courses
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.record_course_moves();

-- ===== catalogue/search_changes_of_items (test)

-- One kind: records periods that move in sugang.search_changes, and items that move in the list. All else is recorded
-- where sugang.test_search is written, in search_table_of_items.sql, and an item whose words change as well is
-- recorded there alone.

-- jit as in change_log_of_items.sql.
create or replace function sugang.record_test_moves() returns trigger language plpgsql
set work_mem = '64MB' set jit = off as $$
declare
    moved bigint[] := array(
        select id from removed o join added n using (id)
        where (o.title, o.description, o.hidden) is not distinct from (n.title, n.description, n.hidden)
          and not o.hidden and (o.created_at, o.start_at, o.end_at) <> (n.created_at, n.start_at, n.end_at)
        limit 501);
begin
    if sugang.records_search_changes('test', 2 * cardinality(moved)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'test', sign, id, created_at, (select search_vector from sugang.test_search where item_id = id),
                   start_at, end_at
            from (select -1 as sign, id, created_at, start_at, end_at from removed
                  union all
                  select 1, id, created_at, start_at, end_at from added) versions
            where id = any (moved);
    end if;
    return null;
end $$;
-- As in bucket_counts_of_items.sql.
create or replace trigger sugang_search_changes_move after update on tests
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.record_test_moves();

-- ===== catalogue/search_count_of_items (course)

-- One kind: the number of items that a search matches.

-- Adjusts stored counts to p_as_of and returns them, by their place, with the snapshot that they now include. It leaves
-- out those for which that is impossible, or takes longer than counting again: too many items have begun or ended. For
-- all counts together, each item is looked up once. Stable, so that it sees what the statement sees that calls it.
create or replace function sugang.course_adjust_search_counts(p_known sugang.search_counts[], p_as_of timestamptz)
returns table (place bigint, n bigint, snapshot pg_snapshot)
language plpgsql stable parallel restricted
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set enable_sort = off set work_mem = '32MB' set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    since timestamptz := (select min(k.as_of) from unnest(p_known) k where k.available);
begin
    return query
        with known as materialized (
            select * from unnest(p_known) with ordinality
        ), edges as materialized (
            (select i.id, i.start_at as at, 1 as sign from courses i
             where not i.hidden and i.start_at > since and i.start_at <= p_as_of and i.start_at <= i.end_at
             limit sugang.search_count_look_ups())
            union all
            (select i.id, i.end_at, -1 from courses i
             where not i.hidden and i.end_at >= since and i.end_at < p_as_of and i.start_at <= i.end_at
             limit sugang.search_count_look_ups())
        ), passed as (
            select k.ordinality, sum(e.sign) as n
            from edges e join sugang.course_search s on s.item_id = e.id
            join known k on k.available and (e.at > k.as_of or e.at = k.as_of and e.sign < 0)
                and (k.next_item_id is null or (s.created_at, s.item_id) < (k.next_created_at, k.next_item_id))
                and (s.search_vector @@ k.words) is true
            group by k.ordinality
        ), changed as (
            select k.ordinality, coalesce(sum(c.sign) filter (
                where c.search_vector @@ k.words
                  and (not k.available or (c.start_at <= k.as_of and c.end_at >= k.as_of))
                  and (k.next_item_id is null
                    or (c.created_at, c.item_id) < (k.next_created_at, k.next_item_id))), 0) as n
            from known k left join sugang.search_changes c
                on c.kind = 'course' and c.xid >= pg_snapshot_xmin(k.snapshot)
                and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, k.snapshot))
            group by k.ordinality
            having coalesce(bool_and(c.sign <> 0), true) and count(c.kind) = count(c.sign)
        )
        select k.ordinality, (k.n + c.n + coalesce(p.n, 0))::bigint, pg_current_snapshot()
        from known k join changed c using (ordinality) left join passed p using (ordinality)
        where not k.available or (select count(*) from edges) < sugang.search_count_look_ups();
end $$;

-- The same for one count; nulls when that is impossible.
create or replace function sugang.course_adjust_search_count(p_known sugang.search_counts, p_query tsquery,
                                                             p_as_of timestamptz, out n bigint,
                                                             out snapshot pg_snapshot)
language plpgsql stable parallel restricted as $$
begin
    p_known.words := p_query;
    select a.n, a.snapshot into n, snapshot from sugang.course_adjust_search_counts(array[p_known], p_as_of) a;
end $$;

-- Counts the matches if they are few, or if few items are available; nulls when it does not know after p_until. A few
-- matches are counted with a cached plan.
create or replace function sugang.course_count_few(p_available boolean, p_query tsquery, p_as_of timestamptz,
                                                   p_until timestamptz, out n bigint, out snapshot pg_snapshot)
language plpgsql as $$
declare
    few_are_left boolean := p_available and sugang.total_count('course')
        - sugang.count_before_hour('course', 'end', p_as_of) <= sugang.search_count_look_ups();
begin
    if few_are_left then p_until := least(p_until, clock_timestamp() + sugang.search_count_cheap()); end if;
    begin
        with found as materialized (
            select from sugang.course_search s
            where search_vector @@ p_query
              and (clock_timestamp() < p_until or sugang.search_count_is_late(s.item_id))
              and (not p_available or (select start_at <= p_as_of and end_at >= p_as_of from courses i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
        select count(*), pg_current_snapshot() into n, snapshot
            from (select from found limit sugang.search_count_exact_limit() + 1) probe;
        if n <= sugang.search_count_exact_limit() then return; end if;
    exception when sqlstate 'SG002' then
    end;
    n := null;
    snapshot := null;
    -- Those that have not ended are looked up among the words. Planned for this very time.
    if few_are_left then
        execute 'select count(*), pg_current_snapshot()
                 from (select id, start_at from courses where not hidden and end_at >= $2 offset 0) i
                 join sugang.course_search s on s.item_id = i.id
                 where i.start_at <= $2 and (s.search_vector @@ $1) is true'
            into n, snapshot using p_query, p_as_of;
    end if;
end $$;

-- Null when the time was up before all were counted: what is counted is kept, and the next request goes on.
create or replace function sugang.course_search_count(p_available boolean, p_query tsquery, p_now timestamptz)
returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '32MB' set jit = off as $$
declare
    fingerprint text := sugang.search_fingerprint(p_query);
    lock_key bigint := hashtextextended('course ' || p_available || ' ' || p_query::text, 0);
    negated_terms tsquery := sugang.negated_terms(p_query);
    known sugang.search_counts;
    in_bitmaps sugang.search_counts;
    begun timestamptz;
    found_n bigint;
    snapshot_now pg_snapshot;
    keeps boolean;
    is_new boolean;
    late_at timestamptz;
begin
    if negated_terms is not null then
        found_n := case when p_available then sugang.course_available_count(p_now)
                        else sugang.total_count('course') end
            - sugang.course_search_count(p_available, negated_terms, p_now);
        if found_n is null or found_n > sugang.search_count_exact_limit() then return found_n; end if;
        -- Few are left, and their number must be exact: at this very time, all less those that match.
        if not p_available then
            known := sugang.stored_search_count('course', false, sugang.search_fingerprint(negated_terms));
            if known.n is not null and known.next_item_id is null then
                select sugang.total_count('course') - n into found_n
                    from sugang.course_adjust_search_count(known, negated_terms, p_now);
                if found_n is not null then return found_n; end if;
            end if;
        end if;
    end if;
    -- A transaction sees its own changes, which no snapshot shows.
    keeps := pg_current_xact_id_if_assigned() is null and sugang.keeps_counts();
    known := sugang.stored_search_count('course', p_available, fingerprint);
    -- One request counts before the stored count is too old to show, and no other request waits for it. Requests
    -- without a count to show wait for the one that counts, and use its result.
    if known.counted_at > clock_timestamp() - sugang.search_count_max_age() / 2 then return known.n; end if;
    if not pg_try_advisory_xact_lock(lock_key) then
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
        -- As long as the statement may take: counting is work, and no lock that another program has forgotten.
        perform set_config('lock_timeout', '0', true);
        perform pg_advisory_xact_lock_shared(lock_key);
        known := sugang.stored_search_count('course', p_available, fingerprint);
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
        -- Another request has just counted a piece, and yet another one may be counting the next.
        if known.next_item_id is not null and keeps then return null; end if;
    elsif known.next_item_id is not null then
        -- Another request may have gone on with it before the lock was free.
        known := sugang.stored_search_count('course', p_available, fingerprint);
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
    end if;
    if not keeps and known.next_item_id is not null then known := null; end if;
    is_new := known.n is null;
    if is_new or known.next_item_id is not null
            or known.as_of < clock_timestamp() - sugang.search_ahead_age() then
        in_bitmaps := sugang.course_count_in_bitmaps(p_available, p_query);
        if in_bitmaps.n is not null
                and (is_new or known.next_item_id is not null or known.as_of < in_bitmaps.as_of) then
            known := in_bitmaps;
        end if;
    end if;
    begun := clock_timestamp();
    late_at := case when keeps then begun + sugang.search_count_patience() else 'infinity' end;
    p_now := greatest(p_now, known.as_of);
    if known.n is not null and known.next_item_id is null then
        select n, snapshot into found_n, snapshot_now
            from sugang.course_adjust_search_count(known, p_query, p_now);
        -- A small one is adjusted for each request, and not written for each.
        if greatest(found_n, known.n) <= sugang.search_count_exact_limit()
                and snapshot_now is not null and not is_new
                and known.as_of > clock_timestamp() - sugang.search_count_max_age() / 2 then
            return found_n;
        end if;
    -- (When no term is required, finding a few costs as much as counting all.)
    elsif known.n is null and querytree(p_query) <> 'T' then
        select n, snapshot into found_n, snapshot_now
            from sugang.course_count_few(p_available, p_query, p_now, late_at);
        if found_n <= sugang.search_count_exact_limit()
                and (not keeps or clock_timestamp() < begun + sugang.search_count_cheap()) then
            return found_n;
        end if;
    end if;
    if snapshot_now is null and known.next_item_id is null then
        known := null;
        if clock_timestamp() < late_at then
            select n, snapshot into found_n, snapshot_now
                from sugang.course_count_at_once(p_available, p_query, p_now, late_at);
        end if;
    end if;
    if snapshot_now is null then
        known := sugang.course_count_pieces(known, p_available, p_query, p_now, late_at);
        found_n := known.n;
        snapshot_now := known.snapshot;
    end if;
    if not keeps then return found_n; end if;
    insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words,
                                      next_created_at, next_item_id, searched_at)
        values ('course', p_available, fingerprint, found_n, p_now, snapshot_now, begun,
                'sugang.search_counts'::regclass, p_query, known.next_created_at, known.next_item_id, begun)
        on conflict (kind, available, query) do update
        set n = excluded.n, as_of = excluded.as_of, snapshot = excluded.snapshot, counted_at = excluded.counted_at,
            table_oid = excluded.table_oid, next_created_at = excluded.next_created_at,
            next_item_id = excluded.next_item_id, searched_at = excluded.searched_at;
    if is_new or random() < 0.1 then perform sugang.prune_search_counts('course'); end if;
    return case when known.next_item_id is null then found_n end;
end $$;

-- ===== catalogue/search_count_of_items (test)

-- One kind: the number of items that a search matches.

-- Adjusts stored counts to p_as_of and returns them, by their place, with the snapshot that they now include. It leaves
-- out those for which that is impossible, or takes longer than counting again: too many items have begun or ended. For
-- all counts together, each item is looked up once. Stable, so that it sees what the statement sees that calls it.
create or replace function sugang.test_adjust_search_counts(p_known sugang.search_counts[], p_as_of timestamptz)
returns table (place bigint, n bigint, snapshot pg_snapshot)
language plpgsql stable parallel restricted
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set enable_sort = off set work_mem = '32MB' set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    since timestamptz := (select min(k.as_of) from unnest(p_known) k where k.available);
begin
    return query
        with known as materialized (
            select * from unnest(p_known) with ordinality
        ), edges as materialized (
            (select i.id, i.start_at as at, 1 as sign from tests i
             where not i.hidden and i.start_at > since and i.start_at <= p_as_of and i.start_at <= i.end_at
             limit sugang.search_count_look_ups())
            union all
            (select i.id, i.end_at, -1 from tests i
             where not i.hidden and i.end_at >= since and i.end_at < p_as_of and i.start_at <= i.end_at
             limit sugang.search_count_look_ups())
        ), passed as (
            select k.ordinality, sum(e.sign) as n
            from edges e join sugang.test_search s on s.item_id = e.id
            join known k on k.available and (e.at > k.as_of or e.at = k.as_of and e.sign < 0)
                and (k.next_item_id is null or (s.created_at, s.item_id) < (k.next_created_at, k.next_item_id))
                and (s.search_vector @@ k.words) is true
            group by k.ordinality
        ), changed as (
            select k.ordinality, coalesce(sum(c.sign) filter (
                where c.search_vector @@ k.words
                  and (not k.available or (c.start_at <= k.as_of and c.end_at >= k.as_of))
                  and (k.next_item_id is null
                    or (c.created_at, c.item_id) < (k.next_created_at, k.next_item_id))), 0) as n
            from known k left join sugang.search_changes c
                on c.kind = 'test' and c.xid >= pg_snapshot_xmin(k.snapshot)
                and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, k.snapshot))
            group by k.ordinality
            having coalesce(bool_and(c.sign <> 0), true) and count(c.kind) = count(c.sign)
        )
        select k.ordinality, (k.n + c.n + coalesce(p.n, 0))::bigint, pg_current_snapshot()
        from known k join changed c using (ordinality) left join passed p using (ordinality)
        where not k.available or (select count(*) from edges) < sugang.search_count_look_ups();
end $$;

-- The same for one count; nulls when that is impossible.
create or replace function sugang.test_adjust_search_count(p_known sugang.search_counts, p_query tsquery,
                                                             p_as_of timestamptz, out n bigint,
                                                             out snapshot pg_snapshot)
language plpgsql stable parallel restricted as $$
begin
    p_known.words := p_query;
    select a.n, a.snapshot into n, snapshot from sugang.test_adjust_search_counts(array[p_known], p_as_of) a;
end $$;

-- Counts the matches if they are few, or if few items are available; nulls when it does not know after p_until. A few
-- matches are counted with a cached plan.
create or replace function sugang.test_count_few(p_available boolean, p_query tsquery, p_as_of timestamptz,
                                                   p_until timestamptz, out n bigint, out snapshot pg_snapshot)
language plpgsql as $$
declare
    few_are_left boolean := p_available and sugang.total_count('test')
        - sugang.count_before_hour('test', 'end', p_as_of) <= sugang.search_count_look_ups();
begin
    if few_are_left then p_until := least(p_until, clock_timestamp() + sugang.search_count_cheap()); end if;
    begin
        with found as materialized (
            select from sugang.test_search s
            where search_vector @@ p_query
              and (clock_timestamp() < p_until or sugang.search_count_is_late(s.item_id))
              and (not p_available or (select start_at <= p_as_of and end_at >= p_as_of from tests i
                                       where (i.created_at, i.id) = (s.created_at, s.item_id) and not hidden)))
        select count(*), pg_current_snapshot() into n, snapshot
            from (select from found limit sugang.search_count_exact_limit() + 1) probe;
        if n <= sugang.search_count_exact_limit() then return; end if;
    exception when sqlstate 'SG002' then
    end;
    n := null;
    snapshot := null;
    -- Those that have not ended are looked up among the words. Planned for this very time.
    if few_are_left then
        execute 'select count(*), pg_current_snapshot()
                 from (select id, start_at from tests where not hidden and end_at >= $2 offset 0) i
                 join sugang.test_search s on s.item_id = i.id
                 where i.start_at <= $2 and (s.search_vector @@ $1) is true'
            into n, snapshot using p_query, p_as_of;
    end if;
end $$;

-- Null when the time was up before all were counted: what is counted is kept, and the next request goes on.
create or replace function sugang.test_search_count(p_available boolean, p_query tsquery, p_now timestamptz)
returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '32MB' set jit = off as $$
declare
    fingerprint text := sugang.search_fingerprint(p_query);
    lock_key bigint := hashtextextended('test ' || p_available || ' ' || p_query::text, 0);
    negated_terms tsquery := sugang.negated_terms(p_query);
    known sugang.search_counts;
    in_bitmaps sugang.search_counts;
    begun timestamptz;
    found_n bigint;
    snapshot_now pg_snapshot;
    keeps boolean;
    is_new boolean;
    late_at timestamptz;
begin
    if negated_terms is not null then
        found_n := case when p_available then sugang.test_available_count(p_now)
                        else sugang.total_count('test') end
            - sugang.test_search_count(p_available, negated_terms, p_now);
        if found_n is null or found_n > sugang.search_count_exact_limit() then return found_n; end if;
        -- Few are left, and their number must be exact: at this very time, all less those that match.
        if not p_available then
            known := sugang.stored_search_count('test', false, sugang.search_fingerprint(negated_terms));
            if known.n is not null and known.next_item_id is null then
                select sugang.total_count('test') - n into found_n
                    from sugang.test_adjust_search_count(known, negated_terms, p_now);
                if found_n is not null then return found_n; end if;
            end if;
        end if;
    end if;
    -- A transaction sees its own changes, which no snapshot shows.
    keeps := pg_current_xact_id_if_assigned() is null and sugang.keeps_counts();
    known := sugang.stored_search_count('test', p_available, fingerprint);
    -- One request counts before the stored count is too old to show, and no other request waits for it. Requests
    -- without a count to show wait for the one that counts, and use its result.
    if known.counted_at > clock_timestamp() - sugang.search_count_max_age() / 2 then return known.n; end if;
    if not pg_try_advisory_xact_lock(lock_key) then
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
        -- As long as the statement may take: counting is work, and no lock that another program has forgotten.
        perform set_config('lock_timeout', '0', true);
        perform pg_advisory_xact_lock_shared(lock_key);
        known := sugang.stored_search_count('test', p_available, fingerprint);
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
        -- Another request has just counted a piece, and yet another one may be counting the next.
        if known.next_item_id is not null and keeps then return null; end if;
    elsif known.next_item_id is not null then
        -- Another request may have gone on with it before the lock was free.
        known := sugang.stored_search_count('test', p_available, fingerprint);
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
    end if;
    if not keeps and known.next_item_id is not null then known := null; end if;
    is_new := known.n is null;
    if is_new or known.next_item_id is not null
            or known.as_of < clock_timestamp() - sugang.search_ahead_age() then
        in_bitmaps := sugang.test_count_in_bitmaps(p_available, p_query);
        if in_bitmaps.n is not null
                and (is_new or known.next_item_id is not null or known.as_of < in_bitmaps.as_of) then
            known := in_bitmaps;
        end if;
    end if;
    begun := clock_timestamp();
    late_at := case when keeps then begun + sugang.search_count_patience() else 'infinity' end;
    p_now := greatest(p_now, known.as_of);
    if known.n is not null and known.next_item_id is null then
        select n, snapshot into found_n, snapshot_now
            from sugang.test_adjust_search_count(known, p_query, p_now);
        -- A small one is adjusted for each request, and not written for each.
        if greatest(found_n, known.n) <= sugang.search_count_exact_limit()
                and snapshot_now is not null and not is_new
                and known.as_of > clock_timestamp() - sugang.search_count_max_age() / 2 then
            return found_n;
        end if;
    -- (When no term is required, finding a few costs as much as counting all.)
    elsif known.n is null and querytree(p_query) <> 'T' then
        select n, snapshot into found_n, snapshot_now
            from sugang.test_count_few(p_available, p_query, p_now, late_at);
        if found_n <= sugang.search_count_exact_limit()
                and (not keeps or clock_timestamp() < begun + sugang.search_count_cheap()) then
            return found_n;
        end if;
    end if;
    if snapshot_now is null and known.next_item_id is null then
        known := null;
        if clock_timestamp() < late_at then
            select n, snapshot into found_n, snapshot_now
                from sugang.test_count_at_once(p_available, p_query, p_now, late_at);
        end if;
    end if;
    if snapshot_now is null then
        known := sugang.test_count_pieces(known, p_available, p_query, p_now, late_at);
        found_n := known.n;
        snapshot_now := known.snapshot;
    end if;
    if not keeps then return found_n; end if;
    insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words,
                                      next_created_at, next_item_id, searched_at)
        values ('test', p_available, fingerprint, found_n, p_now, snapshot_now, begun,
                'sugang.search_counts'::regclass, p_query, known.next_created_at, known.next_item_id, begun)
        on conflict (kind, available, query) do update
        set n = excluded.n, as_of = excluded.as_of, snapshot = excluded.snapshot, counted_at = excluded.counted_at,
            table_oid = excluded.table_oid, next_created_at = excluded.next_created_at,
            next_item_id = excluded.next_item_id, searched_at = excluded.searched_at;
    if is_new or random() < 0.1 then perform sugang.prune_search_counts('test'); end if;
    return case when known.next_item_id is null then found_n end;
end $$;

-- ===== catalogue/search_count_pieces_of_items (course)

-- One kind: how a search counts what it matches, at once, or in pieces where that takes too long. A piece is a stretch
-- of the order of the list, in which the rows of sugang.course_search lie. It reads all of its rows, and not those
-- alone that match, so counting at once is faster.

-- Counts all matches, unless that takes until p_until or longer: then nulls. Planned for these very words: for some of
-- them reading the whole table is faster.
create or replace function sugang.course_count_at_once(p_available boolean, p_query tsquery, p_as_of timestamptz,
                                                       p_until timestamptz, out n bigint, out snapshot pg_snapshot)
language plpgsql set enable_seqscan = on as $$
begin
    execute 'select count(*), pg_current_snapshot() from sugang.course_search s'
        || case when p_available then ' join courses i on (i.created_at, i.id) = (s.created_at, s.item_id)
                                          and not i.hidden and i.start_at <= $2 and i.end_at >= $2' else '' end
        || ' where s.search_vector @@ $1 and (clock_timestamp() < $3 or sugang.search_count_is_late(s.item_id))'
        into n, snapshot using p_query, p_as_of, p_until;
exception when sqlstate 'SG002' then
    return;
end $$;

-- Adds the next piece to a count. One statement both counts it and adjusts what is counted, so both have one snapshot.
-- The count is null when it cannot be adjusted.
create or replace function sugang.course_count_piece(inout p_known sugang.search_counts, p_query tsquery,
                                                     p_as_of timestamptz)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
    end_created_at timestamptz;
    end_item_id bigint;
begin
    select created_at, item_id into end_created_at, end_item_id from sugang.course_search
        where (created_at, item_id) >= (p_known.next_created_at, p_known.next_item_id)
        order by created_at, item_id offset sugang.search_count_piece() limit 1;
    execute 'select a.n + (select count(*) from sugang.course_search s'
        || case when p_known.available then ' join courses i on (i.created_at, i.id) = (s.created_at, s.item_id)
                                                and not i.hidden and i.start_at <= $3 and i.end_at >= $3' else '' end
        || ' where s.search_vector @@ $2 and (s.created_at, s.item_id) >= ($4, $5)'
        || case when end_item_id is not null then ' and (s.created_at, s.item_id) < ($6, $7)' else '' end
        || '), a.snapshot from sugang.course_adjust_search_count($1, $2, $3) a'
        into p_known.n, p_known.snapshot
        using p_known, p_query, p_as_of, p_known.next_created_at, p_known.next_item_id, end_created_at, end_item_id;
    p_known.as_of := p_as_of;
    p_known.next_created_at := end_created_at;
    p_known.next_item_id := end_item_id;
end $$;

-- Counts pieces until none is left or p_until has passed. Begins again where nothing is counted, or that cannot be
-- adjusted.
create or replace function sugang.course_count_pieces(inout p_known sugang.search_counts, p_available boolean,
                                                      p_query tsquery, p_as_of timestamptz, p_until timestamptz)
language plpgsql as $$
begin
    loop
        if p_known.n is null then
            p_known.available := p_available;
            p_known.n := 0;
            p_known.as_of := p_as_of;
            p_known.snapshot := pg_current_snapshot();
            p_known.next_created_at := '-infinity';
            p_known.next_item_id := -9223372036854775808;
        end if;
        p_known := sugang.course_count_piece(p_known, p_query, p_as_of);
        exit when p_known.n is not null and (p_known.next_item_id is null or clock_timestamp() > p_until);
    end loop;
end $$;

-- ===== catalogue/search_count_pieces_of_items (test)

-- One kind: how a search counts what it matches, at once, or in pieces where that takes too long. A piece is a stretch
-- of the order of the list, in which the rows of sugang.test_search lie. It reads all of its rows, and not those
-- alone that match, so counting at once is faster.

-- Counts all matches, unless that takes until p_until or longer: then nulls. Planned for these very words: for some of
-- them reading the whole table is faster.
create or replace function sugang.test_count_at_once(p_available boolean, p_query tsquery, p_as_of timestamptz,
                                                       p_until timestamptz, out n bigint, out snapshot pg_snapshot)
language plpgsql set enable_seqscan = on as $$
begin
    execute 'select count(*), pg_current_snapshot() from sugang.test_search s'
        || case when p_available then ' join tests i on (i.created_at, i.id) = (s.created_at, s.item_id)
                                          and not i.hidden and i.start_at <= $2 and i.end_at >= $2' else '' end
        || ' where s.search_vector @@ $1 and (clock_timestamp() < $3 or sugang.search_count_is_late(s.item_id))'
        into n, snapshot using p_query, p_as_of, p_until;
exception when sqlstate 'SG002' then
    return;
end $$;

-- Adds the next piece to a count. One statement both counts it and adjusts what is counted, so both have one snapshot.
-- The count is null when it cannot be adjusted.
create or replace function sugang.test_count_piece(inout p_known sugang.search_counts, p_query tsquery,
                                                     p_as_of timestamptz)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
    end_created_at timestamptz;
    end_item_id bigint;
begin
    select created_at, item_id into end_created_at, end_item_id from sugang.test_search
        where (created_at, item_id) >= (p_known.next_created_at, p_known.next_item_id)
        order by created_at, item_id offset sugang.search_count_piece() limit 1;
    execute 'select a.n + (select count(*) from sugang.test_search s'
        || case when p_known.available then ' join tests i on (i.created_at, i.id) = (s.created_at, s.item_id)
                                                and not i.hidden and i.start_at <= $3 and i.end_at >= $3' else '' end
        || ' where s.search_vector @@ $2 and (s.created_at, s.item_id) >= ($4, $5)'
        || case when end_item_id is not null then ' and (s.created_at, s.item_id) < ($6, $7)' else '' end
        || '), a.snapshot from sugang.test_adjust_search_count($1, $2, $3) a'
        into p_known.n, p_known.snapshot
        using p_known, p_query, p_as_of, p_known.next_created_at, p_known.next_item_id, end_created_at, end_item_id;
    p_known.as_of := p_as_of;
    p_known.next_created_at := end_created_at;
    p_known.next_item_id := end_item_id;
end $$;

-- Counts pieces until none is left or p_until has passed. Begins again where nothing is counted, or that cannot be
-- adjusted.
create or replace function sugang.test_count_pieces(inout p_known sugang.search_counts, p_available boolean,
                                                      p_query tsquery, p_as_of timestamptz, p_until timestamptz)
language plpgsql as $$
begin
    loop
        if p_known.n is null then
            p_known.available := p_available;
            p_known.n := 0;
            p_known.as_of := p_as_of;
            p_known.snapshot := pg_current_snapshot();
            p_known.next_created_at := '-infinity';
            p_known.next_item_id := -9223372036854775808;
        end if;
        p_known := sugang.test_count_piece(p_known, p_query, p_as_of);
        exit when p_known.n is not null and (p_known.next_item_id is null or clock_timestamp() > p_until);
    end loop;
end $$;

-- ===== catalogue/search_counts

-- What the counts of searches for all kinds have in common. See sugang.search_counts.

-- Up to this number the count of a search is exact. Above it, the count may be as old as search_count_max_age().
create or replace function sugang.search_count_exact_limit() returns bigint language sql immutable as $$
    select 1000::bigint
$$;
create or replace function sugang.search_count_max_age() returns interval language sql immutable as $$
    select interval '30 seconds'
$$;

-- A statement that has counted for this long goes on in pieces of as many items, and ends with the next one: however
-- slowly the table is read, a request then leaves what it has counted to the next one.
create or replace function sugang.search_count_patience() returns interval language sql immutable as $$
    select interval '3 seconds'
$$;
create or replace function sugang.search_count_piece() returns bigint language sql immutable as $$
    select 100000::bigint
$$;

-- A count up to search_count_exact_limit() that took longer is kept, and adjusted for each request.
create or replace function sugang.search_count_cheap() returns interval language sql immutable as $$
    select interval '0.1 seconds'
$$;

-- Where a word has many matches and at most this number of items has not ended, these are looked up among the words. A
-- count is not adjusted but taken again where more items have begun or ended since.
create or replace function sugang.search_count_look_ups() returns bigint language sql immutable as $$
    select 20000::bigint
$$;

-- Ends a count that takes too long. The argument, a column, makes PostgreSQL ask for each match.
create or replace function sugang.search_count_is_late(p_item bigint) returns boolean
language plpgsql parallel safe as $$
begin
    raise sqlstate 'SG002'
        using message = format('counting takes too long, and goes on in pieces: it has come to item %s', p_item);
end $$;

-- A count that has not been refreshed for this long is deleted.
create or replace function sugang.search_count_lifetime() returns interval language sql immutable as $$
    select interval '1 day'
$$;

-- The parts of a query, in its text, between the given operator. Blanks separate the operators and occur in no word.
create or replace function sugang.query_parts(p_query text, p_operator text) returns text[]
language plpgsql immutable parallel safe as $$
declare
    parts text[] := array[null];
    depth integer := 0;
    piece text;
begin
    foreach piece in array string_to_array(p_query, ' ') loop
        if depth = 0 and piece = p_operator then
            parts := parts || null::text;
        else
            parts[cardinality(parts)] := concat_ws(' ', parts[cardinality(parts)], piece);
            depth := depth + length(replace(piece, ')', '')) - length(replace(piece, '(', ''));
        end if;
    end loop;
    return parts;
end $$;

-- A search that only excludes terms matches nearly every row, and no index helps to count that. So the rows that it
-- excludes are counted: this returns the search for them, and null for any other search.
create or replace function sugang.negated_terms(p_query tsquery) returns tsquery language plpgsql immutable as $$
declare
    parts text[];
begin
    -- 'T': no term is required.
    if querytree(p_query) <> 'T' or cardinality(sugang.query_parts(p_query::text, '|')) > 1 then return null; end if;
    parts := sugang.query_parts(p_query::text, '&');
    if exists (select from unnest(parts) part where part not like '!%') then return null; end if;
    return (select string_agg(substr(part, 2), ' | ' order by n) from unnest(parts) with ordinality p (part, n))::tsquery;
end $$;

-- By which sugang.search_counts knows a search. Not the hash of the query alone: a session may still count as it did
-- before V16.
create or replace function sugang.search_fingerprint(p_query tsquery) returns text
language sql immutable parallel safe as $$
    select md5('lexemes ' || p_query::text)
$$;

-- The stored count of a search, whatever its age; nulls when there is none. One that is not complete, or so small that
-- it must be exact, is too old to show. A count from the future is none: the clock was set back. Volatile, so that it
-- sees what was committed before.
create or replace function sugang.stored_search_count(p_kind text, p_available boolean, p_fingerprint text)
returns sugang.search_counts language plpgsql as $$
declare
    known sugang.search_counts;
begin
    -- A standby has no contents of an unlogged table, and refuses to read it.
    if pg_is_in_recovery() then return null; end if;
    select * into known from sugang.search_counts
        where kind = p_kind and available = p_available and query = p_fingerprint and table_oid = tableoid
          and counted_at > clock_timestamp() - sugang.search_count_lifetime()
          and greatest(counted_at, as_of) <= clock_timestamp();
    if known.next_item_id is not null or known.n <= sugang.search_count_exact_limit() then
        known.counted_at := '-infinity';
    end if;
    return known;
end $$;

-- Deletes expired counts, all but the latest 10,000, and then the changes that no remaining count needs.
create or replace function sugang.prune_search_counts(p_kind text) returns void language plpgsql as $$
begin
    -- One at a time; another session prunes soon enough.
    if not pg_try_advisory_xact_lock(hashtextextended('prune_search_counts ' || p_kind, 0)) then return; end if;
    delete from sugang.search_counts
        where kind = p_kind
          and (table_oid <> tableoid or counted_at < clock_timestamp() - sugang.search_count_lifetime()
              or greatest(counted_at, as_of) > clock_timestamp()
              or counted_at < (select counted_at from sugang.search_counts where kind = p_kind
                               order by counted_at desc offset 10000 limit 1));
    perform sugang.prune_search_changes(p_kind);
end $$;

-- Deletes the changes that every count and bitmap includes, and all but the latest 10,000: a count that needs an older
-- one is taken again. A count that is being taken may not include them, so the last pruned change stays as a marker
-- for all before it. Writers call this too: it locks no row of sugang.search_counts, since a search would wait for
-- that.
create or replace function sugang.prune_search_changes(p_kind text) returns void language plpgsql as $$
declare
    needed xid8;
begin
    if not sugang.keeps_counts()
            or not pg_try_advisory_xact_lock(hashtextextended('prune_search_changes ' || p_kind, 0)) then
        return;
    end if;
    needed := greatest(
        least((select pg_snapshot_xmin(snapshot) from sugang.search_counts
               where kind = p_kind and table_oid = tableoid
                 and counted_at > clock_timestamp() - sugang.search_count_lifetime()
                 and counted_at <= clock_timestamp()
               order by 1 limit 1),
              (select pg_snapshot_xmin(snapshot) from sugang.search_bitmap_sets
               where kind = p_kind and words <> '{}' and table_oid = 'sugang.search_bitmaps'::regclass
                 and as_of between clock_timestamp() - sugang.search_count_lifetime() and clock_timestamp()
               order by 1 limit 1),
              pg_snapshot_xmin(pg_current_snapshot())),
        (select xid from sugang.search_changes where kind = p_kind order by xid desc offset 10000 limit 1));
    with pruned as (
        -- A change of a future transaction comes from a restored dump. This transaction's own may look like one.
        delete from sugang.search_changes
            where kind = p_kind
              and (xid < needed or xid >= pg_snapshot_xmax(pg_current_snapshot())
                  and xid is distinct from pg_current_xact_id_if_assigned()) returning xid)
    insert into sugang.search_changes (kind, xid, sign)
        select p_kind, xid, 0 from pruned where xid < needed order by xid desc limit 1;
end $$;

-- ===== catalogue/search_table_of_items (course)

-- One kind: the triggers that keep sugang.course_search, and record what a search sees of it in sugang.search_changes.
-- Periods stand with the items alone: to move one would otherwise write all words of the item to an index again.

create or replace function sugang.course_search_inserted() returns trigger language plpgsql as $$
begin
    insert into sugang.course_search (item_id, created_at, search_vector)
        select id, created_at, sugang.search_vector(title, description) from changed where not hidden
        order by created_at;
    if sugang.records_search_changes('course', (select count(*) from (
            select from changed where not hidden limit 1001) c)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'course', 1, id, created_at, (select search_vector from sugang.course_search where item_id = id),
                   start_at, end_at
            from changed where not hidden;
    end if;
    return null;
end $$;
create or replace function sugang.course_search_updated() returns trigger language plpgsql as $$
declare
    -- A changed id counts as too many: sugang.record_course_moves() takes the id for the same item before and after.
    is_recorded boolean := sugang.records_search_changes('course',
        (2 - old.hidden::integer - new.hidden::integer) * case when old.id = new.id then 1 else 1001 end);
begin
    if is_recorded and not old.hidden then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'course', -1, old.id, old.created_at, search_vector, old.start_at, old.end_at
            from sugang.course_search where item_id = old.id;
    end if;
    if old.id <> new.id or new.hidden then delete from sugang.course_search where item_id = old.id; end if;
    if new.hidden then return null; end if;
    insert into sugang.course_search as s (item_id, created_at, search_vector)
        values (new.id, new.created_at, sugang.search_vector(new.title, new.description))
        on conflict (item_id) do update
        set created_at = excluded.created_at, search_vector = excluded.search_vector;
    if is_recorded then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'course', 1, new.id, new.created_at, search_vector, new.start_at, new.end_at
            from sugang.course_search where item_id = new.id;
    end if;
    return null;
end $$;
-- Only the place in the list. Joins in another way would read the whole table for one row.
create or replace function sugang.course_search_moved() returns trigger language plpgsql
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update sugang.course_search s set created_at = moved.created_at
        from (select id, created_at from added except select id, created_at from removed) moved
        where s.item_id = moved.id and s.created_at is distinct from moved.created_at;
    return null;
end $$;
create or replace function sugang.course_search_deleted() returns trigger language plpgsql as $$
begin
    if sugang.records_search_changes('course', (select count(*) from (
            select from changed where not hidden limit 1001) c)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'course', -1, id, created_at, (select search_vector from sugang.course_search where item_id = id),
                   start_at, end_at
            from changed where not hidden;
    end if;
    delete from sugang.course_search where item_id in (select id from changed);
    return null;
end $$;
create or replace function sugang.course_search_truncated() returns trigger language plpgsql as $$
begin
    truncate sugang.course_search;
    insert into sugang.search_changes (kind) values ('course');
    return null;
end $$;

create or replace trigger sugang_search_table_insert after insert on courses referencing new table as changed
    for each statement execute function sugang.course_search_inserted();
-- The columns of the words are compared only where a statement sets them: a description may be long.
create or replace trigger sugang_search_table_update after update of id, title, description, hidden on courses
    for each row
    when ((old.id, old.title, old.description, old.hidden)
          is distinct from (new.id, new.title, new.description, new.hidden))
    execute function sugang.course_search_updated();
-- As in bucket_counts_of_items.sql.
create or replace trigger sugang_search_table_move after update on courses
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.course_search_moved();
create or replace trigger sugang_search_table_nested_move after update of created_at, start_at, end_at on courses
    for each row
    when (pg_trigger_depth() > 0
          and (old.created_at, old.start_at, old.end_at) is distinct from (new.created_at, new.start_at, new.end_at)
          and (old.id, old.title, old.description, old.hidden)
              is not distinct from (new.id, new.title, new.description, new.hidden))
    execute function sugang.course_search_updated();
create or replace trigger sugang_search_table_delete after delete on courses referencing old table as changed
    for each statement execute function sugang.course_search_deleted();
create or replace trigger sugang_search_table_truncate after truncate on courses
    for each statement execute function sugang.course_search_truncated();

-- ===== catalogue/search_table_of_items (test)

-- One kind: the triggers that keep sugang.test_search, and record what a search sees of it in sugang.search_changes.
-- Periods stand with the items alone: to move one would otherwise write all words of the item to an index again.

create or replace function sugang.test_search_inserted() returns trigger language plpgsql as $$
begin
    insert into sugang.test_search (item_id, created_at, search_vector)
        select id, created_at, sugang.search_vector(title, description) from changed where not hidden
        order by created_at;
    if sugang.records_search_changes('test', (select count(*) from (
            select from changed where not hidden limit 1001) c)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'test', 1, id, created_at, (select search_vector from sugang.test_search where item_id = id),
                   start_at, end_at
            from changed where not hidden;
    end if;
    return null;
end $$;
create or replace function sugang.test_search_updated() returns trigger language plpgsql as $$
declare
    -- A changed id counts as too many: sugang.record_test_moves() takes the id for the same item before and after.
    is_recorded boolean := sugang.records_search_changes('test',
        (2 - old.hidden::integer - new.hidden::integer) * case when old.id = new.id then 1 else 1001 end);
begin
    if is_recorded and not old.hidden then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'test', -1, old.id, old.created_at, search_vector, old.start_at, old.end_at
            from sugang.test_search where item_id = old.id;
    end if;
    if old.id <> new.id or new.hidden then delete from sugang.test_search where item_id = old.id; end if;
    if new.hidden then return null; end if;
    insert into sugang.test_search as s (item_id, created_at, search_vector)
        values (new.id, new.created_at, sugang.search_vector(new.title, new.description))
        on conflict (item_id) do update
        set created_at = excluded.created_at, search_vector = excluded.search_vector;
    if is_recorded then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'test', 1, new.id, new.created_at, search_vector, new.start_at, new.end_at
            from sugang.test_search where item_id = new.id;
    end if;
    return null;
end $$;
-- Only the place in the list. Joins in another way would read the whole table for one row.
create or replace function sugang.test_search_moved() returns trigger language plpgsql
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update sugang.test_search s set created_at = moved.created_at
        from (select id, created_at from added except select id, created_at from removed) moved
        where s.item_id = moved.id and s.created_at is distinct from moved.created_at;
    return null;
end $$;
create or replace function sugang.test_search_deleted() returns trigger language plpgsql as $$
begin
    if sugang.records_search_changes('test', (select count(*) from (
            select from changed where not hidden limit 1001) c)) then
        insert into sugang.search_changes (kind, sign, item_id, created_at, search_vector, start_at, end_at)
            select 'test', -1, id, created_at, (select search_vector from sugang.test_search where item_id = id),
                   start_at, end_at
            from changed where not hidden;
    end if;
    delete from sugang.test_search where item_id in (select id from changed);
    return null;
end $$;
create or replace function sugang.test_search_truncated() returns trigger language plpgsql as $$
begin
    truncate sugang.test_search;
    insert into sugang.search_changes (kind) values ('test');
    return null;
end $$;

create or replace trigger sugang_search_table_insert after insert on tests referencing new table as changed
    for each statement execute function sugang.test_search_inserted();
-- The columns of the words are compared only where a statement sets them: a description may be long.
create or replace trigger sugang_search_table_update after update of id, title, description, hidden on tests
    for each row
    when ((old.id, old.title, old.description, old.hidden)
          is distinct from (new.id, new.title, new.description, new.hidden))
    execute function sugang.test_search_updated();
-- As in bucket_counts_of_items.sql.
create or replace trigger sugang_search_table_move after update on tests
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.test_search_moved();
create or replace trigger sugang_search_table_nested_move after update of created_at, start_at, end_at on tests
    for each row
    when (pg_trigger_depth() > 0
          and (old.created_at, old.start_at, old.end_at) is distinct from (new.created_at, new.start_at, new.end_at)
          and (old.id, old.title, old.description, old.hidden)
              is not distinct from (new.id, new.title, new.description, new.hidden))
    execute function sugang.test_search_updated();
create or replace trigger sugang_search_table_delete after delete on tests referencing old table as changed
    for each statement execute function sugang.test_search_deleted();
create or replace trigger sugang_search_table_truncate after truncate on tests
    for each statement execute function sugang.test_search_truncated();

-- ===== catalogue/search_vector (course)

-- One kind: the words of an item, for the Django service.
create or replace function sugang.course_search_vector() returns trigger language plpgsql as $$
begin
    new.search_vector := sugang.item_words(new.title, new.description);
    return new;
end $$;
create or replace trigger sugang_search_vector before insert or update of title, description on courses
    for each row execute function sugang.course_search_vector();

-- ===== catalogue/search_vector (test)

-- One kind: the words of an item, for the Django service.
create or replace function sugang.test_search_vector() returns trigger language plpgsql as $$
begin
    new.search_vector := sugang.item_words(new.title, new.description);
    return new;
end $$;
create or replace trigger sugang_search_vector before insert or update of title, description on tests
    for each row execute function sugang.test_search_vector();

-- ===== change_log

-- The history of what operators decide: see sugang.change_log. The triggers of items are in change_log_of_items.sql.

create or replace trigger append_only before update or delete or truncate on sugang.change_log
    for each statement execute function sugang.refuse_audit_log_change();

-- Writes down a change. Of an edit, only the fields that differ.
create or replace function sugang.log_change(p_subject text, p_id bigint, p_action text, p_before jsonb, p_after jsonb)
returns void language plpgsql as $$
begin
    if p_action = 'edited' then
        select jsonb_object_agg(key, b.value), jsonb_object_agg(key, a.value) into p_before, p_after
            from jsonb_each(p_before) b join jsonb_each(p_after) a using (key) where a.value <> b.value;
    end if;
    insert into sugang.change_log (subject, subject_id, action, before, after, actor_id, request_id)
        values (p_subject, p_id, p_action, p_before, p_after, sugang.actor(), sugang.request());
end $$;

-- Whether an item of any kind has this id and this version.
create or replace function sugang.is_version(p_id bigint, p_version text) returns boolean language plpgsql stable as $$
declare
    k record;
    found_version text;
begin
    for k in select kind from sugang.kinds loop
        execute format('select sugang.%I($1)', k.kind || '_version_of_id') into found_version using p_id;
        if found_version = p_version then return true; end if;
    end loop;
    return false;
end $$;

-- What is logged of a user.
create or replace function sugang.user_rights(u users) returns jsonb language sql stable as $$
    select jsonb_build_object('is_active', u.is_active, 'is_staff', u.is_staff, 'is_superuser', u.is_superuser)
$$;

create or replace function sugang.log_user_rights() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform sugang.log_change('user', new.id, 'created', null, sugang.user_rights(new));
    else
        perform sugang.log_change('user', new.id, 'edited', sugang.user_rights(old), sugang.user_rights(new));
    end if;
    return null;
end $$;
-- A sign-up makes no operator.
create or replace trigger sugang_change_log_insert after insert on users
    for each row when (new.is_staff or new.is_superuser) execute function sugang.log_user_rights();
create or replace trigger sugang_change_log_update after update of is_active, is_staff, is_superuser on users
    for each row
    when ((old.is_active, old.is_staff, old.is_superuser)
          is distinct from (new.is_active, new.is_staff, new.is_superuser))
    execute function sugang.log_user_rights();

-- ===== change_log_of_items (course)

-- One kind: the editable fields of its items, their version, and the triggers that log their changes.

-- The editable fields, in a form that depends on no setting of the session.
create or replace function sugang.course_fields(i courses) returns jsonb language sql stable as $$
    select jsonb_build_object('title', i.title, 'description', i.description, 'price', i.price::text,
                              'capacity', i.capacity, 'start_at', sugang.iso(i.start_at),
                              'end_at', sugang.iso(i.end_at), 'hidden', i.hidden)
$$;

-- The version of an item, its ETag: a digest of the editable fields, so an edit by any other program changes it too.
create or replace function sugang.course_version(i courses) returns text language sql stable as $$
    select substr(encode(sha256(convert_to(sugang.course_fields(i)::text, 'UTF8')), 'hex'), 1, 32)
$$;

create or replace function sugang.course_version_of_id(p_id bigint) returns text language sql stable as $$
    select sugang.course_version(i) from courses i where id = p_id
$$;

-- Once for a statement: a file of items, or a demo catalogue, is created in few of them.
create or replace function sugang.log_course_creation() returns trigger language plpgsql as $$
begin
    insert into sugang.change_log (subject, subject_id, action, actor_id, request_id)
        select 'course', id, 'created', sugang.actor(), sugang.request() from added;
    return null;
end $$;
create or replace trigger sugang_change_log_insert after insert on courses
    referencing new table as added
    for each statement execute function sugang.log_course_creation();

-- Of the editable fields, those in which an item differs from another version of it.
create or replace function sugang.course_changes(i courses, other courses) returns jsonb language sql stable as $$
    select case when i.title <> other.title then jsonb_build_object('title', i.title) else '{}' end
        || case when i.description is distinct from other.description
                then jsonb_build_object('description', i.description) else '{}' end
        || case when i.price <> other.price then jsonb_build_object('price', i.price::text) else '{}' end
        || case when i.capacity is distinct from other.capacity
                then jsonb_build_object('capacity', i.capacity) else '{}' end
        || case when i.start_at <> other.start_at
                then jsonb_build_object('start_at', sugang.iso(i.start_at)) else '{}' end
        || case when i.end_at <> other.end_at
                then jsonb_build_object('end_at', sugang.iso(i.end_at)) else '{}' end
        || case when i.hidden <> other.hidden then jsonb_build_object('hidden', i.hidden) else '{}' end
$$;

-- An item that gets another id is logged as one that goes and one that comes: nothing but the id says which versions
-- belong together. Without jit = off, PostgreSQL compiles the expressions for longer than it evaluates them.
create or replace function sugang.log_course_edits() returns trigger language plpgsql
set work_mem = '64MB' set jit = off as $$
begin
    -- Without offset 0, each mention of a field would make a row of all columns.
    insert into sugang.change_log (subject, subject_id, action, before, after, actor_id, request_id)
        select 'course', id, action, before,
               case action when 'edited' then sugang.course_changes(n.item, o.item) end, actor, request
        from (select id, r::courses as item from removed r offset 0) o
        full join (select id, a::courses as item from added a offset 0) n using (id)
        cross join (select sugang.actor() as actor, sugang.request() as request offset 0) by
        cross join lateral (
            select case when o.id is null then 'created' when n.id is null then 'deleted' else 'edited' end as action,
                   case when n.id is null then sugang.course_fields(o.item)
                        when o.id is not null then sugang.course_changes(o.item, n.item) end as before offset 0) c
        where before is distinct from '{}'
        order by id;
    return null;
end $$;
-- Once for a statement, except within a trigger, as in bucket_counts_of_items.sql. Neither it nor the trigger of a row
-- names columns, which would keep an operator from changing their types.
create or replace trigger sugang_change_log_update after update on courses
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.log_course_edits();

-- Within a trigger, for one row: see edited_items.sql.
create or replace function sugang.log_course_nested_edit(i_old courses, i_new courses) returns void
language plpgsql as $$
declare
    before jsonb;
begin
    if i_new.id <> i_old.id then
        perform sugang.log_change('course', i_old.id, 'deleted', sugang.course_fields(i_old), null);
        perform sugang.log_change('course', i_new.id, 'created', null, null);
        return;
    end if;
    before := sugang.course_changes(i_old, i_new);
    if before <> '{}' then
        perform sugang.log_change('course', i_new.id, 'edited', before, sugang.course_changes(i_new, i_old));
    end if;
end $$;

create or replace function sugang.log_course_deletion() returns trigger language plpgsql as $$
begin
    insert into sugang.change_log (subject, subject_id, action, before, actor_id, request_id)
        select 'course', id, 'deleted', sugang.course_fields(r), sugang.actor(), sugang.request() from removed r;
    return null;
end $$;
create or replace trigger sugang_change_log_delete after delete on courses
    referencing old table as removed
    for each statement execute function sugang.log_course_deletion();

-- ===== change_log_of_items (test)

-- One kind: the editable fields of its items, their version, and the triggers that log their changes.

-- The editable fields, in a form that depends on no setting of the session.
create or replace function sugang.test_fields(i tests) returns jsonb language sql stable as $$
    select jsonb_build_object('title', i.title, 'description', i.description, 'price', i.price::text,
                              'capacity', i.capacity, 'start_at', sugang.iso(i.start_at),
                              'end_at', sugang.iso(i.end_at), 'hidden', i.hidden)
$$;

-- The version of an item, its ETag: a digest of the editable fields, so an edit by any other program changes it too.
create or replace function sugang.test_version(i tests) returns text language sql stable as $$
    select substr(encode(sha256(convert_to(sugang.test_fields(i)::text, 'UTF8')), 'hex'), 1, 32)
$$;

create or replace function sugang.test_version_of_id(p_id bigint) returns text language sql stable as $$
    select sugang.test_version(i) from tests i where id = p_id
$$;

-- Once for a statement: a file of items, or a demo catalogue, is created in few of them.
create or replace function sugang.log_test_creation() returns trigger language plpgsql as $$
begin
    insert into sugang.change_log (subject, subject_id, action, actor_id, request_id)
        select 'test', id, 'created', sugang.actor(), sugang.request() from added;
    return null;
end $$;
create or replace trigger sugang_change_log_insert after insert on tests
    referencing new table as added
    for each statement execute function sugang.log_test_creation();

-- Of the editable fields, those in which an item differs from another version of it.
create or replace function sugang.test_changes(i tests, other tests) returns jsonb language sql stable as $$
    select case when i.title <> other.title then jsonb_build_object('title', i.title) else '{}' end
        || case when i.description is distinct from other.description
                then jsonb_build_object('description', i.description) else '{}' end
        || case when i.price <> other.price then jsonb_build_object('price', i.price::text) else '{}' end
        || case when i.capacity is distinct from other.capacity
                then jsonb_build_object('capacity', i.capacity) else '{}' end
        || case when i.start_at <> other.start_at
                then jsonb_build_object('start_at', sugang.iso(i.start_at)) else '{}' end
        || case when i.end_at <> other.end_at
                then jsonb_build_object('end_at', sugang.iso(i.end_at)) else '{}' end
        || case when i.hidden <> other.hidden then jsonb_build_object('hidden', i.hidden) else '{}' end
$$;

-- An item that gets another id is logged as one that goes and one that comes: nothing but the id says which versions
-- belong together. Without jit = off, PostgreSQL compiles the expressions for longer than it evaluates them.
create or replace function sugang.log_test_edits() returns trigger language plpgsql
set work_mem = '64MB' set jit = off as $$
begin
    -- Without offset 0, each mention of a field would make a row of all columns.
    insert into sugang.change_log (subject, subject_id, action, before, after, actor_id, request_id)
        select 'test', id, action, before,
               case action when 'edited' then sugang.test_changes(n.item, o.item) end, actor, request
        from (select id, r::tests as item from removed r offset 0) o
        full join (select id, a::tests as item from added a offset 0) n using (id)
        cross join (select sugang.actor() as actor, sugang.request() as request offset 0) by
        cross join lateral (
            select case when o.id is null then 'created' when n.id is null then 'deleted' else 'edited' end as action,
                   case when n.id is null then sugang.test_fields(o.item)
                        when o.id is not null then sugang.test_changes(o.item, n.item) end as before offset 0) c
        where before is distinct from '{}'
        order by id;
    return null;
end $$;
-- Once for a statement, except within a trigger, as in bucket_counts_of_items.sql. Neither it nor the trigger of a row
-- names columns, which would keep an operator from changing their types.
create or replace trigger sugang_change_log_update after update on tests
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.log_test_edits();

-- Within a trigger, for one row: see edited_items.sql.
create or replace function sugang.log_test_nested_edit(i_old tests, i_new tests) returns void
language plpgsql as $$
declare
    before jsonb;
begin
    if i_new.id <> i_old.id then
        perform sugang.log_change('test', i_old.id, 'deleted', sugang.test_fields(i_old), null);
        perform sugang.log_change('test', i_new.id, 'created', null, null);
        return;
    end if;
    before := sugang.test_changes(i_old, i_new);
    if before <> '{}' then
        perform sugang.log_change('test', i_new.id, 'edited', before, sugang.test_changes(i_new, i_old));
    end if;
end $$;

create or replace function sugang.log_test_deletion() returns trigger language plpgsql as $$
begin
    insert into sugang.change_log (subject, subject_id, action, before, actor_id, request_id)
        select 'test', id, 'deleted', sugang.test_fields(r), sugang.actor(), sugang.request() from removed r;
    return null;
end $$;
create or replace trigger sugang_change_log_delete after delete on tests
    referencing old table as removed
    for each statement execute function sugang.log_test_deletion();

-- ===== clock

-- A clock can be wrong for a while: it jumps years ahead or back, and is set right hours later. What is deleted
-- meanwhile because it seems old is lost, so age is measured by a clock that follows a jump ahead two days later.

-- What the clock is known to have done, as of p_moment. A day since the latest look is a jump, or the service was idle:
-- then what is old is kept a little longer, which loses nothing.
create or replace function sugang.clock_at(p_known sugang.clock, p_moment timestamptz) returns sugang.clock
language plpgsql stable as $$
begin
    if p_moment >= p_known.jumped_at + interval '2 days' or p_moment < p_known.jumped_at then
        p_known.jumped_at := null;
        p_known.jumped_by := '0';
    end if;
    if p_moment >= p_known.seen_at + interval '1 day' then
        p_known.jumped_by := p_known.jumped_by + (p_moment - p_known.seen_at);
        p_known.jumped_at := p_moment;
    end if;
    p_known.seen_at := p_moment;
    return p_known;
end $$;

-- The time by which age is measured. Looks at the clock, and notes it once in an hour; no session waits for another
-- one's note.
create or replace function sugang.steady_now() returns timestamptz language plpgsql as $$
declare
    known sugang.clock;
    latest sugang.clock;
    moment timestamptz := clock_timestamp();
begin
    select * into known from sugang.clock;
    -- Nothing to note, and no jump to follow.
    if known.jumped_at is null and moment between known.seen_at and known.seen_at + interval '1 hour' then
        return moment;
    end if;
    latest := sugang.clock_at(known, moment);
    if moment not between known.seen_at and known.seen_at + interval '1 hour' and sugang.keeps_counts() then
        select * into known from sugang.clock for update skip locked;
        if found then
            latest := sugang.clock_at(known, moment);
            update sugang.clock
                set seen_at = latest.seen_at, jumped_at = latest.jumped_at, jumped_by = latest.jumped_by;
        end if;
    end if;
    return moment - latest.jumped_by;
end $$;

-- ===== closings

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

-- ===== creation

-- What operators create many items with; see operator_import.sql.

-- How many items were created, or would be, and the ids of those that were.
create or replace function sugang.created_json(p_count integer, p_ids bigint[]) returns text
language sql immutable as $$
    select json_build_object('count', p_count, 'ids', coalesce(p_ids, '{}'))::text
$$;

-- Only names: PostgreSQL reads much else as a time zone, such as 'KST-9' or a misspelled name with a number in it.
create or replace function sugang.is_time_zone(p_name text) returns boolean language sql stable as $$
    select exists (select from pg_timezone_names where name = p_name)
$$;

-- ===== csv

-- CSV, as spreadsheets read it.

-- What an operator has entered for a payment; null for an id of this service's own.
create or replace function sugang.entered_reference(p_id text) returns text language sql immutable parallel safe as $$
    select case when not starts_with(p_id, 'sugang_') then p_id end
$$;

-- The rows of a page of an export. An item may have a long description, so a page has a tenth of as many.
create or replace function sugang.export_size() returns integer language sql immutable as $$
    select 5000
$$;

-- A cell that begins like a formula is defused by an apostrophe before it, and so is one that begins with such an
-- apostrophe, so that an import tells them apart.
create or replace function sugang.csv_quoted(p_text text) returns text language sql immutable parallel safe as $$
    select case when safe ~ E'[",\\r\\n]' then '"' || replace(safe, '"', '""') || '"' else safe end
    from (select case when p_text ~ E'^[-=+@\\t\\r'']' then '''' || p_text else p_text end) c (safe)
$$;

-- One expression, so that PostgreSQL puts it in place of the call.
create or replace function sugang.csv_cell(p_text text) returns text language sql immutable parallel safe as $$
    select case when p_text ~ E'^[-=+@\\t\\r'']|[",\\r\\n]' then sugang.csv_quoted(p_text) else p_text end
$$;

-- ===== definitions

-- What guards the data, as PostgreSQL writes it: functions, tables, triggers, constraints and unique indexes. The audit
-- compares it with what the last migration wrote down.

create or replace function sugang.guarded_tables() returns table (relation regclass) language sql stable as $$
    select oid::regclass from pg_class where relnamespace = 'sugang'::regnamespace and relkind = 'r'
    union
    select to_regclass(r.relation) from sugang.rights() r where to_regclass(r.relation) is not null
$$;

-- A definition without the parentheses that a restore takes away: `(a, b, c) is distinct from …` is kept as
-- `((a or b) or c)`, but its dump is read as `(a or b or c)`, which means the same.
create or replace function sugang.as_restored(p_definition text) returns text language plpgsql immutable as $$
declare
    -- An operand with its parentheses, which may hold others, three levels deep.
    operand constant text := E'\\((?:[^()]|\\((?:[^()]|\\((?:[^()]|\\([^()]*\\))*\\))*\\))*\\)';
    before text;
begin
    loop
        before := p_definition;
        p_definition := regexp_replace(
            p_definition, format(E'\\((%1$s(?: OR %1$s)+)\\) OR ', operand), E'\\1 OR ', 'g');
        p_definition := regexp_replace(
            p_definition, format(E'\\((%1$s(?: AND %1$s)+)\\) AND ', operand), E'\\1 AND ', 'g');
        exit when p_definition = before;
    end loop;
    return p_definition;
end $$;

create or replace function sugang.current_definitions() returns setof sugang.schema_definitions
language sql stable set search_path = public as $$
    with guarded as materialized (select relation from sugang.guarded_tables())
    select 'function', '', oid::regprocedure::text, encode(sha256(convert_to(pg_get_functiondef(oid), 'UTF8')), 'hex')
    from pg_proc
    where pronamespace = 'sugang'::regnamespace and prokind = 'f'
      and not exists (select from pg_depend
                      where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')
    union all
    select 'table', '', relation::text,
           concat_ws(' ', case relpersistence when 'u' then 'unlogged' else 'logged' end,
                     case when relrowsecurity then 'row security' end, case when relhasrules then 'rules' end)
    from guarded join pg_class on oid = relation
    union all
    select 'not null', relation::text, attname, 'not null'
    from guarded join pg_attribute on attrelid = relation
    where attnum > 0 and not attisdropped and attnotnull
    union all
    select 'trigger', relation::text, tgname,
           case tgenabled when 'O' then '' when 'A' then 'always ' when 'R' then 'on replicas only: '
                          else 'disabled: ' end || sugang.as_restored(pg_get_triggerdef(pg_trigger.oid))
    from guarded join pg_trigger on tgrelid = relation join pg_proc on pg_proc.oid = tgfoid
    where not tgisinternal and (pronamespace = 'sugang'::regnamespace or relation::text like 'sugang.%')
    union all
    -- A foreign key by what it says: Django names it in its own way, and an operator may let it cascade.
    select 'foreign key', relation::text,
           substring(pg_get_constraintdef(pg_constraint.oid) from E'^.*?\\)(?= ON | DEF| NOT|$)'),
           case when convalidated then 'validated' else 'not validated' end
    from guarded join pg_constraint on conrelid = relation
    where contype = 'f'
    union all
    select 'constraint', relation::text, conname, sugang.as_restored(pg_get_constraintdef(pg_constraint.oid))
    from guarded join pg_constraint on conrelid = relation
    where contype in ('c', 'p', 'u', 'x')
    union all
    select 'index', indrelid::regclass::text, indexrelid::regclass::text,
           sugang.as_restored(pg_get_indexdef(indexrelid))
           || case when indisvalid and indisready and indislive then '' else ' invalid' end
    from guarded join pg_index on indrelid = relation
    where indisunique
      and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u', 'x'))
$$;

-- Another version of PostgreSQL may write the same definition in another way.
create or replace function sugang.server_major() returns text language sql stable as $$
    select (current_setting('server_version_num')::integer / 10000)::text
$$;

-- ===== deliveries

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

-- ===== deposit_reversal

-- A deposit that its bank takes back after it has arrived: the gateway waits for it again. Nothing else makes an order
-- that was paid unpaid.

-- The order whose deposit is being taken back; null in every other statement.
create or replace function sugang.reversed_order() returns bigint language sql stable as $$
    select nullif(current_setting('sugang.reversed_order', true), '')::bigint
$$;

-- What is known of an attempt whose deposit is being taken back.
create or replace function sugang.facts_of_reversal(p_facts jsonb, p_payment bigint) returns jsonb
language sql volatile as $$
    select (coalesce(p_facts, '{}') - 'difference') || jsonb_build_object(
        'taken_back', coalesce(p_facts -> 'taken_back', '[]') || to_jsonb(p_payment),
        'taken_back_at', clock_timestamp())
$$;

-- Books the money out, ends the payment, and cancels the registration unless it is completed: that is for operators to
-- decide. While there is time for another deposit, the order holds its seat again. Returns whether anything was done: a
-- payment that has ended otherwise stays as it is.
create or replace function sugang.take_deposit_back(o sugang.orders, t sugang.payment_attempts, p_facts jsonb)
returns boolean language plpgsql as $$
declare
    payment payments;
    due timestamptz := (p_facts ->> 'due_at')::timestamptz;
    keeps_seat boolean;
begin
    select * into payment from payments where id = t.payment_id for update;
    -- A refund that is under way is settled first.
    if payment.status is distinct from 'paid' or o.payment_id is distinct from payment.id
       or (sugang.refund_under_way(payment.id)).id is not null
       or exists (select from sugang.payment_attempts where order_id = o.id and is_live) then
        return false;
    end if;
    perform set_config('sugang.reversed_order', o.id::text, true);
    perform from users where id = o.user_id for key share;
    -- First, so that no gateway holds the money any more when the payment ends.
    update sugang.payment_attempts
        set status = 'void', payment_id = null, captured = null, due_at = coalesce(due, due_at), reconcile_at = null,
            code = 'deposit_taken_back',
            facts = sugang.facts_of_reversal(facts, payment.id)
        where id = t.id;
    execute format('select sugang.%I($1)', 'release_' || o.kind || '_of_order') into keeps_seat using o;
    update payments
        set status = 'cancelled', cancelled_at = greatest(clock_timestamp(), paid_at),
            refund_reason = 'the deposit was taken back', history_entries = history_entries + 1
        where id = payment.id;
    if keeps_seat and due > clock_timestamp() then
        update sugang.orders
            set status = 'awaiting_deposit', expires_at = due, payment_id = null, registration_id = null
            where id = o.id;
        update sugang.payment_attempts set status = 'waiting', ended_at = null, lease_until = null where id = t.id;
    else
        update sugang.orders set status = 'expired', payment_id = null, registration_id = null where id = o.id;
    end if;
    perform set_config('sugang.reversed_order', '', true);
    return true;
end $$;

-- The same for a deposit that is owed back already, because it was set aside or its payment has ended: its bank has
-- given it back. Returns whether anything was done. The money stays with an attempt of its own: the gateway waits for
-- the deposit under the same reference again, and what comes then is another payment.
create or replace function sugang.take_owed_deposit_back(t sugang.payment_attempts) returns boolean
language plpgsql as $$
declare
    kept bigint;
begin
    -- A part that is owed besides is left to a person: the gateway knows it by the attempt as it is.
    if exists (select from sugang.refunds
               where payment_id = t.payment_id and status in ('requested', 'sent') and not ends_payment) then
        return false;
    end if;
    update sugang.refunds
        set status = 'done', reference = 'deposit_taken_back', due_at = null, account = null, code = null
        where payment_id = t.payment_id and status = 'requested' and ends_payment;
    if not found then return false; end if;
    update sugang.payment_attempts
        set status = 'void', payment_id = null, captured = null, reconcile_at = null, code = 'deposit_taken_back',
            facts = sugang.facts_of_reversal(facts, t.payment_id)
        where id = t.id;
    insert into sugang.payment_attempts (order_id, gateway, reference, amount, status, captured, payment_id)
        values (t.order_id, t.gateway, t.reference || '_' || t.payment_id, t.amount, t.status, t.captured, t.payment_id)
        returning id into kept;
    update sugang.payment_attempts
        set code = 'deposit_taken_back', due_at = t.due_at, sent_at = t.sent_at, ended_at = t.ended_at, facts = t.facts
        where id = kept;
    return true;
end $$;

-- ===== derived

-- What the triggers of all kinds have in common.

-- Whether sugang.recount_...() is counting again. Any role can set this setting, so it counts only for the owner of the
-- tables, and for what a trigger does: no other role gets past a guard or the history by it.
create or replace function sugang.recounts() returns boolean language plpgsql stable as $$
begin
    if coalesce(current_setting('sugang.recount', true), '') <> 'on' then return false; end if;
    if pg_trigger_depth() = 1
       and not pg_has_role(session_user, (select nspowner from pg_namespace where nspname = 'sugang'), 'member') then
        raise insufficient_privilege using message = 'only the owner of the tables may set sugang.recount';
    end if;
    return true;
end $$;

-- The audit tells a capacity that an operator has lowered from a seat sold twice by what was taken since.
create or replace function sugang.note_capacity_change() returns trigger language plpgsql as $$
begin
    new.capacity_changed_at := clock_timestamp();
    return new;
end $$;

-- ===== edited_items (course)

-- One kind: what an edit of an item leaves behind, a row at a time: its history within a trigger, and its events. One
-- trigger for both, since a call costs more than what there is to do for most of them: a seat that is taken or given
-- back.
create or replace function sugang.course_edited() returns trigger language plpgsql as $$
begin
    -- By itself, a statement is logged by sugang_change_log_update. What counts seats sets none of the fields, and another
    -- id has other seats.
    if pg_trigger_depth() > 1
       and (new.id <> old.id
            or new.registration_count = old.registration_count and new.held_count = old.held_count) then
        perform sugang.log_course_nested_edit(old, new);
    end if;
    if pg_sequence_last_value('sugang.webhooks_id_seq') is not null and sugang.has_webhooks() then
        perform sugang.publish_course_edit(old, new);
    end if;
    return null;
end $$;
create or replace trigger sugang_edited after update on courses
    for each row execute function sugang.course_edited();

-- ===== edited_items (test)

-- One kind: what an edit of an item leaves behind, a row at a time: its history within a trigger, and its events. One
-- trigger for both, since a call costs more than what there is to do for most of them: a seat that is taken or given
-- back.
create or replace function sugang.test_edited() returns trigger language plpgsql as $$
begin
    -- By itself, a statement is logged by sugang_change_log_update. What counts seats sets none of the fields, and another
    -- id has other seats.
    if pg_trigger_depth() > 1
       and (new.id <> old.id
            or new.registration_count = old.registration_count and new.held_count = old.held_count) then
        perform sugang.log_test_nested_edit(old, new);
    end if;
    if pg_sequence_last_value('sugang.webhooks_id_seq') is not null and sugang.has_webhooks() then
        perform sugang.publish_test_edit(old, new);
    end if;
    return null;
end $$;
create or replace trigger sugang_edited after update on tests
    for each row execute function sugang.test_edited();

-- ===== figures

-- Figures, for operators: registrations of the history, and money of the ledger, as they stand in the books.

-- The movements of money for one item, all of them: the keys of the ledger lead to each source of a payment.
create or replace function sugang.ledger_of_item(p_kind text, p_item bigint) returns setof sugang.ledger
language sql stable as $$
    with of_item as materialized (
        select id from payments
        where object_id = p_item and content_type_id = (select content_type_id from sugang.kinds where kind = p_kind)
    )
    select l.* from of_item p join sugang.ledger l on l.source = 'payment' and l.source_id = p.id
    union all
    select l.* from of_item p join sugang.refunds r on r.payment_id = p.id
        join sugang.ledger l on l.source = 'refund' and l.source_id = r.id
    union all
    select l.* from of_item p join sugang.audit_log h on h.subject = 'payment' and h.subject_id = p.id
        join sugang.ledger l on l.source = 'history' and l.source_id = h.id
$$;

-- The movements of money in a span of time: all, those for a kind, or those for an item. For all of them, the planner
-- leaves the join out.
create or replace function sugang.ledger_between(p_not_before timestamptz, p_before timestamptz, p_kind text,
                                                 p_item bigint)
returns setof sugang.ledger language sql stable as $$
    select l.* from sugang.ledger l left join payments p on p.id = l.payment_id
    where p_item is null and l.at >= p_not_before and l.at < p_before
      and (p_kind is null
           or p.content_type_id = (select content_type_id from sugang.kinds where kind = p_kind))
    union all
    select * from sugang.ledger_of_item(p_kind, p_item)
    where p_item is not null and at >= p_not_before and at < p_before
$$;

-- The days from p_from to p_to (UTC, both inclusive), with their sums. The conditions are decided while the statement
-- is planned.
create or replace function sugang.figures(p_function text, p_user bigint, p_from text, p_to text, p_kind text,
                                          p_item text, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 set work_mem = '64MB' as $$
declare
    a sugang.function_row;
    not_before timestamptz;
    before timestamptz;
    item bigint := p_item::bigint;
begin
    if p_function is distinct from 'figures' then perform sugang.misrouted(p_function, 'figures'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    not_before := coalesce(sugang.day_begin(p_from), '-infinity');
    before := coalesce(sugang.day_end(p_to), 'infinity');
    a.outcome := 'ok';
    with money as (
        select (sugang.readable_time(at) at time zone 'UTC')::date as day,
               sum(amount) filter (where debit = 'cash') as money_in,
               sum(amount) filter (where credit = 'cash') as money_out
        from sugang.ledger_between(not_before, before, p_kind, item) group by 1
    ), seats as (
        select (sugang.readable_time(at) at time zone 'UTC')::date as day,
               sum(seats) filter (where seats > 0) as registered, -sum(seats) filter (where seats < 0) as cancelled
        from sugang.audit_log
        where at >= not_before and at < before and seats <> 0
          and (p_kind is null or subject = p_kind) and (item is null or item_id = item)
        group by 1
    )
    select json_build_object('days', json_agg(json_build_object(
            'day', day::date, 'registered', coalesce(registered, 0), 'cancelled', coalesce(cancelled, 0),
            'money_in', coalesce(money_in, 0.00)::text, 'money_out', coalesce(money_out, 0.00)::text) order by day),
        'registered', coalesce(sum(registered), 0), 'cancelled', coalesce(sum(cancelled), 0),
        'money_in', coalesce(sum(money_in), 0.00)::text, 'money_out', coalesce(sum(money_out), 0.00)::text)::text
        into a.body
        from (select generate_series(p_from::timestamp, p_to::timestamp, interval '1 day')::date as day) days
        left join money using (day) left join seats using (day);
    return a;
end $$;

-- ===== figures_of_item (course)

-- One kind: the figures of one item, for operators.
create or replace function sugang.get_course_figures(p_function text, p_user bigint, p_id bigint,
                                                     p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 set work_mem = '64MB' as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_course_figures' then
        perform sugang.misrouted(p_function, 'get_course_figures');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select json_build_object(
            'id', i.id, 'registered', s.registered, 'completed', s.completed, 'cancelled', s.cancelled,
            'capacity', i.capacity,
            'remaining', sugang.seats_left(i.capacity, i.registration_count, i.held_count),
            'over_capacity', greatest(i.registration_count - i.capacity, 0),
            'money_in', m.money_in::text, 'money_out', m.money_out::text)::text
        into a.body
        from courses i
        cross join (
            select count(*) filter (where status = 'enrolled') as registered,
                   count(*) filter (where status = 'completed') as completed,
                   count(*) filter (where status = 'cancelled') as cancelled
            from course_registrations where course_id = p_id) s
        cross join (
            select coalesce(sum(amount) filter (where debit = 'cash'), 0.00) as money_in,
                   coalesce(sum(amount) filter (where credit = 'cash'), 0.00) as money_out
            from sugang.ledger_of_item('course', p_id)) m
        where i.id = p_id;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- ===== figures_of_item (test)

-- One kind: the figures of one item, for operators.
create or replace function sugang.get_test_figures(p_function text, p_user bigint, p_id bigint,
                                                     p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 set work_mem = '64MB' as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_test_figures' then
        perform sugang.misrouted(p_function, 'get_test_figures');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select json_build_object(
            'id', i.id, 'registered', s.registered, 'completed', s.completed, 'cancelled', s.cancelled,
            'capacity', i.capacity,
            'remaining', sugang.seats_left(i.capacity, i.registration_count, i.held_count),
            'over_capacity', greatest(i.registration_count - i.capacity, 0),
            'money_in', m.money_in::text, 'money_out', m.money_out::text)::text
        into a.body
        from tests i
        cross join (
            select count(*) filter (where status = 'applied') as registered,
                   count(*) filter (where status = 'completed') as completed,
                   count(*) filter (where status = 'cancelled') as cancelled
            from test_registrations where test_id = p_id) s
        cross join (
            select coalesce(sum(amount) filter (where debit = 'cash'), 0.00) as money_in,
                   coalesce(sum(amount) filter (where credit = 'cash'), 0.00) as money_out
            from sugang.ledger_of_item('test', p_id)) m
        where i.id = p_id;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- ===== gateway_events

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

-- ===== gateway_refunds

-- Refunds over a gateway: in three steps, as an order is paid (order_payments.sql). The first locks the payment, checks
-- it, and writes a refund that is `sent`; the second is the call, while no transaction is open; the third settles what
-- the gateway has said. Until then the payment stays paid, and the user keeps the seat. A request, the sweep and an
-- event settle by the same function, which takes effect once.
--
-- A refund that is written before its payment has ended is a part of it, also where it is all that is left: so the sum
-- of the parts, which the row of the payment holds, is never more than what was paid, whatever runs at once.

-- Whether a gateway gives money back when it is asked. Of the others, a person does.
create or replace function sugang.gives_back(p_gateway text) returns boolean language sql immutable as $$
    select p_gateway in ('toss', 'portone', 'kakaopay', 'stripe')
$$;

-- Whether a gateway may show a refund without the key that was sent along. It is then told from another one of that
-- amount by what was shown before it was sent: so it is looked up first.
create or replace function sugang.may_lack_key(p_gateway text) returns boolean language sql immutable as $$
    select p_gateway = 'kakaopay'
$$;

-- The attempt by which such a gateway holds the money of a payment.
create or replace function sugang.attempt_at_gateway(p_payment bigint) returns sugang.payment_attempts
language sql stable as $$
    select t from sugang.payment_attempts t where payment_id = p_payment and sugang.gives_back(gateway)
$$;

-- A deposit went over a virtual account, which takes nothing back: a gateway has to be told where the money goes.
create or replace function sugang.needs_account(t sugang.payment_attempts) returns boolean language sql immutable as $$
    select sugang.gives_back(t.gateway)
        -- It may have arrived before it was known to be waited for.
        and (t.due_at is not null or coalesce((t.facts ->> 'deposit')::boolean, false))
$$;

-- The refund of a payment that is under way.
create or replace function sugang.refund_under_way(p_payment bigint) returns sugang.refunds language sql stable as $$
    select r from sugang.refunds r where payment_id = p_payment and status = 'sent'
$$;

-- Locks a payment with all that concerns its user and item. The lock is that of the user's own requests for the item.
create or replace function sugang.lock_payment(p_id bigint) returns payments language plpgsql as $$
declare
    p payments;
    lock_name text;
begin
    select * into p from payments where id = p_id;
    if p.id is not null then
        lock_name := coalesce((select kind from sugang.kinds where content_type_id = p.content_type_id), p.payment_type)
                     || ' ' || p.object_id;
        perform pg_advisory_xact_lock(hashtextextended(lock_name, p.user_id));
        select * into p from payments where id = p_id for update;
    end if;
    return p;
end $$;

-- Ends a payment whose money has gone back. What is completed stays, and an inactive user is no obstacle: as if another
-- program cancelled the payment. A clock may have been set back.
create or replace function sugang.end_payment(p payments, p_reason text, p_keep_registration boolean) returns void
language plpgsql as $$
begin
    update payments
        set status = 'cancelled', cancelled_at = greatest(clock_timestamp(), paid_at), refund_reason = p_reason,
            history_entries = history_entries + 1
        where id = p.id;
    if not p_keep_registration then
        perform sugang.release_unpaid_seats(array[p.content_type_id], array[p.user_id], array[p.object_id]);
    end if;
end $$;

-- What is sent to a gateway, or looked up there. `cancellable`: what it can still give back, if nothing was given back
-- at its own console; `returned`: what it has given back, as far as that is noted. `tries` is 0 where it is looked up
-- before it is sent.
create or replace function sugang.refund_to_send(r sugang.refunds) returns text language sql stable as $$
    select json_build_object(
        'refund', r.id, 'payment', r.payment_id, 'amount', r.amount::text, 'idempotency_key', r.idempotency_key,
        'tries', r.tries, 'account', r.account,
        'external_id', coalesce(t.facts ->> 'external_id', t.gateway_key, t.reference),
        'cancellable', (t.captured - n.returned)::text, 'returned', (n.returned + sugang.given_back_before(t))::text,
        'attempt', sugang.attempt_json(t, o))::text
    from sugang.payment_attempts t join sugang.orders o on o.id = t.order_id
    cross join lateral (
        select coalesce(sum(amount), 0) as returned from sugang.refunds
        where payment_id = r.payment_id and gateway_id is not null and sugang.is_given_back(status)) n
    where t.payment_id = r.payment_id
$$;

-- A request whose key is still that of a refund has not been repeated: the key has expired.
create or replace function sugang.free_expired_key(p_ask sugang.refunds) returns void language sql as $$
    update sugang.refunds set request_key = null, request_fingerprint = null
        where requested_by = p_ask.requested_by and request_key = p_ask.request_key
$$;

-- Step 1, for a payment that is locked: r says how much goes back, why and for whom.
create or replace function sugang.begin_refund(r sugang.refunds, t sugang.payment_attempts, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    -- Elsewhere the money goes back to where it came from, whatever the request says.
    if not sugang.needs_account(t) then
        r.account := null;
    elsif r.account is null then
        a.outcome := 'account_required';
        return a;
    end if;
    perform sugang.free_expired_key(r);
    insert into sugang.refunds (payment_id, amount, status, cancels_payment, keeps_registration, reason, requested_by,
                                account, request_key, request_fingerprint, idempotency_key, tries, due_at)
        values (r.payment_id, r.amount, 'sent', r.cancels_payment, coalesce(r.keeps_registration, false), r.reason,
                r.requested_by, r.account, r.request_key, r.request_fingerprint, sugang.new_reference(),
                case when sugang.may_lack_key(t.gateway) then 0 else 1 end, sugang.lease_end(p_lease, 0))
        returning * into r;
    a.outcome := 'send';
    a.body := sugang.refund_to_send(r);
    return a;
end $$;

-- What of a payment that has ended waits for a person: the gateway had refused it, or did not know where the money
-- goes.
create or replace function sugang.refund_waiting(p_payment bigint) returns sugang.refunds language sql stable as $$
    select r from sugang.refunds r
    where payment_id = p_payment and status = 'requested' and code is not null
    order by code <> 'account_required', id limit 1
$$;

-- Sends what is owed, once a person has decided about it. The key of their request becomes that of the refund.
create or replace function sugang.begin_owed_refund(r sugang.refunds, t sugang.payment_attempts, p_ask sugang.refunds,
                                                    p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    a.outcome := case
        when r.id is null then 'already_cancelled'
        when sugang.needs_account(t) and coalesce(p_ask.account, r.account) is null then 'account_required'
    end;
    if a.outcome is not null then return a; end if;
    perform sugang.keep_refund_answer(r);
    perform sugang.free_expired_key(p_ask);
    update sugang.refunds
        set status = 'sent', code = null, tries = 1,
            account = case when sugang.needs_account(t) then coalesce(p_ask.account, account) end,
            requested_by = p_ask.requested_by, requested_at = clock_timestamp(), request_key = p_ask.request_key,
            request_fingerprint = p_ask.request_fingerprint, idempotency_key = sugang.new_reference(),
            due_at = sugang.lease_end(p_lease, 0)
        where payment_id = r.payment_id and id = r.id returning * into r;
    a.outcome := 'send';
    a.body := sugang.refund_to_send(r);
    return a;
end $$;

-- What has become of a refund over a gateway, as its request is answered.
create or replace function sugang.refund_answer(r sugang.refunds) returns sugang.function_row
language plpgsql stable as $$
declare
    a sugang.function_row;
    p payments;
    kind text;
    registration text;
begin
    select * into p from payments where id = r.payment_id;
    select k.kind into kind from sugang.kinds k where content_type_id = p.content_type_id;
    if kind is not null and p.registration_id is not null then
        execute format('select sugang.%I(array[$1])', kind || '_registration_json')
            into registration using p.registration_id;
    end if;
    a.outcome := case
        when sugang.is_given_back(r.status) then 'ok'
        when r.code is not null and r.status in ('refused', 'requested') then 'refund_declined'
        else 'accepted'
    end;
    a.body := json_build_object(
        'payment_id', r.payment_id, 'refund_id', r.id, 'amount', r.amount::text, 'status', r.status, 'code', r.code,
        'left', sugang.left_to_refund(p)::text, 'cancelled_at', sugang.iso(p.cancelled_at),
        'registration', registration::json)::text;
    return a;
end $$;

-- The answer to a request that is repeated under its key. It stands in the row of the refund, not under the key: the
-- outcome may come to be known after the request has been answered.
create or replace function sugang.repeated_refund(p_user bigint, p_key text, p_fingerprint text)
returns sugang.function_row language plpgsql stable as $$
declare
    a sugang.function_row;
    r sugang.refunds;
begin
    if p_key is null then return a; end if;
    select * into r from sugang.refunds where requested_by = p_user and request_key = p_key;
    if r.id is null or r.requested_at < sugang.steady_now() - sugang.idempotency_lifetime() then return a; end if;
    if r.request_fingerprint is distinct from p_fingerprint then
        a.outcome := 'key_reused';
        return a;
    end if;
    a := sugang.refund_answer(r);
    a.replayed := true;
    return a;
end $$;

-- Keeps the answer to the request that had asked for a refund, which another request takes over.
create or replace function sugang.keep_refund_answer(r sugang.refunds) returns void language plpgsql as $$
declare
    a sugang.function_row := sugang.repeated_refund(r.requested_by, r.request_key, r.request_fingerprint);
begin
    -- An operator's account may be gone by now.
    if a.outcome is not null and exists (select from users where id = r.requested_by) then
        perform sugang.end_idempotent(r.requested_by, r.request_key, r.request_fingerprint, a);
    end if;
end $$;

-- What a request asks for, as far as it is the same for all of them.
create or replace function sugang.asked_refund(p_user bigint, p_reason text, p_account text, p_key text,
                                               p_fingerprint text)
returns sugang.refunds language plpgsql immutable as $$
declare
    r sugang.refunds;
begin
    r.requested_by := p_user;
    r.reason := p_reason;
    r.account := p_account::jsonb;
    r.request_key := p_key;
    r.request_fingerprint := case when p_key is not null then p_fingerprint end;
    return r;
end $$;

-- Ends a request that may have begun a refund: what a gateway has to answer first is not kept under the key.
create or replace function sugang.end_refund(p_user bigint, p_key text, p_fingerprint text,
                                             p_row sugang.function_row)
returns sugang.function_row language plpgsql as $$
begin
    if p_row.outcome in ('send', 'accepted', 'account_required', 'refund_in_progress', 'refund_declined') then
        return p_row;
    end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, p_row);
end $$;

-- Step 3. p_outcome:
--   shown    what the gateway shows, after it was asked to give back
--   found    the same before it is asked: what it does not show is sent, or refused if the gateway has too little left
--            for the first try
--   refused  the gateway will surely not give it back; facts: code
--   unknown  nothing is known yet; the seat stays, and the sweep looks it up
-- Each may have in its facts what the gateway shows (`refunds`), which counts first.
create or replace function sugang.do_settle_refund(p_payment bigint, p_refund bigint, p_outcome text, p_facts jsonb,
                                                   p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    p payments;
    r sugang.refunds;
    own_state text;
begin
    p := sugang.lock_payment(p_payment);
    own_state := sugang.note_refunds(p_payment, p_refund, coalesce(p_facts -> 'refunds', '[]'));
    select * into r from sugang.refunds where payment_id = p_payment and id = p_refund for update;
    -- Another program has made the payment paid again: what the gateway shows is noted, and nothing is owed.
    if r.status = 'refused' and p_outcome <> 'unknown' then
        update sugang.refunds set due_at = null where payment_id = p_payment and id = p_refund and due_at is not null;
    end if;
    if r.status not in ('requested', 'sent') or own_state = 'pending' then return sugang.refund_answer(r); end if;
    if p_outcome = 'found' and r.status = 'sent' and r.tries = 0
       and r.amount > sugang.left_at_gateway(p_payment, p_facts -> 'refunds') then
        p_outcome := 'refused';
        p_facts := p_facts || '{"code": "exceeds_what_is_left"}';
    end if;
    if p_outcome = 'refused' or own_state = 'failed' then
        -- What is owed stays owed, and a person decides how it is given back: to the same account, or to another one.
        update sugang.refunds
            set status = case when p.status = 'paid' then 'refused' else 'requested' end,
                code = coalesce(p_facts ->> 'code', 'FAILED'), due_at = null,
                account = case when p.status <> 'paid' then account end
            where payment_id = p_payment and id = p_refund returning * into r;
        -- What had no room beside it.
        perform sugang.note_refunds(p_payment, p_refund, coalesce(p_facts -> 'refunds', '[]'));
    elsif p_outcome = 'found'
        and (r.status = 'sent' or (sugang.refund_under_way(p_payment)).id is null) then
        update sugang.refunds
            set status = 'sent', idempotency_key = coalesce(idempotency_key, sugang.new_reference()), tries = tries + 1,
                due_at = sugang.lease_end(p_lease, tries)
            where payment_id = p_payment and id = p_refund returning * into r;
        a.outcome := 'send';
        a.body := sugang.refund_to_send(r);
        return a;
    elsif p_outcome not in ('shown', 'found', 'unknown') then
        raise invalid_parameter_value using message = format('unknown outcome %s of refund %s', p_outcome, p_refund);
    end if;
    return sugang.refund_answer(r);
end $$;

create or replace function sugang.settle_refund(p_function text, p_payment bigint, p_refund bigint, p_outcome text,
                                                p_facts text, p_lease_ms bigint, p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    by_user bigint;
begin
    if p_function is distinct from 'settle_refund' then perform sugang.misrouted(p_function, 'settle_refund'); end if;
    select coalesce(r.requested_by, p.user_id) into by_user
        from sugang.refunds r left join payments p on p.id = r.payment_id
        where r.payment_id = p_payment and r.id = p_refund;
    if not found then
        a.outcome := 'not_found';
        return a;
    end if;
    perform sugang.set_actor(by_user, p_request_id);
    return sugang.do_settle_refund(p_payment, p_refund, p_outcome, p_facts::jsonb,
                                   make_interval(secs => p_lease_ms / 1e3));
end $$;

-- Claims up to p_limit refunds that no process looks after: those that are owed, and those that were sent and not
-- settled within their lease.
create or replace function sugang.claim_refunds(p_function text, p_limit bigint, p_lease_ms bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'claim_refunds' then perform sugang.misrouted(p_function, 'claim_refunds'); end if;
    with due as (
        select payment_id, id from sugang.refunds
        where due_at < clock_timestamp() order by due_at limit p_limit for update skip locked
    ), claimed as (
        update sugang.refunds r
            set due_at = sugang.lease_end(make_interval(secs => p_lease_ms / 1e3), r.tries)
            from due where (r.payment_id, r.id) = (due.payment_id, due.id) returning r as refund, r.id
    )
    select 'ok', '[' || coalesce(string_agg(sugang.refund_to_send(refund), ',' order by id), '') || ']'
        into a.outcome, a.body from claimed;
    return a;
end $$;

-- For the answer of the sweep: how many refunds wait for a person, and when the next one is due.
create or replace function sugang.refund_figures(p_function text) returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'refund_figures' then perform sugang.misrouted(p_function, 'refund_figures'); end if;
    a.outcome := 'ok';
    a.body := json_build_object('refunds_waiting', (
        select count(*) from sugang.refunds where status = 'requested' and code is not null))::text;
    return a;
end $$;

-- ===== idempotency

-- What every change has in common: authorization, the actor for the audit log, and the idempotency key.

create or replace function sugang.idempotency_lifetime() returns interval language sql immutable as $$
    select interval '24 hours'
$$;

-- Begins a change. A null outcome means that the caller makes the change; any other row is the result to return.
create or replace function sugang.begin_idempotent(p_user bigint, p_epoch bigint, p_request_id text, p_key text,
                                                   p_fingerprint text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    stored sugang.idempotency_keys;
begin
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    perform sugang.set_actor(p_user, p_request_id);
    if p_key is null then return a; end if;
    -- Held until the effect commits: a request that does not get the lock has met the first one still at work.
    -- The prefix keeps a key that reads like an item apart from the lock of that item.
    if not pg_try_advisory_xact_lock(hashtextextended('key ' || p_key, p_user)) then
        a.outcome := 'in_progress';
        return a;
    end if;
    select * into stored from sugang.idempotency_keys where user_id = p_user and key = p_key;
    if found and stored.created_at > sugang.steady_now() - sugang.idempotency_lifetime() then
        if stored.fingerprint = p_fingerprint then
            -- A request whose answer was not known goes on: see sugang.begin_approval.
            a.outcome := nullif(stored.outcome, 'send');
            a.body := stored.body;
            a.replayed := a.outcome is not null;
        else
            a.outcome := 'key_reused';
        end if;
    -- A refund over a gateway keeps its key itself: see sugang.repeated_refund.
    elsif exists (select from sugang.refunds
                  where requested_by = p_user and request_key = p_key and request_fingerprint <> p_fingerprint
                    and requested_at > sugang.steady_now() - sugang.idempotency_lifetime()) then
        a.outcome := 'key_reused';
    -- An expired key is written over at the end, when the row of an item is locked.
    elsif stored.key is not null then
        perform from sugang.idempotency_keys where user_id = p_user and key = p_key for update;
    end if;
    return a;
end $$;

-- Ends a change: stores its result under the key, and deletes a few expired keys, so no scheduled job is needed. A
-- change that ends in another transaction than it began in may find its key expired and used by another request, whose
-- result stays.
create or replace function sugang.end_idempotent(p_user bigint, p_key text, p_fingerprint text,
                                                 p_row sugang.function_row)
returns sugang.function_row language plpgsql as $$
begin
    -- A 403 is never stored: it depends on the user, not on what has happened. Nor is a form with wrong fields, an
    -- outdated version, or the key of another payment, which the client may correct under the same key.
    if p_key is not null
        and p_row.outcome not in (
            'not_owner', 'not_superuser', 'own_account', 'invalid_fields', 'invalid_rows', 'changed', 'key_used') then
        insert into sugang.idempotency_keys as k (user_id, key, fingerprint, outcome, body, created_at)
            values (p_user, p_key, p_fingerprint, p_row.outcome, p_row.body, clock_timestamp())
            on conflict (user_id, key) do update
                set fingerprint = excluded.fingerprint, outcome = excluded.outcome, body = excluded.body,
                    created_at = excluded.created_at
                where k.fingerprint = excluded.fingerprint
                   or k.created_at <= sugang.steady_now() - sugang.idempotency_lifetime();
        delete from sugang.idempotency_keys where ctid = any (array(
            select ctid from sugang.idempotency_keys
            -- A day later, since a shorter jump of the clock is not recognized. Asked once, so that the index finds the
            -- rows.
            where created_at < (select sugang.steady_now()) - sugang.idempotency_lifetime() - interval '1 day'
            order by created_at limit 10 for update skip locked));
    end if;
    return p_row;
end $$;

-- ===== ledger

-- Refunds, and the ledger of all money.
--
-- The triggers of payments write both, whichever program changes a payment: a payment that appears is captured, and one
-- that is no longer paid gives back what is left of it. Where no order has brought the money, that is all there is to
-- do, and a refund is `done` when it is written; else it is `requested`, and gateway_refunds.sql sends it, or an
-- operator notes that it was paid out. Only a refund of a part is a row that a function writes; its trigger adds it to
-- the payment.

create or replace trigger append_only before update or delete or truncate on sugang.ledger
    for each statement execute function sugang.refuse_audit_log_change();
create or replace trigger append_only before delete or truncate on sugang.refunds
    for each statement execute function sugang.refuse_audit_log_change();

-- Whether a refund with this status has moved money.
create or replace function sugang.is_given_back(p_status text) returns boolean
language sql immutable parallel safe as $$
    select p_status in ('done', 'external')
$$;

-- What was given back of a payment.
create or replace function sugang.given_back(p_payment bigint) returns numeric language sql stable as $$
    select coalesce(sum(amount), 0) from sugang.refunds
    where payment_id = p_payment and sugang.is_given_back(status)
$$;

-- Books what was paid. False for an id that was booked before: it was deleted, and comes back.
create or replace function sugang.book_capture(p_payment bigint, p_amount numeric, p_at timestamptz, p_actor bigint,
                                               p_request_id text)
returns boolean language plpgsql as $$
begin
    -- Nothing was paid for a free item.
    if p_amount = 0 then return true; end if;
    insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount, actor_id, request_id)
        values (p_at, 'payment', p_payment, 'captured', p_payment, 'cash', 'sales', p_amount, p_actor, p_request_id)
        on conflict do nothing;
    return found;
end $$;

-- The status of a refund that no gateway was asked for yet.
create or replace function sugang.first_refund_status(p_payment bigint) returns text language sql stable as $$
    select case when exists (select from sugang.payment_attempts where payment_id = p_payment) then 'requested'
                else 'done' end
$$;

-- Gives back what is left of a payment that is no longer paid: in the statement that changes its status.
create or replace function sugang.give_rest_back(p_payment bigint, p_rest numeric, p_reason text, p_at timestamptz,
                                                 p_actor bigint, p_request_id text)
returns void language plpgsql as $$
declare
    t sugang.payment_attempts;
begin
    if p_rest = 0 then return; end if;
    select * into t from sugang.payment_attempts where payment_id = p_payment;
    with refund as (
        insert into sugang.refunds
            (payment_id, amount, status, ends_payment, reason, requested_by, requested_at, code, due_at)
            values (p_payment, p_rest, sugang.first_refund_status(p_payment), true, p_reason, p_actor, p_at,
                    case when sugang.needs_account(t) then 'account_required' end,
                    case when sugang.gives_back(t.gateway) and not sugang.needs_account(t) then clock_timestamp() end)
            returning id, status
    )
    insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount, actor_id, request_id)
        select p_at, 'refund', id, case when sugang.reversed_order() is null then 'done' else 'reversed' end, p_payment,
               'sales_returns', 'cash', p_rest, p_actor, p_request_id
        from refund where status = 'done';
end $$;

-- Books a payment that another program has written in another way than the API does.
create or replace function sugang.book_payment(p_old payments, p_new payments, p_entry sugang.audit_log)
returns void language plpgsql as $$
declare
    captured numeric := p_old.amount;
begin
    if (p_old.id, p_old.amount, p_old.status = 'paid') = (p_new.id, p_new.amount, p_new.status = 'paid') then
        return;
    end if;
    if p_old.id is distinct from p_new.id then
        update sugang.refunds set payment_id = p_new.id where payment_id = p_old.id;
        captured := sugang.given_back(p_new.id);
    end if;
    if p_old.id is null
       and sugang.book_capture(p_new.id, p_new.amount, p_entry.at, p_entry.actor_id, p_entry.request_id) then
        captured := captured + p_new.amount;
    end if;
    perform sugang.book_again(p_new, captured, p_entry);
end $$;

-- Books out what is left of a payment that is deleted, or gets another id. What was given back stays in the books.
create or replace function sugang.book_removal(p payments, p_entry sugang.audit_log) returns void
language plpgsql as $$
begin
    perform sugang.book_correction(p.id, sugang.given_back(p.id) - p.amount, p_entry);
end $$;

-- Books what another program has changed beyond the status: p_amount more was paid, or less if it is negative.
create or replace function sugang.book_correction(p_payment bigint, p_amount numeric, p_entry sugang.audit_log)
returns void language plpgsql as $$
begin
    if p_amount = 0 then return; end if;
    insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount, actor_id, request_id)
        values (p_entry.at, 'history', p_entry.id, 'corrected', p_payment,
                case when p_amount > 0 then 'cash' else 'sales' end,
                case when p_amount > 0 then 'sales' else 'cash' end,
                abs(p_amount), p_entry.actor_id, p_entry.request_id);
end $$;

-- Brings the books of a payment to what it is now. p_captured: what they have as paid for it.
create or replace function sugang.book_again(p payments, p_captured numeric, p_entry sugang.audit_log) returns void
language plpgsql as $$
declare
    part numeric;
    rest numeric;
    has_ended boolean;
    recounted text := coalesce(current_setting('sugang.recount', true), '');
begin
    select coalesce(sum(amount) filter (where not ends_payment), 0),
           coalesce(sum(amount) filter (where ends_payment), 0)
        into part, rest from sugang.refunds where payment_id = p.id and status <> 'refused';
    if p.partly_refunded <> part then
        perform set_config('sugang.recount', 'on', true);
        update payments set partly_refunded = part where id = p.id;
        perform set_config('sugang.recount', recounted, true);
    end if;
    has_ended := p.status <> 'paid' and rest = p.amount - part;
    -- A payment that is paid again has what had ended it: that was not given back.
    if not has_ended then
        update sugang.refunds set status = 'refused', account = null
            where payment_id = p.id and ends_payment and status <> 'refused';
    end if;
    perform sugang.book_correction(p.id, p.amount - p_captured, p_entry);
    if p.status <> 'paid' and not has_ended then
        perform sugang.give_rest_back(p.id, p.amount - part, p.refund_reason, p_entry.at, p_entry.actor_id,
                                      p_entry.request_id);
    end if;
end $$;

-- Brings the books to the payments whose history was written down late: in the entries after p_known_until.
create or replace function sugang.book_unbooked_payments(p_known_until bigint) returns void language plpgsql as $$
declare
    late record;
begin
    perform set_config('sugang.recount', 'on', true);
    for late in
        select h as entry, p as payment, coalesce(l.cash, 0) as cash
        from sugang.audit_log h
        left join payments p on p.id = h.subject_id
        left join (select payment_id as id,
                          sum(case 'cash' when debit then amount when credit then -amount else 0 end) as cash
                   from sugang.ledger group by 1) l on l.id = h.subject_id
        where h.subject = 'payment' and h.id > p_known_until loop
        if (late.payment).id is null then
            perform sugang.book_correction((late.entry).subject_id, -late.cash, late.entry);
        else
            perform sugang.book_again(late.payment, late.cash + sugang.given_back((late.payment).id), late.entry);
        end if;
    end loop;
    perform set_config('sugang.recount', '', true);
end $$;

-- Adds a refund to its payment, whose row it locks: refunds of one payment never pass each other, nor its cancellation.
-- One that is refused from the start is a decision: the user cannot cancel the payment any more.
-- What ends a payment is written, and booked, by the trigger of the payment.
create or replace function sugang.refund_made() returns trigger language plpgsql as $$
begin
    if pg_trigger_depth() > 1 or sugang.recounts() then return null; end if;
    if new.status = 'refused' then
        update payments set refund_refused = true where id = new.payment_id;
        return null;
    end if;
    if not new.ends_payment then
        update payments set partly_refunded = partly_refunded + new.amount
            where id = new.payment_id and status = 'paid';
    end if;
    if new.ends_payment or not found then
        raise check_violation using message = format('payment %s is not paid', new.payment_id),
            hint = 'A payment is ended by its status.', table = 'refunds', constraint = 'refunds_of_paid';
    end if;
    if sugang.is_given_back(new.status) then perform sugang.book_refund(new, new.status); end if;
    return null;
end $$;
create or replace trigger sugang_refund_made after insert on sugang.refunds
    for each row execute function sugang.refund_made();

-- Books a step of a refund.
create or replace function sugang.book_refund(p sugang.refunds, p_step text) returns void language plpgsql as $$
begin
    insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount, actor_id, request_id)
        values (clock_timestamp(), 'refund', p.id, p_step, p.payment_id,
                case when p_step = 'refused' then 'cash' else 'sales_returns' end,
                case when p_step = 'refused' then 'sales_returns' else 'cash' end,
                p.amount, sugang.actor(), sugang.request());
end $$;

-- A status leads to few others. What is done is taken back only by a payment that is paid again, or by a gateway that
-- shows it as failed: see sugang.take_refund_back.
create or replace function sugang.refund_changed() returns trigger language plpgsql as $$
declare
    may_follow boolean;
    has_failed boolean := sugang.is_given_back(old.status) and new.status = 'refused' and new.code = 'FAILED'
                          and new.gateway_id is not null;
begin
    may_follow := has_failed is true or case old.status
        when 'requested' then new.status in ('sent', 'done', 'refused')
        -- What is owed stays owed when a gateway refuses it.
        when 'sent' then new.status in ('done', 'refused', 'requested')
        else new.status = 'refused' and new.ends_payment and (pg_trigger_depth() > 1 or sugang.recounts())
    end;
    if not may_follow then
        raise check_violation using message = format('a refund that is %s cannot become %s', old.status, new.status),
            table = 'refunds', constraint = 'refunds_status_follows';
    end if;
    if sugang.is_given_back(old.status) or sugang.is_given_back(new.status) then
        perform sugang.book_refund(new, new.status);
    end if;
    if new.status = 'refused' and not new.ends_payment then
        update payments set partly_refunded = partly_refunded - new.amount where id = new.payment_id;
    end if;
    if has_failed then
        insert into sugang.refunds (payment_id, amount, status, ends_payment, keeps_registration, reason, requested_by,
                                    code)
            select id, new.amount, 'requested', true, new.keeps_registration, new.reason, new.requested_by, new.code
            from payments where id = new.payment_id and status <> 'paid';
    end if;
    return null;
end $$;
create or replace trigger sugang_refund_changed after update of status on sugang.refunds
    for each row when (old.status <> new.status) execute function sugang.refund_changed();

-- What the triggers keep is not written by hand.
create or replace function sugang.refuse_change() returns trigger language plpgsql as $$
begin
    if sugang.recounts() then return new; end if;
    raise exception '%.% is kept by triggers; write sugang.refunds', tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege';
end $$;
create or replace trigger sugang_partly_refunded before update of partly_refunded, refund_refused on payments
    for each row
    when ((old.partly_refunded, old.refund_refused) <> (new.partly_refunded, new.refund_refused)
          and pg_trigger_depth() = 0)
    execute function sugang.refuse_change();
create or replace trigger sugang_refund_fixed before update of id, payment_id, amount, ends_payment on sugang.refunds
    for each row
    when ((old.id, old.payment_id, old.amount, old.ends_payment)
          is distinct from (new.id, new.payment_id, new.amount, new.ends_payment) and pg_trigger_depth() = 0)
    execute function sugang.refuse_change();

-- ===== misrouted

-- Every function that the API calls is told the name that it is called by. Behind a connection pooler, a session may
-- execute another prepared statement than the one that was meant; the function that is reached then refuses the call,
-- before it reads or writes anything.

-- Raises the error by which the API recognizes such a call.
create or replace function sugang.misrouted(p_called text, p_reached text) returns void language plpgsql as $$
begin
    raise sqlstate 'SG001' using message = format('a call of %s reached %s', coalesce(p_called, 'nothing'), p_reached);
end $$;

-- ===== operator_audit

-- The audit, for operators: a check a request.

-- Number 0 is no check, but begins an audit: its answer waits for no check. However many operators ask, a database
-- runs one check at a time, on one processor. No audit begins while a check of another one runs. One that has begun
-- waits, and is finished.
create or replace function sugang.run_audit_check(p_function text, p_user bigint, p_number bigint,
                                                  p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set jit = off
set work_mem = '64MB' set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    wanted record;
    lock_key bigint := hashtextextended('sugang.audit', 0);
begin
    if p_function is distinct from 'run_audit_check' then
        perform sugang.misrouted(p_function, 'run_audit_check');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    if p_number = 0 then
        a.outcome := case when pg_try_advisory_xact_lock(lock_key) then 'ok' else 'busy' end;
        a.body := E'1\n';
        return a;
    end if;
    perform set_config('lock_timeout', '0', true);
    perform pg_advisory_xact_lock(lock_key);
    select c.*, (select max(number) from sugang.audit_checks()) as last into strict wanted
        from sugang.audit_checks() c where number = p_number;
    -- The queries are those of the migration, which no caller gives. The next line is for the check of the functions.
    -- @plpgsql_check_options: security_warnings = false
    execute format($query$
        select concat(case when $1 < $2 then $1 + 1 end, E'\n', json_build_object(
            'check', $3::text, 'kind', $4::text, 'number', $1, 'checks', $2, 'count', coalesce(max(n), 0),
            'ids', coalesce(json_agg(id), '[]'), 'advice', case when count(*) > 0 then $5::text end), E'\n')
        from (select id, count(*) over () as n from (%s) found (id) limit 100) found
    $query$, wanted.query)
        into a.body
        using p_number, wanted.last, wanted.name, wanted.kind, wanted.advice;
    a.outcome := 'ok';
    return a;
end $$;

-- ===== operator_export (course)

-- One kind: its items and registrations as files (CSV is RFC 4180), a page for each call. The first line of a page says
-- where the next one begins, and is empty on the last page; the names of the columns begin the first page.

-- Newest first, as in the list. p_after is null, or what the page before says.
create or replace function sugang.export_course_registrations(p_function text, p_user bigint, p_id bigint,
                                                              p_status text, p_from text, p_to text, p_after text,
                                                              p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    not_before timestamptz := coalesce(sugang.day_begin(p_from), '-infinity');
    until timestamptz := coalesce(sugang.day_end(p_to) - interval '1 microsecond', 'infinity');
    after_at timestamptz := coalesce(split_part(p_after, ',', 1)::timestamptz, 'infinity');
    after_id bigint := coalesce(split_part(p_after, ',', 2)::bigint, 9223372036854775807);
begin
    if p_function is distinct from 'export_course_registrations' then
        perform sugang.misrouted(p_function, 'export_course_registrations');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is null and not exists (select from courses where id = p_id) then a.outcome := 'not_found'; end if;
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    with page as materialized (
        select * from course_registrations
        where course_id = p_id and (p_status is null or status = p_status)
          and enrolled_at between not_before and until and (enrolled_at, id) < (after_at, after_id)
        order by enrolled_at desc, id desc limit sugang.export_size()
    ), lines as (
        select r.id, r.enrolled_at as at, concat(
            r.id, ',', r.user_id, ',', sugang.csv_cell(u.email), ',', sugang.csv_cell(u.username), ',',
            sugang.csv_cell(r.status), ',', sugang.iso(r.enrolled_at), ',', sugang.iso(r.completed_at), ',',
            sugang.iso(r.cancelled_at), ',', p.id, ',', p.amount, ',', sugang.csv_cell(p.payment_method), ',',
            sugang.csv_cell(p.status), ',', sugang.csv_cell(sugang.entered_reference(p.external_transaction_id)),
            E'\r\n') as line
        from page r
        join users u on u.id = r.user_id
        left join lateral (
            select p.id, p.amount, p.payment_method, p.status, p.external_transaction_id from payments p
            where p.user_id = r.user_id and p.registration_id = r.id and p.object_id = p_id
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
            order by p.id desc limit 1) p on true
    )
    select concat((select concat(enrolled_at, ',', id) from page
                   where (select count(*) from page) = sugang.export_size()
                   order by enrolled_at, id limit 1), E'\n',
                  case when p_after is null then concat(
                      'id,user_id,email,username,status,registered_at,completed_at,cancelled_at,payment_id,amount,',
                      'payment_method,payment_status,reference', E'\r\n') end,
                  string_agg(line, '' order by at desc, id desc))
        into a.body from lines;
    return a;
end $$;

-- In the order of their ids, hidden ones included: as CSV, or as JSON, one object a line.
create or replace function sugang.export_course(p_function text, p_user bigint, p_format text, p_after text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    is_csv boolean := p_format = 'csv';
begin
    if p_function is distinct from 'export_course' then perform sugang.misrouted(p_function, 'export_course'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    with page as materialized (
        select id, title, description, price::text as price, capacity, sugang.iso(start_at) as start_at,
               sugang.iso(end_at) as end_at, hidden, registration_count
        from courses where id > coalesce(p_after, '-1')::bigint order by id limit sugang.export_size() / 10
    )
    select concat(case when count(*) = sugang.export_size() / 10 then max(id) end, E'\n',
                  case when is_csv and p_after is null then concat(
                      'id,title,description,price,capacity,start_at,end_at,hidden,registration_count', E'\r\n') end,
                  string_agg(case when is_csv then concat(
                      id, ',', sugang.csv_cell(title), ',', sugang.csv_cell(description), ',', price, ',', capacity, ',',
                      start_at, ',', end_at, ',', hidden::text, ',', registration_count, E'\r\n')
                      else concat(row_to_json(page), E'\n') end, '' order by id))
        into a.body from page;
    return a;
end $$;

-- ===== operator_export (test)

-- One kind: its items and registrations as files (CSV is RFC 4180), a page for each call. The first line of a page says
-- where the next one begins, and is empty on the last page; the names of the columns begin the first page.

-- Newest first, as in the list. p_after is null, or what the page before says.
create or replace function sugang.export_test_registrations(p_function text, p_user bigint, p_id bigint,
                                                              p_status text, p_from text, p_to text, p_after text,
                                                              p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    not_before timestamptz := coalesce(sugang.day_begin(p_from), '-infinity');
    until timestamptz := coalesce(sugang.day_end(p_to) - interval '1 microsecond', 'infinity');
    after_at timestamptz := coalesce(split_part(p_after, ',', 1)::timestamptz, 'infinity');
    after_id bigint := coalesce(split_part(p_after, ',', 2)::bigint, 9223372036854775807);
begin
    if p_function is distinct from 'export_test_registrations' then
        perform sugang.misrouted(p_function, 'export_test_registrations');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is null and not exists (select from tests where id = p_id) then a.outcome := 'not_found'; end if;
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    with page as materialized (
        select * from test_registrations
        where test_id = p_id and (p_status is null or status = p_status)
          and applied_at between not_before and until and (applied_at, id) < (after_at, after_id)
        order by applied_at desc, id desc limit sugang.export_size()
    ), lines as (
        select r.id, r.applied_at as at, concat(
            r.id, ',', r.user_id, ',', sugang.csv_cell(u.email), ',', sugang.csv_cell(u.username), ',',
            sugang.csv_cell(r.status), ',', sugang.iso(r.applied_at), ',', sugang.iso(r.completed_at), ',',
            sugang.iso(r.cancelled_at), ',', p.id, ',', p.amount, ',', sugang.csv_cell(p.payment_method), ',',
            sugang.csv_cell(p.status), ',', sugang.csv_cell(sugang.entered_reference(p.external_transaction_id)),
            E'\r\n') as line
        from page r
        join users u on u.id = r.user_id
        left join lateral (
            select p.id, p.amount, p.payment_method, p.status, p.external_transaction_id from payments p
            where p.user_id = r.user_id and p.registration_id = r.id and p.object_id = p_id
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
            order by p.id desc limit 1) p on true
    )
    select concat((select concat(applied_at, ',', id) from page
                   where (select count(*) from page) = sugang.export_size()
                   order by applied_at, id limit 1), E'\n',
                  case when p_after is null then concat(
                      'id,user_id,email,username,status,registered_at,completed_at,cancelled_at,payment_id,amount,',
                      'payment_method,payment_status,reference', E'\r\n') end,
                  string_agg(line, '' order by at desc, id desc))
        into a.body from lines;
    return a;
end $$;

-- In the order of their ids, hidden ones included: as CSV, or as JSON, one object a line.
create or replace function sugang.export_test(p_function text, p_user bigint, p_format text, p_after text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    is_csv boolean := p_format = 'csv';
begin
    if p_function is distinct from 'export_test' then perform sugang.misrouted(p_function, 'export_test'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    with page as materialized (
        select id, title, description, price::text as price, capacity, sugang.iso(start_at) as start_at,
               sugang.iso(end_at) as end_at, hidden, registration_count
        from tests where id > coalesce(p_after, '-1')::bigint order by id limit sugang.export_size() / 10
    )
    select concat(case when count(*) = sugang.export_size() / 10 then max(id) end, E'\n',
                  case when is_csv and p_after is null then concat(
                      'id,title,description,price,capacity,start_at,end_at,hidden,registration_count', E'\r\n') end,
                  string_agg(case when is_csv then concat(
                      id, ',', sugang.csv_cell(title), ',', sugang.csv_cell(description), ',', price, ',', capacity, ',',
                      start_at, ',', end_at, ',', hidden::text, ',', registration_count, E'\r\n')
                      else concat(row_to_json(page), E'\n') end, '' order by id))
        into a.body from page;
    return a;
end $$;

-- ===== operator_export_lists

-- The lists of payments and users as CSV, for operators, with the filters of the lists. See operator_export.sql.

-- Newest first. p_after is null, or what the page before says.
create or replace function sugang.export_payments(p_function text, p_user bigint, p_owner text, p_key text,
                                                  p_typed_key text, p_ascii_key text, p_external_id text,
                                                  p_amount text, p_status text, p_from text, p_to text, p_after text,
                                                  p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    owners bigint[];
    paid numeric := p_amount::numeric;
    not_before timestamptz := sugang.day_begin(p_from);
    before timestamptz := sugang.day_end(p_to);
    after_at timestamptz := split_part(p_after, ',', 1)::timestamptz;
    after_id bigint := split_part(p_after, ',', 2)::bigint;
begin
    if p_function is distinct from 'export_payments' then
        perform sugang.misrouted(p_function, 'export_payments');
    end if;
    a.outcome := coalesce(sugang.operator_error(p_user, p_epoch), 'ok');
    if a.outcome <> 'ok' then return a; end if;
    owners := sugang.payment_owners(p_owner, p_key, p_typed_key, p_ascii_key);
    with page as materialized (
        select * from sugang.found_payments(owners, p_external_id, paid, p_status, not_before, before)
        where p_after is null or (paid_at, id) < (after_at, after_id)
        order by paid_at desc, id desc limit sugang.export_size()
    ), lines as (
        select p.id, p.paid_at, concat(
            p.id, ',', p.user_id, ',', sugang.csv_cell(u.email), ',', sugang.csv_cell(u.username), ',',
            sugang.csv_cell(p.payment_type), ',', p.object_id, ',', sugang.csv_cell(p.target_title), ',', p.amount, ',',
            sugang.left_to_refund(p), ',', sugang.csv_cell(p.payment_method), ',', sugang.csv_cell(p.status), ',',
            sugang.iso(p.paid_at), ',', sugang.iso(p.cancelled_at), ',', sugang.csv_cell(p.refund_reason), ',',
            sugang.csv_cell(p.external_transaction_id), E'\r\n') as line
        from page p
        left join users u on u.id = p.user_id
    )
    select concat((select concat(paid_at, ',', id) from page
                   where (select count(*) from page) = sugang.export_size()
                   order by paid_at, id limit 1), E'\n',
                  case when p_after is null then concat(
                      'id,user_id,email,username,kind,item_id,title,amount,left,payment_method,status,paid_at,',
                      'cancelled_at,refund_reason,external_id', E'\r\n') end,
                  string_agg(line, '' order by paid_at desc, id desc))
        into a.body from lines;
    return a;
end $$;

-- The latest first. They are found as in sugang.list_users.
create or replace function sugang.export_users(p_function text, p_user bigint, p_key text, p_typed_key text,
                                               p_ascii_key text, p_username text, p_after text,
                                               p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 set cpu_operator_cost = 0.1 as $$
declare
    a sugang.function_row;
    after_id bigint := p_after::bigint;
    narrows boolean := coalesce(p_key, p_username) is not null;
begin
    if p_function is distinct from 'export_users' then perform sugang.misrouted(p_function, 'export_users'); end if;
    a.outcome := coalesce(sugang.operator_error(p_user, p_epoch), 'ok');
    if a.outcome <> 'ok' then return a; end if;
    with page as materialized (
        select * from sugang.found_users(p_key, p_typed_key, p_ascii_key, p_username)
        where after_id is null or id < after_id
        order by case when narrows then id + 0 end desc, id desc limit sugang.export_size()
    )
    select concat(case when count(*) = sugang.export_size() then min(id) end, E'\n',
                  case when p_after is null then concat(
                      'id,email,username,is_active,is_operator,is_superuser,last_login', E'\r\n') end,
                  string_agg(concat(
                      id, ',', sugang.csv_cell(email), ',', sugang.csv_cell(username), ',', is_active::text, ',',
                      (is_staff or is_superuser)::text, ',', is_superuser::text, ',', sugang.iso(last_login), E'\r\n'),
                      '' order by id desc))
        into a.body from page;
    return a;
end $$;

-- ===== operator_import (course)

-- One kind: the items of a file, and copies of one item, which operators create in one statement.

-- What is wrong with which items, as [[place, [[field, reason]]]] with places from 0; null if nothing is.
create or replace function sugang.course_row_problems(p_items courses[]) returns text language sql stable as $$
    select '[' || string_agg(format('[%s,%s]', place - 1, problems), ',' order by place) || ']'
    from generate_subscripts(p_items, 1) place
    cross join lateral (select sugang.course_field_problems(p_items[place])) found (problems)
    where problems is not null
$$;

-- p_items is an array of what sugang.do_create_course takes. All of it is checked before anything is written.
create or replace function sugang.do_import_course(p_items jsonb, p_only_check boolean)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    items courses[];
begin
    items := array(select jsonb_populate_record(null::courses, fields)
                   from jsonb_array_elements(p_items) with ordinality listed (fields, place) order by place);
    a.body := sugang.course_row_problems(items);
    if a.body is not null then
        a.outcome := 'invalid_rows';
        return a;
    end if;
    a.outcome := 'ok';
    a.body := sugang.created_json(cardinality(items),
                                  case when not p_only_check then sugang.insert_courses(items) end);
    return a;
end $$;

create or replace function sugang.import_course(p_function text, p_user bigint, p_items text, p_only_check boolean,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'import_course' then perform sugang.misrouted(p_function, 'import_course'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_import_course(p_items::jsonb, p_only_check));
end $$;

-- The copies of an item with their periods, as p_form orders them: `every` day, week or month; `count` of them, or
-- those that start on the day `until` or earlier; but at most one more than `most`. The clock in `time_zone` shows the
-- same time for each. Months are counted from the item itself, so that one that begins on the 31st does so wherever it
-- can.
create or replace function sugang.course_copies(p_item courses, p_form jsonb) returns courses[]
language plpgsql stable as $$
declare
    copies courses[] := array[]::courses[];
    copy courses := p_item;
    zone text := p_form ->> 'time_zone';
    step interval := ('1 ' || (p_form ->> 'every'))::interval;
    starts timestamp := p_item.start_at at time zone zone;
    ends timestamp := p_item.end_at at time zone zone;
begin
    for n in 1..least((p_form ->> 'count')::bigint, (p_form ->> 'most')::bigint + 1) loop
        exit when (starts + n * step)::date > (p_form ->> 'until')::date;
        copy.start_at := (starts + n * step) at time zone zone;
        -- A clock that skips the start may not skip the end.
        copy.end_at := greatest((ends + n * step) at time zone zone, copy.start_at);
        copies := copies || copy;
    end loop;
    return copies;
end $$;

create or replace function sugang.do_repeat_course(p_id bigint, p_form jsonb) returns sugang.function_row
language plpgsql as $$
declare
    a sugang.function_row;
    item courses;
    copies courses[];
begin
    select * into item from courses where id = p_id;
    if item.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    if not sugang.is_time_zone(p_form ->> 'time_zone') then
        a.body := '[["time_zone","unknown"]]';
    else
        copies := sugang.course_copies(item, p_form);
        a.body := case
            when cardinality(copies) = 0 then '[["until","before_start"]]'
            when cardinality(copies) > (p_form ->> 'most')::bigint then '[["until","too_many"]]'
            when copies[cardinality(copies)].end_at >= '10000-01-01T00:00:00Z' then '[["every","too_late"]]'
            else sugang.course_field_problems(item)
        end;
    end if;
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    a.outcome := 'ok';
    a.body := sugang.created_json(cardinality(copies), sugang.insert_courses(copies));
    return a;
end $$;

create or replace function sugang.repeat_course(p_function text, p_user bigint, p_id bigint, p_form text,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'repeat_course' then perform sugang.misrouted(p_function, 'repeat_course'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_repeat_course(p_id, p_form::jsonb));
end $$;

-- ===== operator_import (test)

-- One kind: the items of a file, and copies of one item, which operators create in one statement.

-- What is wrong with which items, as [[place, [[field, reason]]]] with places from 0; null if nothing is.
create or replace function sugang.test_row_problems(p_items tests[]) returns text language sql stable as $$
    select '[' || string_agg(format('[%s,%s]', place - 1, problems), ',' order by place) || ']'
    from generate_subscripts(p_items, 1) place
    cross join lateral (select sugang.test_field_problems(p_items[place])) found (problems)
    where problems is not null
$$;

-- p_items is an array of what sugang.do_create_test takes. All of it is checked before anything is written.
create or replace function sugang.do_import_test(p_items jsonb, p_only_check boolean)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    items tests[];
begin
    items := array(select jsonb_populate_record(null::tests, fields)
                   from jsonb_array_elements(p_items) with ordinality listed (fields, place) order by place);
    a.body := sugang.test_row_problems(items);
    if a.body is not null then
        a.outcome := 'invalid_rows';
        return a;
    end if;
    a.outcome := 'ok';
    a.body := sugang.created_json(cardinality(items),
                                  case when not p_only_check then sugang.insert_tests(items) end);
    return a;
end $$;

create or replace function sugang.import_test(p_function text, p_user bigint, p_items text, p_only_check boolean,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'import_test' then perform sugang.misrouted(p_function, 'import_test'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_import_test(p_items::jsonb, p_only_check));
end $$;

-- The copies of an item with their periods, as p_form orders them: `every` day, week or month; `count` of them, or
-- those that start on the day `until` or earlier; but at most one more than `most`. The clock in `time_zone` shows the
-- same time for each. Months are counted from the item itself, so that one that begins on the 31st does so wherever it
-- can.
create or replace function sugang.test_copies(p_item tests, p_form jsonb) returns tests[]
language plpgsql stable as $$
declare
    copies tests[] := array[]::tests[];
    copy tests := p_item;
    zone text := p_form ->> 'time_zone';
    step interval := ('1 ' || (p_form ->> 'every'))::interval;
    starts timestamp := p_item.start_at at time zone zone;
    ends timestamp := p_item.end_at at time zone zone;
begin
    for n in 1..least((p_form ->> 'count')::bigint, (p_form ->> 'most')::bigint + 1) loop
        exit when (starts + n * step)::date > (p_form ->> 'until')::date;
        copy.start_at := (starts + n * step) at time zone zone;
        -- A clock that skips the start may not skip the end.
        copy.end_at := greatest((ends + n * step) at time zone zone, copy.start_at);
        copies := copies || copy;
    end loop;
    return copies;
end $$;

create or replace function sugang.do_repeat_test(p_id bigint, p_form jsonb) returns sugang.function_row
language plpgsql as $$
declare
    a sugang.function_row;
    item tests;
    copies tests[];
begin
    select * into item from tests where id = p_id;
    if item.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    if not sugang.is_time_zone(p_form ->> 'time_zone') then
        a.body := '[["time_zone","unknown"]]';
    else
        copies := sugang.test_copies(item, p_form);
        a.body := case
            when cardinality(copies) = 0 then '[["until","before_start"]]'
            when cardinality(copies) > (p_form ->> 'most')::bigint then '[["until","too_many"]]'
            when copies[cardinality(copies)].end_at >= '10000-01-01T00:00:00Z' then '[["every","too_late"]]'
            else sugang.test_field_problems(item)
        end;
    end if;
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    a.outcome := 'ok';
    a.body := sugang.created_json(cardinality(copies), sugang.insert_tests(copies));
    return a;
end $$;

create or replace function sugang.repeat_test(p_function text, p_user bigint, p_id bigint, p_form text,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'repeat_test' then perform sugang.misrouted(p_function, 'repeat_test'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_repeat_test(p_id, p_form::jsonb));
end $$;

-- ===== operator_items (course)

-- One kind: what operators do with its items.
--
-- Locks are taken in the order that functions/registrations.sql describes: first the user, to whom an idempotency key
-- refers, and last the item.

-- The JSON objects in the order of the ids, separated by commas.
create or replace function sugang.course_operator_json(p_ids bigint[]) returns text language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
        select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join courses i on i.id = wanted.id
        cross join lateral (select
            i.id, i.title, i.description, i.price::text as price,
            sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
            sugang.iso(i.created_at) as created_at, i.registration_count, i.capacity,
            sugang.seats_left(i.capacity, i.registration_count, i.held_count) as remaining,
            greatest(i.registration_count - i.capacity, 0) as over_capacity, i.hidden,
            sugang.course_version(i) as version) o)
        page (o_ordinality, o));
end $$;

create or replace function sugang.list_course_for_operator(p_function text, p_user bigint, p_page bigint,
                                                           p_available boolean, p_search text, p_popular boolean,
                                                           p_hidden boolean, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'list_course_for_operator' then
        perform sugang.misrouted(p_function, 'list_course_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    if p_hidden then
        a := sugang.course_hidden_page(p_page, p_available, p_search, p_popular);
    else
        a := sugang.course_page(p_page, p_available, p_search, p_popular);
    end if;
    if a.outcome = 'ok' then
        a.body := '[' || coalesce(sugang.course_operator_json(a.body::bigint[]), '') || ']';
    end if;
    return a;
end $$;

create or replace function sugang.get_course_for_operator(p_function text, p_user bigint, p_id bigint,
                                                          p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_course_for_operator' then
        perform sugang.misrouted(p_function, 'get_course_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.body := sugang.course_operator_json(array[p_id]);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- What is wrong with the fields of an item together; null if nothing is.
create or replace function sugang.course_field_problems(i courses) returns text language sql immutable as $$
    select case when i.end_at < i.start_at then '[["end_at","before_start"]]' end
$$;

-- Creates items with the fields of these rows, in their order, and returns the ids.
create or replace function sugang.insert_courses(p_items courses[]) returns bigint[] language sql as $$
    with added as (
        insert into courses (title, description, price, capacity, start_at, end_at, hidden)
            select title, description, price, capacity, start_at, end_at, coalesce(hidden, false)
            from unnest(p_items)
            returning id
    )
    select array_agg(id order by id) from added
$$;

-- p_fields has the fields by the names of their columns. The API has checked each by itself.
create or replace function sugang.do_create_course(p_fields jsonb) returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item courses := jsonb_populate_record(null::courses, p_fields);
    ids bigint[];
begin
    a.body := sugang.course_field_problems(item);
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    a.outcome := 'ok';
    ids := sugang.insert_courses(array[item]);
    a.body := sugang.course_operator_json(ids);
    return a;
end $$;

create or replace function sugang.create_course(p_function text, p_user bigint, p_fields text, p_request_id text,
                                                p_key text, p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'create_course' then perform sugang.misrouted(p_function, 'create_course'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_create_course(p_fields::jsonb));
end $$;

-- Locks an item whose version is one of those that the operator has seen, separated by commas; * stands for any. A null
-- outcome means that it is locked.
create or replace function sugang.lock_course_version(p_user bigint, p_epoch bigint, p_id bigint, p_versions text)
returns sugang.outcome language plpgsql as $$
declare
    item courses;
begin
    perform sugang.lock_user(p_user);
    select * into item from courses where id = p_id for no key update;
    perform sugang.check_operator(p_user, p_epoch);
    return case
        when item.id is null then 'not_found'
        when p_versions <> '*' and sugang.course_version(item) <> all (string_to_array(p_versions, ',')) then 'changed'
    end;
end $$;

-- Fields that p_fields does not have stay as they are. A price or a period may change under a registration that is in
-- progress: it reads them again under the lock of the item's row.
create or replace function sugang.do_edit_course(p_user bigint, p_epoch bigint, p_id bigint, p_versions text,
                                                 p_fields jsonb)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item courses;
    edited courses;
begin
    a.outcome := sugang.lock_course_version(p_user, p_epoch, p_id, p_versions);
    if a.outcome is not null then return a; end if;
    select * into item from courses where id = p_id;
    edited := jsonb_populate_record(item, p_fields);
    a.body := sugang.course_field_problems(edited);
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    if sugang.course_version(edited) <> sugang.course_version(item) then
        update courses
            set title = edited.title, description = edited.description, price = edited.price,
                capacity = edited.capacity, start_at = edited.start_at, end_at = edited.end_at,
                hidden = edited.hidden, updated_at = clock_timestamp()
            where id = p_id;
    end if;
    a.outcome := 'ok';
    a.body := sugang.course_operator_json(array[p_id]);
    return a;
end $$;

create or replace function sugang.edit_course(p_function text, p_user bigint, p_id bigint, p_versions text,
                                              p_fields text, p_request_id text, p_key text, p_fingerprint text,
                                              p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'edit_course' then perform sugang.misrouted(p_function, 'edit_course'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_edit_course(
        p_user, p_epoch, p_id, p_versions, p_fields::jsonb));
end $$;

-- A payment outlives a registration that another program has deleted. It names its item without a foreign key. An item
-- for which users register is not locked: the lock of a deletion is one for which their foreign keys wait.
create or replace function sugang.do_delete_course(p_user bigint, p_epoch bigint, p_id bigint, p_versions text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    if exists (select from course_registrations where course_id = p_id)
        or exists (select from sugang.orders where kind = 'course' and item_id = p_id) then
        a.outcome := 'item_in_use';
        return a;
    end if;
    perform sugang.lock_user(p_user);
    perform from courses where id = p_id for update;
    a.outcome := sugang.lock_course_version(p_user, p_epoch, p_id, p_versions);
    if a.outcome is not null then return a; end if;
    if exists (select from course_registrations where course_id = p_id)
        or exists (select from sugang.orders where kind = 'course' and item_id = p_id)
        or exists (select from payments
                   where object_id = p_id
                     and content_type_id = (select content_type_id from sugang.kinds where kind = 'course')) then
        a.outcome := 'item_in_use';
        return a;
    end if;
    delete from courses where id = p_id;
    a.outcome := 'ok';
    return a;
end $$;

create or replace function sugang.delete_course(p_function text, p_user bigint, p_id bigint, p_versions text,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'delete_course' then perform sugang.misrouted(p_function, 'delete_course'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_delete_course(p_user, p_epoch, p_id, p_versions));
end $$;

-- ===== operator_items (test)

-- One kind: what operators do with its items.
--
-- Locks are taken in the order that functions/registrations.sql describes: first the user, to whom an idempotency key
-- refers, and last the item.

-- The JSON objects in the order of the ids, separated by commas.
create or replace function sugang.test_operator_json(p_ids bigint[]) returns text language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
        select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join tests i on i.id = wanted.id
        cross join lateral (select
            i.id, i.title, i.description, i.price::text as price,
            sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
            sugang.iso(i.created_at) as created_at, i.registration_count, i.capacity,
            sugang.seats_left(i.capacity, i.registration_count, i.held_count) as remaining,
            greatest(i.registration_count - i.capacity, 0) as over_capacity, i.hidden,
            sugang.test_version(i) as version) o)
        page (o_ordinality, o));
end $$;

create or replace function sugang.list_test_for_operator(p_function text, p_user bigint, p_page bigint,
                                                           p_available boolean, p_search text, p_popular boolean,
                                                           p_hidden boolean, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'list_test_for_operator' then
        perform sugang.misrouted(p_function, 'list_test_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    if p_hidden then
        a := sugang.test_hidden_page(p_page, p_available, p_search, p_popular);
    else
        a := sugang.test_page(p_page, p_available, p_search, p_popular);
    end if;
    if a.outcome = 'ok' then
        a.body := '[' || coalesce(sugang.test_operator_json(a.body::bigint[]), '') || ']';
    end if;
    return a;
end $$;

create or replace function sugang.get_test_for_operator(p_function text, p_user bigint, p_id bigint,
                                                          p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_test_for_operator' then
        perform sugang.misrouted(p_function, 'get_test_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.body := sugang.test_operator_json(array[p_id]);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- What is wrong with the fields of an item together; null if nothing is.
create or replace function sugang.test_field_problems(i tests) returns text language sql immutable as $$
    select case when i.end_at < i.start_at then '[["end_at","before_start"]]' end
$$;

-- Creates items with the fields of these rows, in their order, and returns the ids.
create or replace function sugang.insert_tests(p_items tests[]) returns bigint[] language sql as $$
    with added as (
        insert into tests (title, description, price, capacity, start_at, end_at, hidden)
            select title, description, price, capacity, start_at, end_at, coalesce(hidden, false)
            from unnest(p_items)
            returning id
    )
    select array_agg(id order by id) from added
$$;

-- p_fields has the fields by the names of their columns. The API has checked each by itself.
create or replace function sugang.do_create_test(p_fields jsonb) returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item tests := jsonb_populate_record(null::tests, p_fields);
    ids bigint[];
begin
    a.body := sugang.test_field_problems(item);
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    a.outcome := 'ok';
    ids := sugang.insert_tests(array[item]);
    a.body := sugang.test_operator_json(ids);
    return a;
end $$;

create or replace function sugang.create_test(p_function text, p_user bigint, p_fields text, p_request_id text,
                                                p_key text, p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'create_test' then perform sugang.misrouted(p_function, 'create_test'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_create_test(p_fields::jsonb));
end $$;

-- Locks an item whose version is one of those that the operator has seen, separated by commas; * stands for any. A null
-- outcome means that it is locked.
create or replace function sugang.lock_test_version(p_user bigint, p_epoch bigint, p_id bigint, p_versions text)
returns sugang.outcome language plpgsql as $$
declare
    item tests;
begin
    perform sugang.lock_user(p_user);
    select * into item from tests where id = p_id for no key update;
    perform sugang.check_operator(p_user, p_epoch);
    return case
        when item.id is null then 'not_found'
        when p_versions <> '*' and sugang.test_version(item) <> all (string_to_array(p_versions, ',')) then 'changed'
    end;
end $$;

-- Fields that p_fields does not have stay as they are. A price or a period may change under a registration that is in
-- progress: it reads them again under the lock of the item's row.
create or replace function sugang.do_edit_test(p_user bigint, p_epoch bigint, p_id bigint, p_versions text,
                                                 p_fields jsonb)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item tests;
    edited tests;
begin
    a.outcome := sugang.lock_test_version(p_user, p_epoch, p_id, p_versions);
    if a.outcome is not null then return a; end if;
    select * into item from tests where id = p_id;
    edited := jsonb_populate_record(item, p_fields);
    a.body := sugang.test_field_problems(edited);
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    if sugang.test_version(edited) <> sugang.test_version(item) then
        update tests
            set title = edited.title, description = edited.description, price = edited.price,
                capacity = edited.capacity, start_at = edited.start_at, end_at = edited.end_at,
                hidden = edited.hidden, updated_at = clock_timestamp()
            where id = p_id;
    end if;
    a.outcome := 'ok';
    a.body := sugang.test_operator_json(array[p_id]);
    return a;
end $$;

create or replace function sugang.edit_test(p_function text, p_user bigint, p_id bigint, p_versions text,
                                              p_fields text, p_request_id text, p_key text, p_fingerprint text,
                                              p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'edit_test' then perform sugang.misrouted(p_function, 'edit_test'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_edit_test(
        p_user, p_epoch, p_id, p_versions, p_fields::jsonb));
end $$;

-- A payment outlives a registration that another program has deleted. It names its item without a foreign key. An item
-- for which users register is not locked: the lock of a deletion is one for which their foreign keys wait.
create or replace function sugang.do_delete_test(p_user bigint, p_epoch bigint, p_id bigint, p_versions text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    if exists (select from test_registrations where test_id = p_id)
        or exists (select from sugang.orders where kind = 'test' and item_id = p_id) then
        a.outcome := 'item_in_use';
        return a;
    end if;
    perform sugang.lock_user(p_user);
    perform from tests where id = p_id for update;
    a.outcome := sugang.lock_test_version(p_user, p_epoch, p_id, p_versions);
    if a.outcome is not null then return a; end if;
    if exists (select from test_registrations where test_id = p_id)
        or exists (select from sugang.orders where kind = 'test' and item_id = p_id)
        or exists (select from payments
                   where object_id = p_id
                     and content_type_id = (select content_type_id from sugang.kinds where kind = 'test')) then
        a.outcome := 'item_in_use';
        return a;
    end if;
    delete from tests where id = p_id;
    a.outcome := 'ok';
    return a;
end $$;

create or replace function sugang.delete_test(p_function text, p_user bigint, p_id bigint, p_versions text,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'delete_test' then perform sugang.misrouted(p_function, 'delete_test'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_delete_test(p_user, p_epoch, p_id, p_versions));
end $$;

-- ===== operator_orders

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

-- ===== operator_payments

-- What operators do with payments: find them, look at one, and give its money back.

-- What is left of a payment to give back. One expression, as sugang.csv_cell.
create or replace function sugang.left_to_refund(p payments) returns numeric language sql immutable as $$
    select case when p.status = 'paid' then p.amount - p.partly_refunded else 0.00 end
$$;

-- The refunds of a payment, as an operator sees them.
create or replace function sugang.refunds_json(p_payment bigint) returns jsonb language sql stable as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', id, 'amount', amount::text, 'status', status, 'reason', reason,
        'requested_by', requested_by, 'requested_at', sugang.iso(requested_at),
        'keeps_registration', keeps_registration, 'code', code,
        'reference', coalesce(gateway_id, reference)) order by id), '[]')
    from sugang.refunds where payment_id = p_payment
$$;

-- A payment with its refunds, and what is left to give back. A set of one row, as sugang.payment_json.
create or replace function sugang.payment_for_operator_json(p payments) returns table (body text)
language sql stable as $$
    select (object::jsonb || jsonb_build_object(
            'user_id', p.user_id, 'refund_reason', p.refund_reason,
            'left', sugang.left_to_refund(p)::text,
            'refunds', sugang.refunds_json(p.id)))::text
        from sugang.payment_json(p)
$$;

create or replace function sugang.get_payment_for_operator(p_function text, p_user bigint, p_id bigint,
                                                           p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_payment_for_operator' then
        perform sugang.misrouted(p_function, 'get_payment_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select body into a.body from payments p, sugang.payment_for_operator_json(p)
        where p.id = p_id;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- Locks are taken in the order that functions/registrations.sql describes. p_amount is null for all that is left.
-- p_ask: reason, account, keeps_registration, and the request.
create or replace function sugang.do_refund_payment(p_user bigint, p_epoch bigint, p_id bigint, p_amount numeric,
                                                    p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    payment payments := sugang.lock_payment(p_id);
    held sugang.payment_attempts := sugang.attempt_at_gateway(p_id);
    rest numeric(10, 2);
    refund bigint;
begin
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    rest := payment.amount - payment.partly_refunded;
    a.outcome := case
        when payment.id is null then 'not_found'
        when (sugang.refund_under_way(p_id)).id is not null then 'refund_in_progress'
        when payment.status <> 'paid' then 'already_cancelled'
        when p_amount > rest then 'refund_too_large'
    end;
    -- What waits for a decision is sent again by this one.
    if a.outcome = 'already_cancelled' and held.id is not null then
        return sugang.begin_owed_refund(sugang.refund_waiting(p_id), held, p_ask, p_lease);
    end if;
    if a.outcome is not null then
        if a.outcome = 'refund_too_large' then a.body := json_build_object('left', rest::text)::text; end if;
        return a;
    end if;
    p_amount := coalesce(p_amount, rest);
    if held.id is not null and rest > 0 then
        p_ask.payment_id := p_id;
        p_ask.amount := p_amount;
        p_ask.cancels_payment := p_amount = rest;
        return sugang.begin_refund(p_ask, held, p_lease);
    elsif p_amount < rest then
        insert into sugang.refunds (payment_id, amount, status, reason, requested_by)
            values (p_id, p_amount, sugang.first_refund_status(p_id), p_ask.reason, p_user) returning id into refund;
    else
        -- The trigger of the payment writes the refund.
        perform sugang.end_payment(payment, p_ask.reason, p_ask.keeps_registration);
        update sugang.refunds set keeps_registration = p_ask.keeps_registration
            where payment_id = p_id and ends_payment and status <> 'refused' returning id into refund;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', p_id, 'refund_id', refund, 'amount', p_amount::numeric(10, 2)::text,
                                'left', (rest - p_amount)::numeric(10, 2)::text)::text;
    return a;
end $$;

create or replace function sugang.refund_payment(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                 p_reason text, p_keep_registration boolean, p_request_id text,
                                                 p_key text, p_fingerprint text, p_epoch bigint default null,
                                                 p_account text default null, p_lease_ms bigint default 30000)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    ask sugang.refunds := sugang.asked_refund(p_user, p_reason, p_account, p_key, p_fingerprint);
begin
    if p_function is distinct from 'refund_payment' then perform sugang.misrouted(p_function, 'refund_payment'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is null then a := sugang.repeated_refund(p_user, p_key, p_fingerprint); end if;
    if a.outcome is not null then return a; end if;
    ask.keeps_registration := p_keep_registration;
    return sugang.end_refund(p_user, p_key, p_fingerprint, sugang.do_refund_payment(
        p_user, p_epoch, p_id, p_amount::numeric, ask, make_interval(secs => p_lease_ms / 1e3)));
end $$;

-- ===== operator_payments_list

-- All payments, for operators: those that match what is given of these.

-- Each condition is decided while the statement is planned, so the plan is as if the others were not there. The ids
-- that this service gives have an index of their own, and so have those of the Django service.
create or replace function sugang.found_payments(p_users bigint[], p_external_id text, p_amount numeric,
                                                 p_status text, p_not_before timestamptz, p_before timestamptz)
returns setof payments language sql stable as $$
    select * from payments
    where (p_users is null or user_id = any (p_users))
      and (p_external_id is null or external_transaction_id = p_external_id)
      and (p_external_id is null
           or starts_with(external_transaction_id, 'sugang_') = starts_with(p_external_id, 'sugang_'))
      and (p_amount is null or amount = p_amount)
      and (p_status is null or status = p_status)
      and (p_not_before is null or paid_at >= p_not_before)
      and (p_before is null or paid_at < p_before)
$$;

-- The users of an e-mail address, given by its keys as in sugang.credentials. Null, for any user, without an address.
create or replace function sugang.users_of_email(p_key text, p_typed_key text, p_ascii_key text) returns bigint[]
language sql stable as $$
    select case when p_key is not null then array(
        select id from users where sugang.email_key(email) in (p_key, p_typed_key, p_ascii_key)) end
$$;

-- The users whose payments are wanted: by id, by an e-mail address, or by both. Null, for any user, without either.
create or replace function sugang.payment_owners(p_owner text, p_key text, p_typed_key text, p_ascii_key text)
returns bigint[] language sql stable as $$
    select case when p_owner is null then owners
                else array(select p_owner::bigint where owners is null or p_owner::bigint = any (owners)) end
    from sugang.users_of_email(p_key, p_typed_key, p_ascii_key) owners
$$;

-- Newest first. A page is read along an index in the order of the list, from the nearer end of it. p_from and p_to are
-- days in UTC, both inclusive.
create or replace function sugang.list_payments_for_operator(p_function text, p_user bigint, p_page bigint,
                                                             p_owner text, p_key text, p_typed_key text,
                                                             p_ascii_key text, p_external_id text, p_amount text,
                                                             p_status text, p_from text, p_to text,
                                                             p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    found_n bigint;
    skipped bigint;
    ids bigint[];
    owners bigint[];
    paid numeric := p_amount::numeric;
    not_before timestamptz;
    before timestamptz;
begin
    if p_function is distinct from 'list_payments_for_operator' then
        perform sugang.misrouted(p_function, 'list_payments_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    not_before := sugang.day_begin(p_from);
    before := sugang.day_end(p_to);
    owners := sugang.payment_owners(p_owner, p_key, p_typed_key, p_ascii_key);
    p_external_id := sugang.stored_external_id(p_external_id);
    select count(*) into found_n
        from sugang.found_payments(owners, p_external_id, paid, p_status, not_before, before);
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    skipped := (a.page - 1) * sugang.page_size();
    if skipped > found_n / 2 then
        ids := array(select id from (
            select id, paid_at from sugang.found_payments(owners, p_external_id, paid, p_status, not_before, before)
            order by paid_at, id offset greatest(found_n - skipped - sugang.page_size(), 0)
            limit least(found_n - skipped, sugang.page_size())) page
            order by paid_at desc, id desc);
    else
        ids := array(select id
            from sugang.found_payments(owners, p_external_id, paid, p_status, not_before, before)
            order by paid_at desc, id desc offset skipped limit sugang.page_size());
    end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(body, ',' order by place)
        from unnest(ids) with ordinality wanted (id, place)
        join payments p on p.id = wanted.id cross join lateral sugang.payment_for_operator_json(p)), '') || ']';
    return a;
end $$;

-- ===== operator_registrations (course)

-- One kind: who is registered for an item, for operators.

-- The JSON objects in the order of the ids, separated by commas, each with its latest payment.
create or replace function sugang.course_registration_json(p_ids bigint[]) returns text language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by place) from (
        select wanted.ordinality as place, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join course_registrations r on r.id = wanted.id
        join users u on u.id = r.user_id
        left join lateral (
            select p.id, p.amount, p.payment_method, p.status, p.external_transaction_id from payments p
            where p.user_id = r.user_id and p.registration_id = r.id and p.object_id = r.course_id
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
            order by p.id desc limit 1) p on true
        cross join lateral (select
            r.id, u.id as user_id, u.email, u.username, r.status,
            sugang.iso(r.enrolled_at) as registered_at, sugang.iso(r.completed_at) as completed_at,
            sugang.iso(r.cancelled_at) as cancelled_at, p.id as payment_id, p.amount::text as amount,
            p.payment_method, p.status as payment_status,
            sugang.entered_reference(p.external_transaction_id) as reference) o) listed);
end $$;

-- Newest first. p_from and p_to are days in UTC, both inclusive. A page is read along the
-- index in the order of the list, from the nearer end of it.
create or replace function sugang.list_course_registrations(p_function text, p_user bigint, p_id bigint,
                                                            p_page bigint, p_status text, p_from text, p_to text,
                                                            p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    registered_n bigint;
    not_before timestamptz := coalesce(sugang.day_begin(p_from), '-infinity');
    until timestamptz := coalesce(sugang.day_end(p_to) - interval '1 microsecond', 'infinity');
    ids bigint[];
    skipped bigint;
begin
    if p_function is distinct from 'list_course_registrations' then
        perform sugang.misrouted(p_function, 'list_course_registrations');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is null and not exists (select from courses where id = p_id) then a.outcome := 'not_found'; end if;
    if a.outcome is not null then return a; end if;
    select count(*) into registered_n from course_registrations
        where course_id = p_id and (p_status is null or status = p_status)
          and enrolled_at between not_before and until;
    a := sugang.paginate(registered_n, p_page);
    if a.outcome is not null then return a; end if;
    skipped := (a.page - 1) * sugang.page_size();
    if skipped > registered_n / 2 then
        ids := array(select id from (
            select id, enrolled_at from course_registrations
            where course_id = p_id and (p_status is null or status = p_status)
              and enrolled_at between not_before and until
            order by enrolled_at, id offset greatest(registered_n - skipped - sugang.page_size(), 0)
            limit least(registered_n - skipped, sugang.page_size())) page
            order by enrolled_at desc, id desc);
    else
        ids := array(select id from course_registrations
            where course_id = p_id and (p_status is null or status = p_status)
              and enrolled_at between not_before and until
            order by enrolled_at desc, id desc offset skipped limit sugang.page_size());
    end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce(sugang.course_registration_json(ids), '') || ']';
    return a;
end $$;

-- ===== operator_registrations (test)

-- One kind: who is registered for an item, for operators.

-- The JSON objects in the order of the ids, separated by commas, each with its latest payment.
create or replace function sugang.test_registration_json(p_ids bigint[]) returns text language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by place) from (
        select wanted.ordinality as place, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join test_registrations r on r.id = wanted.id
        join users u on u.id = r.user_id
        left join lateral (
            select p.id, p.amount, p.payment_method, p.status, p.external_transaction_id from payments p
            where p.user_id = r.user_id and p.registration_id = r.id and p.object_id = r.test_id
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
            order by p.id desc limit 1) p on true
        cross join lateral (select
            r.id, u.id as user_id, u.email, u.username, r.status,
            sugang.iso(r.applied_at) as registered_at, sugang.iso(r.completed_at) as completed_at,
            sugang.iso(r.cancelled_at) as cancelled_at, p.id as payment_id, p.amount::text as amount,
            p.payment_method, p.status as payment_status,
            sugang.entered_reference(p.external_transaction_id) as reference) o) listed);
end $$;

-- Newest first. p_from and p_to are days in UTC, both inclusive. A page is read along the
-- index in the order of the list, from the nearer end of it.
create or replace function sugang.list_test_registrations(p_function text, p_user bigint, p_id bigint,
                                                            p_page bigint, p_status text, p_from text, p_to text,
                                                            p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    registered_n bigint;
    not_before timestamptz := coalesce(sugang.day_begin(p_from), '-infinity');
    until timestamptz := coalesce(sugang.day_end(p_to) - interval '1 microsecond', 'infinity');
    ids bigint[];
    skipped bigint;
begin
    if p_function is distinct from 'list_test_registrations' then
        perform sugang.misrouted(p_function, 'list_test_registrations');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is null and not exists (select from tests where id = p_id) then a.outcome := 'not_found'; end if;
    if a.outcome is not null then return a; end if;
    select count(*) into registered_n from test_registrations
        where test_id = p_id and (p_status is null or status = p_status)
          and applied_at between not_before and until;
    a := sugang.paginate(registered_n, p_page);
    if a.outcome is not null then return a; end if;
    skipped := (a.page - 1) * sugang.page_size();
    if skipped > registered_n / 2 then
        ids := array(select id from (
            select id, applied_at from test_registrations
            where test_id = p_id and (p_status is null or status = p_status)
              and applied_at between not_before and until
            order by applied_at, id offset greatest(registered_n - skipped - sugang.page_size(), 0)
            limit least(registered_n - skipped, sugang.page_size())) page
            order by applied_at desc, id desc);
    else
        ids := array(select id from test_registrations
            where test_id = p_id and (p_status is null or status = p_status)
              and applied_at between not_before and until
            order by applied_at desc, id desc offset skipped limit sugang.page_size());
    end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce(sugang.test_registration_json(ids), '') || ']';
    return a;
end $$;

-- ===== operator_seats (course)

-- One kind: what operators do with its registrations: they register a user, complete registrations, and cancel one.
--
-- Locks are taken in the order that functions/registrations.sql describes. A kept response begins with the
-- registration, by which the audit finds the change in the history.

-- p_form: user_id, or email_keys in the order in which they count; amount, payment_method, external_id and any_time.
create or replace function sugang.do_register_course_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                  p_form jsonb)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    target bigint;
    keys text[] := array(select jsonb_array_elements_text(p_form -> 'email_keys'));
begin
    if p_form ? 'user_id' then
        target := (select id from users where id = (p_form ->> 'user_id')::bigint and is_active);
    else
        target := (select id from users where sugang.email_key(email) = any (keys) and is_active
                   order by array_position(keys, sugang.email_key(email)) limit 1);
    end if;
    if target is null then
        a.outcome := 'invalid_fields';
        a.body := json_build_array(json_build_array(
            case when p_form ? 'user_id' then 'user_id' else 'email' end, 'unknown_user'))::text;
        return a;
    end if;
    perform sugang.lock_user(p_user);
    a := sugang.do_register_course(target, p_id, (p_form ->> 'amount')::numeric, p_form ->> 'payment_method', null, null,
                                   p_form ->> 'external_id', true, (p_form ->> 'any_time')::boolean);
    perform sugang.check_operator(p_user, p_epoch);
    if a.outcome <> 'ok' then return a; end if;
    a.body := '{"registration":'
        || sugang.course_registration_json(array[(a.body::jsonb ->> 'registration_id')::bigint]) || '}';
    return a;
end $$;

create or replace function sugang.register_course_for_operator(p_function text, p_user bigint, p_id bigint,
                                                               p_form text, p_request_id text, p_key text,
                                                               p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'register_course_for_operator' then
        perform sugang.misrouted(p_function, 'register_course_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_register_course_for_operator(
        p_user, p_epoch, p_id, p_form::jsonb));
end $$;

-- Completes all of these registrations or none. What is wrong: [[place in the list, reason], ...].
create or replace function sugang.do_complete_course_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                  p_registrations bigint[])
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    registration bigint;
begin
    perform from course_registrations where id = any (p_registrations) and course_id = p_id order by id for update;
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    a.body := (select json_agg(json_build_array(place - 1, reason) order by place)::text
        from unnest(p_registrations) with ordinality wanted (id, place)
        left join course_registrations r on r.id = wanted.id and r.course_id = p_id
        cross join lateral (select case
            when r.id is null then 'not_found'
            when r.status = 'completed' then 'already_completed'
            when r.status = 'cancelled' then 'cancelled'
            when sugang.gives_back_course(r.user_id, p_id) then 'refund_in_progress'
            when place > array_position(p_registrations, wanted.id) then 'already_completed'
        end) problem (reason)
        where reason is not null);
    if a.body is not null then
        a.outcome := 'invalid_rows';
        return a;
    end if;
    -- The triggers of seats.sql expect the API to change one at a time.
    foreach registration in array p_registrations loop
        update course_registrations
            set status = 'completed', completed_at = greatest(clock_timestamp(), enrolled_at),
                history_entries = history_entries + 1
            where id = registration;
    end loop;
    a.outcome := 'ok';
    a.body := '{"registration":' || sugang.course_registration_json(p_registrations[:1]) || '}';
    return a;
end $$;

create or replace function sugang.complete_course_for_operator(p_function text, p_user bigint, p_id bigint,
                                                               p_registrations text, p_request_id text, p_key text,
                                                               p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'complete_course_for_operator' then
        perform sugang.misrouted(p_function, 'complete_course_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_complete_course_for_operator(
        p_user, p_epoch, p_id, string_to_array(p_registrations, ',')::bigint[]));
end $$;

-- Cancels a registration. Its payment is given back, or stays paid with a refund that was refused: then the user
-- registers again at no cost, and only an operator gives the money back. A gateway gives it back first, and the
-- registration is cancelled once it has.
create or replace function sugang.do_cancel_course_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                p_registration bigint, p_refund boolean,
                                                                p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    registration course_registrations;
    payment payments;
    held sugang.payment_attempts;
    rest numeric(10, 2);
    happened_at timestamptz;
begin
    select * into registration from course_registrations where id = p_registration and course_id = p_id;
    if registration.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('course ' || p_id, registration.user_id));
    select * into payment from payments
        where user_id = registration.user_id and object_id = p_id and status = 'paid'
          and content_type_id = (select content_type_id from sugang.kinds where kind = 'course') for update;
    select * into registration from course_registrations where id = p_registration and course_id = p_id for update;
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    a.outcome := case
        when registration.id is null then 'not_found'
        when registration.status = 'completed' then 'item_completed'
        when registration.status = 'cancelled' then 'cancelled'
        when (sugang.refund_under_way(payment.id)).id is not null then 'refund_in_progress'
    end;
    if a.outcome is not null then return a; end if;
    rest := coalesce(payment.amount - payment.partly_refunded, 0);
    held := sugang.attempt_at_gateway(payment.id);
    if p_refund and rest > 0 and held.id is not null then
        p_ask.payment_id := payment.id;
        p_ask.amount := rest;
        p_ask.cancels_payment := true;
        return sugang.begin_refund(p_ask, held, p_lease);
    end if;
    -- A clock may have been set back.
    happened_at := greatest(clock_timestamp(), payment.paid_at, registration.enrolled_at);
    update course_registrations
        set status = 'cancelled', cancelled_at = happened_at, history_entries = history_entries + 1
        where id = p_registration;
    if p_refund or rest = 0 then
        update payments
            set status = 'cancelled', cancelled_at = happened_at, refund_reason = p_ask.reason,
                history_entries = history_entries + 1
            where id = payment.id;
    else
        insert into sugang.refunds (payment_id, amount, status, reason, requested_by)
            values (payment.id, rest, 'refused', p_ask.reason, p_user);
    end if;
    a.outcome := 'ok';
    a.body := format('{"registration":%s,"refunded":"%s","kept":"%s"}',
                     sugang.course_registration_json(array[p_registration]),
                     case when p_refund then rest else 0.00 end, case when p_refund then 0.00 else rest end);
    return a;
end $$;

create or replace function sugang.cancel_course_for_operator(p_function text, p_user bigint, p_id bigint,
                                                             p_registration bigint, p_refund boolean, p_reason text,
                                                             p_request_id text, p_key text, p_fingerprint text,
                                                             p_epoch bigint default null, p_account text default null,
                                                             p_lease_ms bigint default 30000)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_course_for_operator' then
        perform sugang.misrouted(p_function, 'cancel_course_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is null then a := sugang.repeated_refund(p_user, p_key, p_fingerprint); end if;
    if a.outcome is not null then return a; end if;
    return sugang.end_refund(p_user, p_key, p_fingerprint, sugang.do_cancel_course_for_operator(
        p_user, p_epoch, p_id, p_registration, p_refund,
        sugang.asked_refund(p_user, p_reason, p_account, p_key, p_fingerprint),
        make_interval(secs => p_lease_ms / 1e3)));
end $$;

-- ===== operator_seats (test)

-- One kind: what operators do with its registrations: they register a user, complete registrations, and cancel one.
--
-- Locks are taken in the order that functions/registrations.sql describes. A kept response begins with the
-- registration, by which the audit finds the change in the history.

-- p_form: user_id, or email_keys in the order in which they count; amount, payment_method, external_id and any_time.
create or replace function sugang.do_register_test_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                  p_form jsonb)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    target bigint;
    keys text[] := array(select jsonb_array_elements_text(p_form -> 'email_keys'));
begin
    if p_form ? 'user_id' then
        target := (select id from users where id = (p_form ->> 'user_id')::bigint and is_active);
    else
        target := (select id from users where sugang.email_key(email) = any (keys) and is_active
                   order by array_position(keys, sugang.email_key(email)) limit 1);
    end if;
    if target is null then
        a.outcome := 'invalid_fields';
        a.body := json_build_array(json_build_array(
            case when p_form ? 'user_id' then 'user_id' else 'email' end, 'unknown_user'))::text;
        return a;
    end if;
    perform sugang.lock_user(p_user);
    a := sugang.do_register_test(target, p_id, (p_form ->> 'amount')::numeric, p_form ->> 'payment_method', null, null,
                                   p_form ->> 'external_id', true, (p_form ->> 'any_time')::boolean);
    perform sugang.check_operator(p_user, p_epoch);
    if a.outcome <> 'ok' then return a; end if;
    a.body := '{"registration":'
        || sugang.test_registration_json(array[(a.body::jsonb ->> 'registration_id')::bigint]) || '}';
    return a;
end $$;

create or replace function sugang.register_test_for_operator(p_function text, p_user bigint, p_id bigint,
                                                               p_form text, p_request_id text, p_key text,
                                                               p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'register_test_for_operator' then
        perform sugang.misrouted(p_function, 'register_test_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_register_test_for_operator(
        p_user, p_epoch, p_id, p_form::jsonb));
end $$;

-- Completes all of these registrations or none. What is wrong: [[place in the list, reason], ...].
create or replace function sugang.do_complete_test_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                  p_registrations bigint[])
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    registration bigint;
begin
    perform from test_registrations where id = any (p_registrations) and test_id = p_id order by id for update;
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    a.body := (select json_agg(json_build_array(place - 1, reason) order by place)::text
        from unnest(p_registrations) with ordinality wanted (id, place)
        left join test_registrations r on r.id = wanted.id and r.test_id = p_id
        cross join lateral (select case
            when r.id is null then 'not_found'
            when r.status = 'completed' then 'already_completed'
            when r.status = 'cancelled' then 'cancelled'
            when sugang.gives_back_test(r.user_id, p_id) then 'refund_in_progress'
            when place > array_position(p_registrations, wanted.id) then 'already_completed'
        end) problem (reason)
        where reason is not null);
    if a.body is not null then
        a.outcome := 'invalid_rows';
        return a;
    end if;
    -- The triggers of seats.sql expect the API to change one at a time.
    foreach registration in array p_registrations loop
        update test_registrations
            set status = 'completed', completed_at = greatest(clock_timestamp(), applied_at),
                history_entries = history_entries + 1
            where id = registration;
    end loop;
    a.outcome := 'ok';
    a.body := '{"registration":' || sugang.test_registration_json(p_registrations[:1]) || '}';
    return a;
end $$;

create or replace function sugang.complete_test_for_operator(p_function text, p_user bigint, p_id bigint,
                                                               p_registrations text, p_request_id text, p_key text,
                                                               p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'complete_test_for_operator' then
        perform sugang.misrouted(p_function, 'complete_test_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_complete_test_for_operator(
        p_user, p_epoch, p_id, string_to_array(p_registrations, ',')::bigint[]));
end $$;

-- Cancels a registration. Its payment is given back, or stays paid with a refund that was refused: then the user
-- registers again at no cost, and only an operator gives the money back. A gateway gives it back first, and the
-- registration is cancelled once it has.
create or replace function sugang.do_cancel_test_for_operator(p_user bigint, p_epoch bigint, p_id bigint,
                                                                p_registration bigint, p_refund boolean,
                                                                p_ask sugang.refunds, p_lease interval)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    registration test_registrations;
    payment payments;
    held sugang.payment_attempts;
    rest numeric(10, 2);
    happened_at timestamptz;
begin
    select * into registration from test_registrations where id = p_registration and test_id = p_id;
    if registration.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('test ' || p_id, registration.user_id));
    select * into payment from payments
        where user_id = registration.user_id and object_id = p_id and status = 'paid'
          and content_type_id = (select content_type_id from sugang.kinds where kind = 'test') for update;
    select * into registration from test_registrations where id = p_registration and test_id = p_id for update;
    perform sugang.lock_user(p_user);
    perform sugang.check_operator(p_user, p_epoch);
    a.outcome := case
        when registration.id is null then 'not_found'
        when registration.status = 'completed' then 'item_completed'
        when registration.status = 'cancelled' then 'cancelled'
        when (sugang.refund_under_way(payment.id)).id is not null then 'refund_in_progress'
    end;
    if a.outcome is not null then return a; end if;
    rest := coalesce(payment.amount - payment.partly_refunded, 0);
    held := sugang.attempt_at_gateway(payment.id);
    if p_refund and rest > 0 and held.id is not null then
        p_ask.payment_id := payment.id;
        p_ask.amount := rest;
        p_ask.cancels_payment := true;
        return sugang.begin_refund(p_ask, held, p_lease);
    end if;
    -- A clock may have been set back.
    happened_at := greatest(clock_timestamp(), payment.paid_at, registration.applied_at);
    update test_registrations
        set status = 'cancelled', cancelled_at = happened_at, history_entries = history_entries + 1
        where id = p_registration;
    if p_refund or rest = 0 then
        update payments
            set status = 'cancelled', cancelled_at = happened_at, refund_reason = p_ask.reason,
                history_entries = history_entries + 1
            where id = payment.id;
    else
        insert into sugang.refunds (payment_id, amount, status, reason, requested_by)
            values (payment.id, rest, 'refused', p_ask.reason, p_user);
    end if;
    a.outcome := 'ok';
    a.body := format('{"registration":%s,"refunded":"%s","kept":"%s"}',
                     sugang.test_registration_json(array[p_registration]),
                     case when p_refund then rest else 0.00 end, case when p_refund then 0.00 else rest end);
    return a;
end $$;

create or replace function sugang.cancel_test_for_operator(p_function text, p_user bigint, p_id bigint,
                                                             p_registration bigint, p_refund boolean, p_reason text,
                                                             p_request_id text, p_key text, p_fingerprint text,
                                                             p_epoch bigint default null, p_account text default null,
                                                             p_lease_ms bigint default 30000)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_test_for_operator' then
        perform sugang.misrouted(p_function, 'cancel_test_for_operator');
    end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is null then a := sugang.repeated_refund(p_user, p_key, p_fingerprint); end if;
    if a.outcome is not null then return a; end if;
    return sugang.end_refund(p_user, p_key, p_fingerprint, sugang.do_cancel_test_for_operator(
        p_user, p_epoch, p_id, p_registration, p_refund,
        sugang.asked_refund(p_user, p_reason, p_account, p_key, p_fingerprint),
        make_interval(secs => p_lease_ms / 1e3)));
end $$;

-- ===== operator_users

-- What operators do with users: find them, look at one, deactivate and activate, end their logins.

create or replace function sugang.user_for_operator_json(users) returns json language sql stable as $$
    select json_build_object(
        'id', $1.id, 'email', $1.email, 'username', $1.username, 'is_active', $1.is_active,
        'is_operator', $1.is_staff or $1.is_superuser, 'is_superuser', $1.is_superuser,
        'last_login', sugang.iso($1.last_login))
$$;

-- Whether a key begins with a text. Unlike a pattern, this range of an index needs no second look at each row.
create or replace function sugang.begins_with(p_key text, p_beginning text) returns boolean
language sql immutable parallel safe as $$
    select p_key ~>=~ p_beginning and p_key ~<~ (p_beginning || chr(1114111))
$$;

-- The users whose address and name begin with what is given of these. Each condition is decided while the statement is
-- planned. The keys of an address are those of sugang.credentials.
create or replace function sugang.found_users(p_key text, p_typed_key text, p_ascii_key text, p_username text)
returns setof users language sql stable as $$
    select * from users
    where (p_key is null
           or sugang.begins_with(sugang.email_key(email), p_key)
           or p_typed_key <> p_key and sugang.begins_with(sugang.email_key(email), p_typed_key)
           or p_ascii_key <> p_key and sugang.begins_with(sugang.email_key(email), p_ascii_key))
      and (p_username is null
           or sugang.begins_with(sugang.username_key(username), sugang.username_key(p_username)))
$$;

-- The ids of one page, counted from the latest or the oldest one. All who match may be old: they are found by the index
-- of what they match, never along that of the ids (a sum is in no index), because a key takes long to compute.
create or replace function sugang.page_of_users(p_key text, p_typed_key text, p_ascii_key text, p_username text,
                                                p_low bigint, p_high bigint, p_from_oldest boolean, p_skipped bigint,
                                                p_wanted bigint)
returns setof bigint language sql stable as $$
    select id from sugang.found_users(p_key, p_typed_key, p_ascii_key, p_username)
    where (p_low is null or id >= p_low) and (p_high is null or id <= p_high)
    order by case when coalesce(p_key, p_username) is not null then case when p_from_oldest then id + 0 else 0 - id end end,
        case when p_from_oldest then id end, id desc
    offset p_skipped limit p_wanted
$$;

-- The latest first. A page is read from the nearer end of the list. Where many match, it is probably among the users at
-- that end, who are looked through first. The planner takes a key for cheap, therefore cpu_operator_cost.
create or replace function sugang.list_users(p_function text, p_user bigint, p_page bigint, p_key text,
                                             p_typed_key text, p_ascii_key text, p_username text,
                                             p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 set cpu_operator_cost = 0.1 as $$
declare
    a sugang.function_row;
    looked_through constant integer := 2000;
    found_n bigint;
    skipped bigint;
    wanted bigint;
    from_oldest boolean;
    low bigint;
    high bigint;
    ids bigint[];
begin
    if p_function is distinct from 'list_users' then perform sugang.misrouted(p_function, 'list_users'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select count(*) into found_n from sugang.found_users(p_key, p_typed_key, p_ascii_key, p_username);
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    skipped := (a.page - 1) * sugang.page_size();
    wanted := least(found_n - skipped, sugang.page_size());
    from_oldest := skipped > found_n / 2;
    if from_oldest then skipped := found_n - skipped - wanted; end if;
    if found_n > 20 * looked_through and skipped < looked_through then
        if from_oldest then
            select max(id) into high from (select id from users order by id limit looked_through) oldest;
        else
            select min(id) into low from (select id from users order by id desc limit looked_through) newest;
        end if;
        ids := array(select * from sugang.page_of_users(p_key, p_typed_key, p_ascii_key, p_username, low, high,
                                                        from_oldest, skipped, wanted));
    end if;
    if cardinality(ids) is distinct from wanted then
        ids := array(select * from sugang.page_of_users(p_key, p_typed_key, p_ascii_key, p_username, null, null,
                                                        from_oldest, skipped, wanted));
    end if;
    a.outcome := 'ok';
    a.body := (select coalesce(json_agg(sugang.user_for_operator_json(u) order by id desc), '[]')
               from users u where id = any (ids))::text;
    return a;
end $$;

-- A user with the number of their payments, and of their registrations of each kind.
create or replace function sugang.get_user(p_function text, p_user bigint, p_id bigint, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    found_user users;
    k record;
    n bigint;
    counts jsonb := '{}'::jsonb;
begin
    if p_function is distinct from 'get_user' then perform sugang.misrouted(p_function, 'get_user'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select * into found_user from users where id = p_id;
    if not found then
        a.outcome := 'not_found';
        return a;
    end if;
    for k in select kind from sugang.kinds loop
        execute format('select sugang.%I($1)', 'count_' || k.kind || '_registrations') into n using p_id;
        counts := counts || jsonb_build_object(k.kind, n);
    end loop;
    a.outcome := 'ok';
    a.body := (sugang.user_for_operator_json(found_user)::jsonb || jsonb_build_object(
        'payments', (select count(*) from payments where user_id = p_id), 'registrations', counts))::text;
    return a;
end $$;

-- The registrations of a user for items of all kinds.
create or replace function sugang.registrations_of_user(p_user bigint)
returns table (kind text, id bigint, registered_at timestamptz) language plpgsql stable as $$
declare
    known record;
begin
    for known in select k.kind from sugang.kinds k loop
        for kind, id, registered_at in
            execute format('select * from sugang.%I($1)', known.kind || '_registrations_of_user') using p_user loop
            return next;
        end loop;
    end loop;
end $$;

create or replace function sugang.registration_of_user_json(p_kind text, p_id bigint) returns json
language plpgsql stable as $$
declare
    object json;
begin
    execute format('select sugang.%I($1)', p_kind || '_registration_of_user_json') into object using p_id;
    return object;
end $$;

-- One page of them, newest first.
create or replace function sugang.list_user_registrations(p_function text, p_user bigint, p_id bigint, p_page bigint,
                                                          p_epoch bigint default null)
returns sugang.function_row language plpgsql stable as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'list_user_registrations' then
        perform sugang.misrouted(p_function, 'list_user_registrations');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is null and not exists (select from users where id = p_id) then a.outcome := 'not_found'; end if;
    if a.outcome is not null then return a; end if;
    a := sugang.paginate((select count(*) from sugang.registrations_of_user(p_id)), p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := (select coalesce(json_agg(sugang.registration_of_user_json(kind, id)
                                        order by registered_at desc, kind, id desc), '[]')
               from (select * from sugang.registrations_of_user(p_id) order by registered_at desc, kind, id desc
                     offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) page)::text;
    return a;
end $$;

-- Both rows are locked, so that of two operators who deactivate each other one succeeds.
create or replace function sugang.do_change_user(p_user bigint, p_target bigint, p_change text, p_epoch bigint)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    target users;
begin
    perform from users where id in (p_user, p_target) order by id for no key update;
    perform sugang.check_operator(p_user, p_epoch);
    select * into target from users where id = p_target;
    a.outcome := case
        when target.id is null then 'not_found'
        when p_target = p_user and p_change = 'deactivate' then 'own_account'
        when p_target <> p_user and (target.is_staff or target.is_superuser)
            and not exists (select from users where id = p_user and is_superuser) then 'not_superuser'
    end;
    if a.outcome is not null then return a; end if;
    if p_change = 'logout' then
        -- The trigger makes the new epoch the time.
        update users set token_epoch = coalesce(token_epoch, 0) + 1 where id = p_target;
    else
        update users set is_active = p_change = 'activate'
            where id = p_target and is_active <> (p_change = 'activate');
    end if;
    a.outcome := 'ok';
    a.body := (select sugang.user_for_operator_json(u) from users u where id = p_target)::text;
    return a;
end $$;

-- p_change: 'activate', 'deactivate' or 'logout', which ends all logins of the user.
create or replace function sugang.change_user(p_function text, p_user bigint, p_target bigint, p_change text,
                                              p_request_id text, p_key text, p_fingerprint text,
                                              p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'change_user' then perform sugang.misrouted(p_function, 'change_user'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_change_user(p_user, p_target, p_change, p_epoch));
end $$;

-- ===== operator_users_of_kind (course)

-- One kind: the registrations of a user, those that are cancelled included.

create or replace function sugang.count_course_registrations(p_user bigint) returns bigint language sql stable as $$
    select count(*) from course_registrations where user_id = p_user
$$;

create or replace function sugang.course_registrations_of_user(p_user bigint)
returns table (kind text, id bigint, registered_at timestamptz) language sql stable as $$
    select 'course', id, enrolled_at from course_registrations where user_id = p_user
$$;

-- A registration with what it is for.
create or replace function sugang.course_registration_of_user_json(p_id bigint) returns json language sql stable as $$
    select json_build_object('kind', 'course', 'item_id', i.id, 'title', i.title,
                             'registration', sugang.course_registration_json(array[p_id])::json)
    from course_registrations r join courses i on i.id = r.course_id where r.id = p_id
$$;

-- ===== operator_users_of_kind (test)

-- One kind: the registrations of a user, those that are cancelled included.

create or replace function sugang.count_test_registrations(p_user bigint) returns bigint language sql stable as $$
    select count(*) from test_registrations where user_id = p_user
$$;

create or replace function sugang.test_registrations_of_user(p_user bigint)
returns table (kind text, id bigint, registered_at timestamptz) language sql stable as $$
    select 'test', id, applied_at from test_registrations where user_id = p_user
$$;

-- A registration with what it is for.
create or replace function sugang.test_registration_of_user_json(p_id bigint) returns json language sql stable as $$
    select json_build_object('kind', 'test', 'item_id', i.id, 'title', i.title,
                             'registration', sugang.test_registration_json(array[p_id])::json)
    from test_registrations r join tests i on i.id = r.test_id where r.id = p_id
$$;

-- ===== operators

-- Operators: who may send the requests below /api/operator/, and who makes operators.

-- The outcome for a user who is not an active operator, or whose token has ended; null for an operator. It is that of a
-- path that does not exist, so no other user learns that this one does.
create or replace function sugang.operator_error(p_user bigint, p_epoch bigint) returns sugang.outcome
language plpgsql stable as $$
begin
    return case
        when sugang.authorization_error(p_user, p_epoch) is not null
            or not exists (select from users where id = p_user and (is_staff or is_superuser)) then 'not_found'
    end;
end $$;

-- For a request that is refused before its function is called, as for a wrong field: only an operator is told why.
create or replace function sugang.prove_operator(p_function text, p_user bigint, p_epoch bigint)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'prove_operator' then perform sugang.misrouted(p_function, 'prove_operator'); end if;
    a.outcome := coalesce(sugang.operator_error(p_user, p_epoch), 'ok');
    return a;
end $$;

-- Begins a change by an operator, as sugang.begin_idempotent does that of a user.
create or replace function sugang.begin_operation(p_user bigint, p_epoch bigint, p_request_id text, p_key text,
                                                  p_fingerprint text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    return sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
end $$;

-- Refuses to go on with a change whose operator has lost the right while it waited for a lock. The API sends the
-- statement once more, and finds the reason.
create or replace function sugang.check_operator(p_user bigint, p_epoch bigint) returns void language plpgsql as $$
begin
    if sugang.operator_error(p_user, p_epoch) is not null then
        raise serialization_failure using message = 'the operator has lost the right meanwhile';
    end if;
end $$;

create or replace function sugang.do_set_operator(p_user bigint, p_target bigint, p_operator boolean, p_epoch bigint)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    target users;
begin
    if not exists (select from users where id = p_user and is_superuser) then
        a.outcome := 'not_superuser';
        return a;
    end if;
    select * into target from users where id = p_target for no key update;
    perform sugang.check_operator(p_user, p_epoch);
    a.outcome := case
        when target.id is null then 'not_found'
        when target.is_superuser and not p_operator then 'target_is_superuser'
    end;
    if a.outcome is not null then return a; end if;
    update users set is_staff = p_operator where id = p_target and is_staff <> p_operator;
    a.outcome := 'ok';
    a.body := json_build_object('id', target.id, 'email', target.email, 'username', target.username,
                                'is_operator', p_operator or target.is_superuser,
                                'is_superuser', target.is_superuser)::text;
    return a;
end $$;

-- Makes a user an operator, or takes that right. A superuser is made and unmade on the machine alone.
create or replace function sugang.set_operator(p_function text, p_user bigint, p_target bigint, p_operator boolean,
                                               p_request_id text, p_key text, p_fingerprint text,
                                               p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'set_operator' then perform sugang.misrouted(p_function, 'set_operator'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_set_operator(p_user, p_target, p_operator, p_epoch));
end $$;

-- ===== order_payments

-- How an order is paid: in three steps. The first locks the order, checks it, and notes what will be sent; the second
-- is the call to the gateway, while no transaction is open; the third settles what the gateway has said. A return, an
-- event, a look-up and an operator settle by the same function, which takes effect once.

create or replace function sugang.open_attempt(o sugang.orders) returns void language plpgsql as $$
begin
    insert into sugang.payment_attempts (order_id, gateway, reference, amount)
        values (o.id, o.gateway, sugang.new_reference(), o.price);
end $$;

-- Changes an order that waits for its user, who keeps the seat as long as before. What was opened at the gateway for
-- another amount or method is void.
create or replace function sugang.change_order(o sugang.orders, p_title text, p_price numeric, p_method text,
                                               p_gateway text, p_window_keys jsonb, p_needs_opening boolean)
returns sugang.orders language plpgsql as $$
begin
    if (o.price, o.payment_method, o.gateway) = (p_price, p_method, p_gateway) then return o; end if;
    update sugang.payment_attempts t
        set status = 'void', ended_at = clock_timestamp(), reconcile_at = sugang.first_closing(t)
        where order_id = o.id and is_live;
    update sugang.orders set title = p_title, price = p_price, payment_method = p_method, gateway = p_gateway,
            window_keys = p_window_keys, needs_opening = p_needs_opening
        where id = o.id returning * into o;
    perform sugang.open_attempt(o);
    return o;
end $$;

-- What is sent to a gateway, or looked up there.
create or replace function sugang.attempt_json(t sugang.payment_attempts, o sugang.orders) returns json
language sql stable as $$
    select json_build_object(
        'attempt', t.id, 'order', o.id, 'user', o.user_id, 'kind', o.kind, 'title', sugang.order_name(o),
        'gateway', t.gateway, 'status', t.status, 'reference', t.reference,
        'idempotency_key', coalesce(t.idempotency_key, ''), 'gateway_key', t.gateway_key, 'window_key', t.window_key,
        'amount', t.amount::text, 'currency', t.currency, 'tries', t.tries, 'facts', t.facts)
$$;

-- Step 1. The outcome `send` has the attempt to send; `accepted`, and `ok` for one that is paid, have the order as it
-- is. A deposit that an operator confirms needs no call: it is waited for from now on.
create or replace function sugang.do_begin_approval(p_user bigint, p_id bigint, p_gateway_key text, p_amount numeric,
                                                    p_lease interval, p_deposit interval, p_account text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
    due timestamptz;
begin
    o := sugang.lock_order(p_id, p_user);
    perform sugang.lock_user(p_user);
    a.outcome := case
        when o.id is null then 'not_found'
        when o.status = 'paid' then 'ok'
        when o.status in ('approving', 'awaiting_deposit') then 'accepted'
        when o.status <> 'held' then 'order_ended'
        when p_amount <> o.price then 'amount_mismatch'
        -- An operator has removed the gateway.
        when o.gateway = 'manual' and p_account is null then 'method_unavailable'
    end;
    if a.outcome is null then
        execute format('select sugang.%I($1)', o.kind || '_payment_error') into a.outcome using o;
        if a.outcome is not null then
            perform sugang.end_order(p_id, case a.outcome when 'order_ended' then 'expired' else 'cancelled' end);
        end if;
    end if;
    if a.outcome in ('amount_mismatch', 'already_registered') then
        a.body := json_build_object('kind', o.kind)::text;
    elsif a.outcome in ('ok', 'accepted') then
        a.body := (select object from sugang.order_json(o));
    end if;
    if a.outcome is not null then return a; end if;

    -- Under the lock of the order, no other request opens or ends its attempt.
    if o.needs_opening and not exists (
            select from sugang.payment_attempts where order_id = p_id and is_live and gateway_key is not null) then
        a.outcome := 'not_opened';
    elsif o.gateway = 'manual' then
        execute format('select sugang.%I($1)', o.kind || '_end') into due using o.item_id;
        due := least(due, clock_timestamp() + p_deposit);
        update sugang.payment_attempts
            set status = 'waiting', due_at = due, sent_at = clock_timestamp(),
                facts = json_build_object('account', p_account)
            where order_id = p_id and is_live;
        update sugang.orders set status = 'awaiting_deposit', expires_at = due where id = p_id returning * into o;
        a.outcome := 'accepted';
        a.body := (select object from sugang.order_json(o));
    elsif not o.needs_opening and exists (
            select from sugang.payment_attempts
            where gateway = o.gateway and gateway_key = p_gateway_key and (order_id <> p_id or not is_live)) then
        a.outcome := 'key_used';
    else
        update sugang.payment_attempts
            set status = 'sent', window_key = p_gateway_key, tries = tries + 1, sent_at = clock_timestamp(),
                gateway_key = case when o.needs_opening then gateway_key else p_gateway_key end,
                idempotency_key = coalesce(idempotency_key, gen_random_uuid()::text),
                lease_until = clock_timestamp() + p_lease
            where order_id = p_id and is_live returning * into t;
        update sugang.orders set status = 'approving' where id = p_id;
        a.outcome := 'send';
        a.body := sugang.attempt_json(t, o)::text;
    end if;
    return a;
end $$;

-- p_account: where the user pays a deposit that an operator confirms. What is still to be known is no answer that is
-- kept: repeated, the request finds the order as it is by then, and an order takes one approval.
create or replace function sugang.begin_approval(p_function text, p_user bigint, p_order bigint, p_gateway_key text,
                                                 p_amount text, p_lease_ms bigint, p_deposit_seconds bigint,
                                                 p_account text, p_request_id text, p_key text, p_fingerprint text,
                                                 p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    kept_attempt text;
begin
    if p_function is distinct from 'begin_approval' then perform sugang.misrouted(p_function, 'begin_approval'); end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return sugang.with_now(a); end if;
    kept_attempt := a.body;
    a.body := sugang.declined_approval(p_user, p_order, kept_attempt);
    if a.body is not null then
        a.outcome := 'ok';
    else
        a := sugang.do_begin_approval(p_user, p_order, p_gateway_key, p_amount::numeric,
                                      make_interval(secs => p_lease_ms / 1e3),
                                      make_interval(secs => p_deposit_seconds), p_account);
    end if;
    if a.outcome in ('send', 'accepted') then
        perform sugang.keep_approval(p_user, p_order, p_key, p_fingerprint, kept_attempt);
    end if;
    if a.outcome in ('send', 'accepted', 'not_opened', 'method_unavailable') then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, a);
end $$;

-- Works as its owner, as sugang.advance_sequences: a role needs no right on an identity.
create or replace function sugang.next_payment_id() returns bigint language sql
security definer set search_path = public, pg_temp as $$
    select nextval(sugang.id_sequence('payments'))
$$;

-- The id of a payment as its row has it, which takes 100 characters. A gateway's id may be longer: the facts of the
-- attempt have the whole of it, and a search for the whole finds what is stored here.
create or replace function sugang.stored_external_id(p_id text) returns text language sql immutable parallel safe as $$
    select case when length(p_id) <= 100 then p_id
                else left(p_id, 35) || '~' || encode(sha256(convert_to(p_id, 'UTF8')), 'hex') end
$$;

-- Money that pays for nothing: it came for an order that has no seat any more, twice, or in another amount. It is a
-- payment that is cancelled at once, so its refund of the whole is requested in the same statement.
create or replace function sugang.set_aside(o sugang.orders, t sugang.payment_attempts, p_amount numeric,
                                            p_external_id text)
returns sugang.orders language plpgsql as $$
declare
    payment bigint := sugang.next_payment_id();
    happened_at timestamptz := clock_timestamp();
begin
    -- First, so that the trigger of the payment finds a gateway that holds the money.
    update sugang.payment_attempts
        set status = 'surplus', captured = p_amount, payment_id = payment, ended_at = happened_at,
            reconcile_at = sugang.first_reconciliation(t)
        where id = t.id;
    insert into payments (id, user_id, payment_type, content_type_id, object_id, amount, payment_method,
                          external_transaction_id, status, refund_reason, paid_at, cancelled_at, search_vector,
                          target_title, registration_time)
        values (payment, o.user_id, o.kind, (select content_type_id from sugang.kinds where kind = o.kind), o.item_id,
                p_amount, o.payment_method, p_external_id, 'cancelled', 'order ' || o.id || ' has no seat', happened_at,
                happened_at, to_tsvector('simple', o.title), o.title, happened_at);
    -- An order that is paid stays so, and one with another attempt under way waits for it.
    if o.status in ('expired', 'cancelled') or o.is_live and t.is_live then
        update sugang.orders set status = 'refund_due', payment_id = payment where id = o.id returning * into o;
    end if;
    return o;
end $$;

-- Money has arrived for an attempt. An order that holds its seat gets it; one that has ended gets a free seat, within
-- the period. The same statement writes payment and registration, or a refund.
create or replace function sugang.capture(o sugang.orders, t sugang.payment_attempts, p_facts jsonb)
returns sugang.orders language plpgsql as $$
declare
    a sugang.function_row;
    registered jsonb;
    paid numeric(10, 2) := (p_facts ->> 'amount')::numeric;
    given_back numeric(10, 2) := coalesce((p_facts ->> 'given_back')::numeric, 0);
    external_id text := coalesce(p_facts ->> 'external_id', t.gateway_key, t.reference);
begin
    -- A deposit that comes again after it was taken back is another payment, which the gateway gives the same id.
    external_id := sugang.stored_external_id(
        external_id || coalesce('#' || 1 + jsonb_array_length(t.facts -> 'taken_back'), ''));
    if o.status not in ('paid', 'refund_due') and paid = o.price and paid = t.amount
       and coalesce(p_facts ->> 'currency', t.currency) = t.currency then
        execute format('select outcome, body from sugang.%I($1, $2, $3, $4, null, null, $5, true, $6, true, $7)',
                       'do_register_' || o.kind)
            into a.outcome, a.body using o.user_id, o.item_id, paid, o.payment_method, external_id, o.is_live, o.id;
    end if;
    if a.outcome is distinct from 'ok' then
        update sugang.payment_attempts set facts = coalesce(facts, '{}') || p_facts where id = t.id;
        return sugang.set_aside(o, t, paid - given_back, external_id);
    end if;
    registered := a.body::jsonb;
    update sugang.payment_attempts
        set status = 'captured', facts = coalesce(facts, '{}') || p_facts, captured = paid,
            payment_id = (registered ->> 'payment_id')::bigint, ended_at = clock_timestamp(),
            -- The next sweep notes what was given back already.
            reconcile_at = case when given_back > 0 then '-infinity' else sugang.first_reconciliation(t) end
        where id = t.id;
    -- The live attempt of an order is its only one. Another one that has been sent is still looked up: its money would
    -- be surplus.
    if not t.is_live then
        update sugang.payment_attempts v
            set status = 'void', ended_at = clock_timestamp(), reconcile_at = sugang.first_closing(v)
            where order_id = o.id and status = 'open';
    end if;
    update sugang.orders
        set status = 'paid', payment_id = (registered ->> 'payment_id')::bigint,
            registration_id = (registered ->> 'registration_id')::bigint
        where id = o.id returning * into o;
    return o;
end $$;

-- No money has moved. The user may try again while the seat is held, with another attempt.
create or replace function sugang.decline(o sugang.orders, t sugang.payment_attempts, p_facts jsonb)
returns sugang.orders language plpgsql as $$
begin
    update sugang.payment_attempts
        set status = 'declined', code = p_facts ->> 'code', facts = coalesce(facts, '{}') || p_facts,
            ended_at = clock_timestamp(), reconcile_at = sugang.first_closing(t)
        where id = t.id;
    if o.status in ('held', 'approving') and o.expires_at > clock_timestamp() then
        update sugang.orders set status = 'held' where id = o.id returning * into o;
        perform sugang.open_attempt(o);
    elsif o.is_live then
        update sugang.orders set status = 'expired' where id = o.id returning * into o;
    end if;
    return o;
end $$;

-- Step 3: settles an attempt; it takes effect once, however often it is called. p_outcome:
--   captured  the money is there; facts: amount, given_back (of it, in the gateway's console), currency, external_id
--   declined  surely no money has moved, nor will; facts: code
--   waiting   a deposit is expected; facts: due_at, account, secret
--   not_sent  surely nothing has reached the gateway: the same attempt may be sent again
--   unknown   nothing is known yet; the seat stays held, and the sweep looks it up
-- The caller has locked the order.
create or replace function sugang.settle(o sugang.orders, p_attempt bigint, p_outcome text, p_facts jsonb)
returns sugang.orders language plpgsql as $$
declare
    t sugang.payment_attempts;
    due timestamptz;
begin
    select * into t from sugang.payment_attempts where id = p_attempt for update;
    if p_outcome = 'captured' and t.payment_id is null then
        return sugang.capture(o, t, p_facts);
    elsif p_outcome = 'declined' and t.is_live then
        return sugang.decline(o, t, p_facts);
    elsif p_outcome = 'waiting' and t.status = 'sent' then
        -- The gateway may give weeks; no seat is held beyond the period.
        execute format('select least(sugang.%I($1), $2)', o.kind || '_end') into due
            using o.item_id, (p_facts ->> 'due_at')::timestamptz;
        update sugang.payment_attempts
            set status = 'waiting', due_at = due, secret = p_facts ->> 'secret',
                facts = coalesce(facts, '{}') || (p_facts - 'secret'), lease_until = null
            where id = p_attempt returning * into t;
        update sugang.orders set status = 'awaiting_deposit', expires_at = t.due_at
            where id = o.id and status = 'approving';
    elsif p_outcome = 'waiting' and t.status = 'waiting' and t.due_at < clock_timestamp() then
        -- What comes now is late money.
        perform sugang.end_order(o.id, 'expired');
    elsif p_outcome = 'not_sent' and t.status = 'sent' then
        update sugang.payment_attempts set status = 'open', lease_until = null where id = p_attempt;
        update sugang.orders set status = 'held' where id = o.id and status = 'approving';
    elsif p_outcome not in ('captured', 'declined', 'waiting', 'not_sent', 'unknown') then
        raise invalid_parameter_value using message = format('unknown outcome %s of attempt %s', p_outcome, p_attempt);
    end if;
    select * into o from sugang.orders where id = o.id;
    return o;
end $$;

-- Settles an attempt for its user, and keeps the answer under the key of the request that has begun it, if there is
-- one. What was not sent is no answer to be kept: the client may send it again, or correct it, under the same key.
create or replace function sugang.settle_attempt(p_function text, p_attempt bigint, p_outcome text, p_facts text,
                                                 p_request_id text, p_key text, p_fingerprint text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
begin
    if p_function is distinct from 'settle_attempt' then perform sugang.misrouted(p_function, 'settle_attempt'); end if;
    o := sugang.lock_order((select order_id from sugang.payment_attempts where id = p_attempt));
    if o.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    perform sugang.set_actor(o.user_id, p_request_id);
    o := sugang.settle(o, p_attempt, p_outcome, p_facts::jsonb);
    a.outcome := case when o.status in ('approving', 'awaiting_deposit') then 'accepted' else 'ok' end;
    a.body := (select object from sugang.order_json(o));
    if p_outcome = 'not_sent' then
        delete from sugang.idempotency_keys
            where user_id = o.user_id and key = p_key and fingerprint = p_fingerprint and outcome = 'send';
        return a;
    end if;
    return sugang.end_idempotent(o.user_id, case when a.outcome = 'ok' then p_key end, p_fingerprint, a);
end $$;

-- Step 1 for a browser that comes back from the payment window of an attempt, and has no token. Without the window's
-- key, and for an attempt that is not the one to be paid now, nothing begins. But for `send`, the row has the order as
-- it is.
create or replace function sugang.begin_return(p_function text, p_order bigint, p_reference text, p_gateway_key text,
                                               p_amount text, p_lease_ms bigint, p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
begin
    if p_function is distinct from 'begin_return' then perform sugang.misrouted(p_function, 'begin_return'); end if;
    o := sugang.lock_order(p_order);
    select * into t from sugang.payment_attempts where order_id = p_order and reference = p_reference;
    a.outcome := case
        when t.id is null then 'not_found'
        when p_gateway_key is null or t.status <> 'open' or o.gateway = 'manual'
            or sugang.authorization_error(o.user_id, null) is not null then 'ok'
    end;
    if a.outcome is null then
        perform sugang.set_actor(o.user_id, p_request_id);
        a := sugang.do_begin_approval(o.user_id, p_order, p_gateway_key, p_amount::numeric,
                                      make_interval(secs => p_lease_ms / 1e3), null, null);
    end if;
    if a.outcome <> 'send' then
        select object into a.body from sugang.orders c, sugang.order_json(c) where c.id = p_order;
    end if;
    return a;
end $$;

-- ===== orders

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

-- ===== orders_of_kind (course)

-- One kind: the seats that orders hold, and the pre-order that takes one.

-- Keeps held_count, whichever program writes the orders. The trigger of the item guards it: see seats.sql.
create or replace function sugang.course_order_written() returns trigger language plpgsql as $$
declare
    item bigint;
    change integer := 0;
begin
    if tg_op = 'UPDATE' and new.is_live = old.is_live then return null; end if;
    item := case when tg_op = 'DELETE' then old.item_id else new.item_id end;
    if tg_op <> 'DELETE' then change := new.is_live::integer; end if;
    if tg_op <> 'INSERT' then change := change - old.is_live::integer; end if;
    if change <> 0 then update courses set held_count = held_count + change where id = item; end if;
    return null;
end $$;
create or replace trigger sugang_course_order_added after insert or update on sugang.orders
    for each row when (new.kind = 'course') execute function sugang.course_order_written();
create or replace trigger sugang_course_order_removed after delete on sugang.orders
    for each row when (old.kind = 'course') execute function sugang.course_order_written();

-- An item that another program deletes, or gives another id, ends the orders that nothing was paid for.
create or replace function sugang.end_orders_of_course() returns trigger language plpgsql as $$
declare
    o record;
begin
    if exists (select from sugang.orders
               where kind = 'course' and item_id = old.id and status in ('approving', 'awaiting_deposit')) then
        raise check_violation using message = format('an order for course %s is being paid', old.id), table = 'courses',
            constraint = 'orders_outcome_known', hint = 'Wait for its outcome, or cancel it first.';
    end if;
    for o in select id from sugang.orders where kind = 'course' and item_id = old.id and is_live loop
        perform sugang.end_order(o.id, 'cancelled');
    end loop;
    return null;
end $$;
create or replace trigger sugang_orders_deleted after delete on courses
    for each row when (old.held_count <> 0) execute function sugang.end_orders_of_course();
create or replace trigger sugang_orders_moved after update of id on courses
    for each row when (old.held_count <> 0 and new.id <> old.id) execute function sugang.end_orders_of_course();

create or replace function sugang.course_items_truncated() returns trigger language plpgsql as $$
begin
    if exists (select from sugang.orders where kind = 'course' and status in ('approving', 'awaiting_deposit')) then
        raise check_violation using message = 'an order for a course is being paid', table = 'courses',
            constraint = 'orders_outcome_known';
    end if;
    perform sugang.end_order(id, 'cancelled') from sugang.orders where kind = 'course' and is_live;
    return null;
end $$;
create or replace trigger sugang_orders_truncated before truncate on courses
    for each statement execute function sugang.course_items_truncated();

-- Called when the item is full: releases up to ten expired holds of other users, and tells whether a seat is free then.
-- Holds that another statement works on are left to it.
create or replace function sugang.frees_course_seat(p_id bigint) returns boolean
language plpgsql as $$
declare
    o record;
begin
    for o in select id from sugang.orders
            where kind = 'course' and item_id = p_id and is_live and status = 'held' and expires_at < clock_timestamp()
            order by expires_at limit 10 for update skip locked loop
        perform sugang.end_order(o.id, 'expired');
    end loop;
    return (select registration_count + held_count < capacity from courses where id = p_id);
end $$;

-- Why an order may not be paid any more; null if it may.
create or replace function sugang.course_payment_error(o sugang.orders) returns sugang.outcome
language plpgsql stable as $$
begin
    return case
        when exists (select from course_registrations
                     where user_id = o.user_id and course_id = o.item_id and status <> 'cancelled')
            then 'already_registered'
        when not exists (select from courses where id = o.item_id and end_at >= clock_timestamp()) then 'order_ended'
    end;
end $$;

-- Cancels the registration of an order whose deposit was taken back, unless it is completed. Returns whether the order
-- may hold a seat again.
create or replace function sugang.release_course_of_order(o sugang.orders) returns boolean language plpgsql as $$
begin
    update course_registrations
        set status = 'cancelled', cancelled_at = greatest(clock_timestamp(), enrolled_at),
            history_entries = history_entries + 1
        where id = o.registration_id and status = 'enrolled';
    return found and exists (
        select from courses
        where id = o.item_id and end_at > clock_timestamp()
          and coalesce(registration_count + held_count < capacity, true));
end $$;

create or replace function sugang.course_end(p_id bigint) returns timestamptz language sql stable as $$
    select end_at from courses where id = p_id
$$;

-- The checks are those of do_register_course, in their order.
create or replace function sugang.do_preorder_course(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                     p_gateway text, p_min numeric, p_max numeric, p_hold interval,
                                                     p_window_keys jsonb, p_needs_opening boolean)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item record;
    o sugang.orders;
    happened_at timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended('course ' || p_id, p_user));
    select * into o from sugang.orders where user_id = p_user and kind = 'course' and item_id = p_id and is_live
        for update;
    perform sugang.lock_user(p_user);
    happened_at := clock_timestamp();
    -- Only the columns that are read, as in do_register_course.
    select id, title, price, start_at, end_at, capacity, registration_count, held_count,
           exists (select from payments
                   where user_id = p_user and object_id = p_id and status = 'paid'
                     and content_type_id = (select content_type_id from sugang.kinds where kind = 'course')) as is_paid,
           exists (select from course_registrations
                   where user_id = p_user and course_id = p_id and status <> 'cancelled') as is_registered
        into item from courses where id = p_id and not hidden;
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
        select id, title, price, start_at, end_at, capacity, registration_count, held_count into item from courses
            where id = p_id;
    end if;
    if o.id is not null then
        a.outcome := 'held_before';
        o := sugang.change_order(o, item.title, item.price, p_method, p_gateway, p_window_keys, p_needs_opening);
    elsif coalesce(item.registration_count + item.held_count >= item.capacity, false)
        and (item.held_count = 0 or not sugang.frees_course_seat(p_id)) then
        a.outcome := 'sold_out';
        return a;
    else
        a.outcome := 'ok';
        insert into sugang.orders
            (user_id, kind, item_id, title, price, payment_method, gateway, window_keys, needs_opening, created_at,
             expires_at)
            values (p_user, 'course', p_id, item.title, item.price, p_method, p_gateway, p_window_keys, p_needs_opening,
                    happened_at, least(happened_at + p_hold, item.end_at))
            returning * into o;
        perform sugang.open_attempt(o);
        -- As in do_register_course: what has decided is read again under the lock of the item's row. Not with `=`, for
        -- which a plan may choose the index of a time that many items share.
        if not exists (select from courses i
                       where i.id = p_id and not i.hidden and exists (select from users where id = p_user and is_active)
                         and (i.price, i.start_at, i.end_at)
                             is not distinct from (item.price, item.start_at, item.end_at)) then
            raise serialization_failure using message = 'the course or the user has changed meanwhile';
        end if;
    end if;
    a.body := (select object from sugang.order_json(o));
    return a;
end $$;

create or replace function sugang.preorder_course(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                  p_method text, p_gateway text, p_min text, p_max text,
                                                  p_hold_seconds bigint, p_window_keys text,
                                                  p_needs_opening boolean, p_request_id text, p_key text,
                                                  p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'preorder_course' then
        perform sugang.misrouted(p_function, 'preorder_course');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return sugang.with_now(a); end if;
    -- Not kept: it depends on the configuration.
    if p_gateway is null then
        a.outcome := 'method_unavailable';
        return a;
    end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_preorder_course(
        p_user, p_id, p_amount::numeric, p_method, p_gateway, p_min::numeric, p_max::numeric,
        make_interval(secs => p_hold_seconds), p_window_keys::jsonb, p_needs_opening));
end $$;

-- ===== orders_of_kind (test)

-- One kind: the seats that orders hold, and the pre-order that takes one.

-- Keeps held_count, whichever program writes the orders. The trigger of the item guards it: see seats.sql.
create or replace function sugang.test_order_written() returns trigger language plpgsql as $$
declare
    item bigint;
    change integer := 0;
begin
    if tg_op = 'UPDATE' and new.is_live = old.is_live then return null; end if;
    item := case when tg_op = 'DELETE' then old.item_id else new.item_id end;
    if tg_op <> 'DELETE' then change := new.is_live::integer; end if;
    if tg_op <> 'INSERT' then change := change - old.is_live::integer; end if;
    if change <> 0 then update tests set held_count = held_count + change where id = item; end if;
    return null;
end $$;
create or replace trigger sugang_test_order_added after insert or update on sugang.orders
    for each row when (new.kind = 'test') execute function sugang.test_order_written();
create or replace trigger sugang_test_order_removed after delete on sugang.orders
    for each row when (old.kind = 'test') execute function sugang.test_order_written();

-- An item that another program deletes, or gives another id, ends the orders that nothing was paid for.
create or replace function sugang.end_orders_of_test() returns trigger language plpgsql as $$
declare
    o record;
begin
    if exists (select from sugang.orders
               where kind = 'test' and item_id = old.id and status in ('approving', 'awaiting_deposit')) then
        raise check_violation using message = format('an order for test %s is being paid', old.id), table = 'tests',
            constraint = 'orders_outcome_known', hint = 'Wait for its outcome, or cancel it first.';
    end if;
    for o in select id from sugang.orders where kind = 'test' and item_id = old.id and is_live loop
        perform sugang.end_order(o.id, 'cancelled');
    end loop;
    return null;
end $$;
create or replace trigger sugang_orders_deleted after delete on tests
    for each row when (old.held_count <> 0) execute function sugang.end_orders_of_test();
create or replace trigger sugang_orders_moved after update of id on tests
    for each row when (old.held_count <> 0 and new.id <> old.id) execute function sugang.end_orders_of_test();

create or replace function sugang.test_items_truncated() returns trigger language plpgsql as $$
begin
    if exists (select from sugang.orders where kind = 'test' and status in ('approving', 'awaiting_deposit')) then
        raise check_violation using message = 'an order for a test is being paid', table = 'tests',
            constraint = 'orders_outcome_known';
    end if;
    perform sugang.end_order(id, 'cancelled') from sugang.orders where kind = 'test' and is_live;
    return null;
end $$;
create or replace trigger sugang_orders_truncated before truncate on tests
    for each statement execute function sugang.test_items_truncated();

-- Called when the item is full: releases up to ten expired holds of other users, and tells whether a seat is free then.
-- Holds that another statement works on are left to it.
create or replace function sugang.frees_test_seat(p_id bigint) returns boolean
language plpgsql as $$
declare
    o record;
begin
    for o in select id from sugang.orders
            where kind = 'test' and item_id = p_id and is_live and status = 'held' and expires_at < clock_timestamp()
            order by expires_at limit 10 for update skip locked loop
        perform sugang.end_order(o.id, 'expired');
    end loop;
    return (select registration_count + held_count < capacity from tests where id = p_id);
end $$;

-- Why an order may not be paid any more; null if it may.
create or replace function sugang.test_payment_error(o sugang.orders) returns sugang.outcome
language plpgsql stable as $$
begin
    return case
        when exists (select from test_registrations
                     where user_id = o.user_id and test_id = o.item_id and status <> 'cancelled')
            then 'already_registered'
        when not exists (select from tests where id = o.item_id and end_at >= clock_timestamp()) then 'order_ended'
    end;
end $$;

-- Cancels the registration of an order whose deposit was taken back, unless it is completed. Returns whether the order
-- may hold a seat again.
create or replace function sugang.release_test_of_order(o sugang.orders) returns boolean language plpgsql as $$
begin
    update test_registrations
        set status = 'cancelled', cancelled_at = greatest(clock_timestamp(), applied_at),
            history_entries = history_entries + 1
        where id = o.registration_id and status = 'applied';
    return found and exists (
        select from tests
        where id = o.item_id and end_at > clock_timestamp()
          and coalesce(registration_count + held_count < capacity, true));
end $$;

create or replace function sugang.test_end(p_id bigint) returns timestamptz language sql stable as $$
    select end_at from tests where id = p_id
$$;

-- The checks are those of do_register_test, in their order.
create or replace function sugang.do_preorder_test(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                     p_gateway text, p_min numeric, p_max numeric, p_hold interval,
                                                     p_window_keys jsonb, p_needs_opening boolean)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item record;
    o sugang.orders;
    happened_at timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended('test ' || p_id, p_user));
    select * into o from sugang.orders where user_id = p_user and kind = 'test' and item_id = p_id and is_live
        for update;
    perform sugang.lock_user(p_user);
    happened_at := clock_timestamp();
    -- Only the columns that are read, as in do_register_test.
    select id, title, price, start_at, end_at, capacity, registration_count, held_count,
           exists (select from payments
                   where user_id = p_user and object_id = p_id and status = 'paid'
                     and content_type_id = (select content_type_id from sugang.kinds where kind = 'test')) as is_paid,
           exists (select from test_registrations
                   where user_id = p_user and test_id = p_id and status <> 'cancelled') as is_registered
        into item from tests where id = p_id and not hidden;
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
        select id, title, price, start_at, end_at, capacity, registration_count, held_count into item from tests
            where id = p_id;
    end if;
    if o.id is not null then
        a.outcome := 'held_before';
        o := sugang.change_order(o, item.title, item.price, p_method, p_gateway, p_window_keys, p_needs_opening);
    elsif coalesce(item.registration_count + item.held_count >= item.capacity, false)
        and (item.held_count = 0 or not sugang.frees_test_seat(p_id)) then
        a.outcome := 'sold_out';
        return a;
    else
        a.outcome := 'ok';
        insert into sugang.orders
            (user_id, kind, item_id, title, price, payment_method, gateway, window_keys, needs_opening, created_at,
             expires_at)
            values (p_user, 'test', p_id, item.title, item.price, p_method, p_gateway, p_window_keys, p_needs_opening,
                    happened_at, least(happened_at + p_hold, item.end_at))
            returning * into o;
        perform sugang.open_attempt(o);
        -- As in do_register_test: what has decided is read again under the lock of the item's row. Not with `=`, for
        -- which a plan may choose the index of a time that many items share.
        if not exists (select from tests i
                       where i.id = p_id and not i.hidden and exists (select from users where id = p_user and is_active)
                         and (i.price, i.start_at, i.end_at)
                             is not distinct from (item.price, item.start_at, item.end_at)) then
            raise serialization_failure using message = 'the test or the user has changed meanwhile';
        end if;
    end if;
    a.body := (select object from sugang.order_json(o));
    return a;
end $$;

create or replace function sugang.preorder_test(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                  p_method text, p_gateway text, p_min text, p_max text,
                                                  p_hold_seconds bigint, p_window_keys text,
                                                  p_needs_opening boolean, p_request_id text, p_key text,
                                                  p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'preorder_test' then
        perform sugang.misrouted(p_function, 'preorder_test');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return sugang.with_now(a); end if;
    -- Not kept: it depends on the configuration.
    if p_gateway is null then
        a.outcome := 'method_unavailable';
        return a;
    end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_preorder_test(
        p_user, p_id, p_amount::numeric, p_method, p_gateway, p_min::numeric, p_max::numeric,
        make_interval(secs => p_hold_seconds), p_window_keys::jsonb, p_needs_opening));
end $$;

-- ===== outbox

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

-- ===== outbox_of_kind (course)

-- One kind: the events of its items, for the outbox.

-- Whether users can register for an item at this time, as far as the item alone decides.
create or replace function sugang.course_is_open(i courses, p_at timestamptz) returns boolean language sql stable as $$
    select not i.hidden and p_at between i.start_at and i.end_at
$$;

create or replace function sugang.course_is_full(i courses) returns boolean language sql stable as $$
    select coalesce(i.registration_count + i.held_count >= i.capacity, false)
$$;

-- An item that fills up or gets a free seat, and one that an edit opens: see edited_items.sql.
create or replace function sugang.publish_course_edit(i_old courses, i_new courses) returns void
language plpgsql as $$
declare
    happened_at timestamptz := clock_timestamp();
begin
    if sugang.course_is_open(i_new, happened_at) and not sugang.course_is_open(i_old, happened_at) then
        perform sugang.publish_item('course', i_new.id, 'opened');
    end if;
    if not i_new.hidden and sugang.course_is_full(i_new) <> sugang.course_is_full(i_old) then
        perform sugang.publish_item('course', i_new.id,
                                    case when sugang.course_is_full(i_new) then 'sold_out' else 'seat_available' end);
    end if;
end $$;

create or replace function sugang.publish_course_creation() returns trigger language plpgsql as $$
begin
    if pg_sequence_last_value('sugang.webhooks_id_seq') is null or not sugang.has_webhooks() then return null; end if;
    perform sugang.publish_item('course', id, 'opened')
        from added a where sugang.course_is_open(a::courses, clock_timestamp()) order by id;
    return null;
end $$;
create or replace trigger sugang_outbox_insert after insert on courses
    referencing new table as added
    for each statement execute function sugang.publish_course_creation();

-- The items whose period has begun between these times. One that was opened by an edit since then was told.
create or replace function sugang.publish_course_openings(p_since timestamptz, p_until timestamptz) returns void
language sql as $$
    select sugang.publish_item('course', i.id, 'opened') from courses i
    where i.start_at > p_since and i.start_at <= p_until and i.end_at >= p_until and not i.hidden
      and not exists (select from sugang.outbox
                      where type = 'item.opened' and subject = 'course item' and subject_id = i.id
                        and at >= i.start_at)
    order by i.start_at, i.id
$$;

-- ===== outbox_of_kind (test)

-- One kind: the events of its items, for the outbox.

-- Whether users can register for an item at this time, as far as the item alone decides.
create or replace function sugang.test_is_open(i tests, p_at timestamptz) returns boolean language sql stable as $$
    select not i.hidden and p_at between i.start_at and i.end_at
$$;

create or replace function sugang.test_is_full(i tests) returns boolean language sql stable as $$
    select coalesce(i.registration_count + i.held_count >= i.capacity, false)
$$;

-- An item that fills up or gets a free seat, and one that an edit opens: see edited_items.sql.
create or replace function sugang.publish_test_edit(i_old tests, i_new tests) returns void
language plpgsql as $$
declare
    happened_at timestamptz := clock_timestamp();
begin
    if sugang.test_is_open(i_new, happened_at) and not sugang.test_is_open(i_old, happened_at) then
        perform sugang.publish_item('test', i_new.id, 'opened');
    end if;
    if not i_new.hidden and sugang.test_is_full(i_new) <> sugang.test_is_full(i_old) then
        perform sugang.publish_item('test', i_new.id,
                                    case when sugang.test_is_full(i_new) then 'sold_out' else 'seat_available' end);
    end if;
end $$;

create or replace function sugang.publish_test_creation() returns trigger language plpgsql as $$
begin
    if pg_sequence_last_value('sugang.webhooks_id_seq') is null or not sugang.has_webhooks() then return null; end if;
    perform sugang.publish_item('test', id, 'opened')
        from added a where sugang.test_is_open(a::tests, clock_timestamp()) order by id;
    return null;
end $$;
create or replace trigger sugang_outbox_insert after insert on tests
    referencing new table as added
    for each statement execute function sugang.publish_test_creation();

-- The items whose period has begun between these times. One that was opened by an edit since then was told.
create or replace function sugang.publish_test_openings(p_since timestamptz, p_until timestamptz) returns void
language sql as $$
    select sugang.publish_item('test', i.id, 'opened') from tests i
    where i.start_at > p_since and i.start_at <= p_until and i.end_at >= p_until and not i.hidden
      and not exists (select from sugang.outbox
                      where type = 'item.opened' and subject = 'test item' and subject_id = i.id
                        and at >= i.start_at)
    order by i.start_at, i.id
$$;

-- ===== outcomes

-- Every word that a function may return as its outcome. The API turns each into a status and a message.
alter domain sugang.outcome drop constraint if exists known;
alter domain sugang.outcome add constraint known check (value in (
    'ok', 'not_ready',
    -- the user
    'user_not_found', 'user_inactive', 'login_ended', 'taken', 'unknown', 'token_ended', 'token_reused',
    'rate_limited',
    -- the idempotency key
    'in_progress', 'key_reused',
    -- lists and details
    'invalid_page', 'not_found', 'counting',
    -- registering and completing
    'already_registered', 'invalid_fields', 'not_open', 'amount_mismatch', 'amount_out_of_bounds', 'sold_out',
    'not_registered', 'already_completed', 'cancelled',
    -- orders
    'payment_required', 'held_before', 'send', 'accepted', 'order_in_progress', 'order_ended', 'already_paid',
    'gateway_decides', 'not_opened', 'no_refund_due', 'method_unavailable', 'key_used',
    -- events of gateways
    'repeated', 'ignored', 'forged',
    -- cancelling a payment
    'not_owner', 'already_cancelled', 'item_completed', 'refund_refused', 'refund_in_progress', 'refund_declined',
    'account_required',
    -- what operators do
    'changed', 'item_in_use', 'not_superuser', 'target_is_superuser', 'refund_too_large', 'own_account', 'invalid_rows',
    'busy', 'too_many_webhooks'
));

-- ===== pagination

create or replace function sugang.page_size() returns integer language sql immutable parallel safe as $$ select 20 $$;

-- Fills count, page and pages of a list; the outcome is null when the page exists. Page 0 is the last page. An empty
-- list has one page. The count is null while it is being taken.
create or replace function sugang.paginate(p_count bigint, p_page bigint) returns sugang.function_row
language plpgsql immutable as $$
declare
    a sugang.function_row;
begin
    if p_count is null then
        a.outcome := 'counting';
        return a;
    end if;
    a.count := p_count;
    a.pages := greatest((p_count + sugang.page_size() - 1) / sugang.page_size(), 1);
    a.page := case p_page when 0 then a.pages else p_page end;
    if a.page not between 1 and a.pages then a.outcome := 'invalid_page'; end if;
    return a;
end $$;

-- ===== payment_deletion

-- What another program deletes: a payment stays as long as its money is not settled.

-- Whether money of a payment is owed, on its way back, or held by a gateway. Without the payment, nothing says what the
-- gateway holds, and a refund that is settled afterwards is booked out once more.
create or replace function sugang.has_unsettled_money(p_payment bigint) returns boolean language sql stable as $$
    select exists (select from sugang.refunds where payment_id = p_payment and status in ('requested', 'sent'))
        or exists (select from sugang.payment_attempts
                   where payment_id = p_payment and sugang.gives_back(gateway)
                     and captured > sugang.given_back(p_payment))
$$;

-- Another id counts as a deletion: a refund that is under way names the payment by the id of before.
create or replace function sugang.guard_payment_deletion() returns trigger language plpgsql as $$
begin
    if sugang.has_unsettled_money(old.id) then
        raise check_violation using message = format('money of payment %s is not settled', old.id), table = 'payments',
            constraint = 'payments_outcome_known',
            hint = 'Cancel the payment, and wait until its money is given back, or give it back by hand.';
    end if;
    if tg_op = 'DELETE' then return old; end if;
    return new;
end $$;
create or replace trigger sugang_guard_deletion before delete on payments
    for each row execute function sugang.guard_payment_deletion();
create or replace trigger sugang_guard_renumbering before update of id on payments
    for each row when (new.id <> old.id) execute function sugang.guard_payment_deletion();

-- Afterwards: what is truncated together with its orders leaves no attempt behind.
create or replace function sugang.guard_payment_truncation() returns trigger language plpgsql as $$
begin
    if exists (select from sugang.refunds where status in ('requested', 'sent'))
       or exists (select from sugang.payment_attempts
                  where payment_id is not null and sugang.has_unsettled_money(payment_id)) then
        raise check_violation using message = 'money of a payment is not settled', table = 'payments',
            constraint = 'payments_outcome_known';
    end if;
    return null;
end $$;
create or replace trigger sugang_guard_truncation after truncate on payments
    for each statement execute function sugang.guard_payment_truncation();

-- ===== payment_problems

-- What is wrong with the fields for an item of this price, as [[field, problem], ...]; null when nothing is. A free
-- item needs neither field; an item that does not exist is treated like one with a price.
create or replace function sugang.payment_problems(p_price numeric, p_amount numeric, p_method text)
returns text language sql immutable as $$
    select json_agg(json_build_array(field, problem))::text from (values
        ('amount', case when p_price = 0 then null when p_amount is null then 'required'
                        when p_amount = 0 then 'not_positive' end),
        ('payment_method', case when p_price = 0 then case when p_method <> 'free' then 'invalid_choice' end
                                when p_method is null then 'required'
                                when p_method = 'free' then 'invalid_choice' end)) p (field, problem)
    where problem is not null
$$;

-- ===== payment_snapshot

-- What a payment copies, when another program writes or moves it: as the Django service or an operator does.

-- Fills the snapshot. The content type says what was paid for, and payment_type follows it.
create or replace function sugang.payment_snapshot() returns trigger language plpgsql as $$
declare
    item_kind text := (select kind from sugang.kinds where content_type_id = new.content_type_id);
    title text;
    registration_id bigint;
    registration_time timestamptz;
begin
    if item_kind is null then
        raise foreign_key_violation using
            message = format('content type %s is no kind of item', new.content_type_id), table = 'payments',
            constraint = 'payments_content_type_id_fkey', hint = 'select * from sugang.kinds;';
    end if;
    execute format('select * from sugang.%I($1, $2)', item_kind || '_payment_snapshot')
        into title, registration_id, registration_time using new.user_id, new.object_id;
    new.payment_type := item_kind;
    new.registration_id := registration_id;
    new.registration_time := coalesce(registration_time, new.registration_time, new.paid_at);
    if tg_op = 'INSERT' then
        new.target_title := title;
        new.search_vector := coalesce(new.search_vector, to_tsvector('simple', coalesce(title, '')));
    elsif (new.content_type_id, new.object_id) is distinct from (old.content_type_id, old.object_id) then
        new.target_title := title;
        new.search_vector := to_tsvector('simple', coalesce(title, ''));
        -- The trigger of an update of target_title does not fire for what a trigger has changed.
        new.title_vector := sugang.search_vector(title, null);
    end if;
    return new;
end $$;
create or replace trigger sugang_payment_snapshot before insert on payments
    for each row when (new.target_title is null) execute function sugang.payment_snapshot();
create or replace trigger sugang_payment_snapshot_update
    before update of user_id, payment_type, content_type_id, object_id on payments
    for each row
    when ((old.user_id, old.payment_type, old.content_type_id, old.object_id)
          is distinct from (new.user_id, new.payment_type, new.content_type_id, new.object_id))
    execute function sugang.payment_snapshot();

-- A payment that another program cancels or deletes frees its seat; a completed registration stays. No trigger ever
-- changes money: the payment of a registration that another program cancels stays paid, until the user registers again
-- with it or cancels it.
create or replace function sugang.release_unpaid_seats(p_content_types integer[], p_users bigint[], p_items bigint[])
returns void language plpgsql as $$
declare
    k sugang.kinds;
begin
    for k in select * from sugang.kinds where content_type_id = any (p_content_types) order by kind loop
        execute format('select sugang.%I($1, $2)', 'release_' || k.kind || '_seats')
            using (select array_agg(user_id) from unnest(p_content_types, p_users) u (content_type_id, user_id)
                   where content_type_id = k.content_type_id),
                  (select array_agg(item_id) from unnest(p_content_types, p_items) i (content_type_id, item_id)
                   where content_type_id = k.content_type_id);
    end loop;
end $$;
create or replace function sugang.payments_updated() returns trigger language plpgsql as $$
begin
    -- The functions of this service free the seat themselves.
    if sugang.actor() is not null then return null; end if;
    -- Two accounts of one person become one: the order goes along, which knows the gateway that holds the money.
    update sugang.orders r set user_id = n.user_id
        from removed o join added n on n.id = o.id join sugang.payment_attempts t on t.payment_id = n.id
        where n.user_id <> o.user_id and r.id = t.order_id and r.user_id = o.user_id;
    perform sugang.release_unpaid_seats(array_agg(o.content_type_id), array_agg(o.user_id), array_agg(o.object_id))
        from removed o join added n on n.id = o.id where o.status = 'paid' and n.status <> 'paid' having count(*) > 0;
    return null;
end $$;
create or replace function sugang.payments_deleted() returns trigger language plpgsql as $$
begin
    if sugang.actor() is not null then return null; end if;
    perform sugang.release_unpaid_seats(array_agg(content_type_id), array_agg(user_id), array_agg(object_id))
        from removed where status = 'paid' having count(*) > 0;
    return null;
end $$;
create or replace trigger sugang_payments_updated after update on payments
    referencing old table as removed new table as added
    for each statement execute function sugang.payments_updated();
create or replace trigger sugang_payments_deleted after delete on payments
    referencing old table as removed
    for each statement execute function sugang.payments_deleted();

-- ===== payment_snapshot_of_kind (course)

-- One kind: the title and the registration that a payment for it copies.
create or replace function sugang.course_payment_snapshot(p_user bigint, p_item bigint, out title text,
                                                          out registration_id bigint,
                                                          out registration_time timestamptz)
language sql stable as $$
    select i.title, r.id, r.enrolled_at
    from courses i left join course_registrations r on r.course_id = i.id and r.user_id = p_user
    where i.id = p_item
$$;

-- ===== payment_snapshot_of_kind (test)

-- One kind: the title and the registration that a payment for it copies.
create or replace function sugang.test_payment_snapshot(p_user bigint, p_item bigint, out title text,
                                                          out registration_id bigint,
                                                          out registration_time timestamptz)
language sql stable as $$
    select i.title, r.id, r.applied_at
    from tests i left join test_registrations r on r.test_id = i.id and r.user_id = p_user
    where i.id = p_item
$$;

-- ===== payment_title

-- Keeps payments.title_vector, whatever writes the title.
create or replace function sugang.payment_title() returns trigger language plpgsql as $$
begin
    new.title_vector := sugang.search_vector(new.target_title, null);
    if tg_op = 'UPDATE' then new.search_vector := to_tsvector('simple', coalesce(new.target_title, '')); end if;
    return new;
end $$;
-- After sugang_payment_snapshot, which fills the title: triggers run in the order of their names.
create or replace trigger sugang_payment_title_insert before insert on payments
    for each row when (new.title_vector is null) execute function sugang.payment_title();
create or replace trigger sugang_payment_title_update before update of target_title on payments
    for each row when (old.target_title is distinct from new.target_title) execute function sugang.payment_title();

-- ===== payment_windows

-- Payment windows. Most are opened in the browser, with the public keys of the contract and the reference of the
-- attempt. Some gateways open them on a request of ours, which is sent once the order is committed, while no
-- transaction is open.

-- What a payment window shows as the order: Toss and KakaoPay take 100 characters of a title.
create or replace function sugang.order_name(o sugang.orders) returns text language sql immutable as $$
    select left(o.title, 100)
$$;

-- What a client needs to open the window of an attempt that waits for its user; null as long as it is not opened.
create or replace function sugang.window_json(o sugang.orders, t sugang.payment_attempts) returns jsonb
language sql stable as $$
    select case when o.status = 'held' and t.status = 'open' and t.gateway <> 'manual'
                     and (t.opened is not null or not o.needs_opening)
        then jsonb_build_object('gateway', t.gateway, 'reference', t.reference, 'order_name', sugang.order_name(o),
                                'amount', t.amount::text, 'currency', t.currency)
             || coalesce(o.window_keys, '{}') || coalesce(t.opened, '{}') end
$$;

-- The outcome `send` has the attempt whose window is to be opened; `ok` has the order whose window is open, or is being
-- opened by another request. The reference, by which a gateway recognizes a request that is sent again, is stored
-- before, and the gateway's key is stored once: an attempt has one window.
create or replace function sugang.begin_opening(p_function text, p_user bigint, p_order bigint, p_lease_ms bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
begin
    if p_function is distinct from 'begin_opening' then perform sugang.misrouted(p_function, 'begin_opening'); end if;
    if exists (select from sugang.orders where id = p_order and user_id = p_user and needs_opening) then
        o := sugang.lock_order(p_order);
    end if;
    if o.status is distinct from 'held' then
        a.outcome := 'order_ended';
        return a;
    end if;
    select * into t from sugang.payment_attempts where order_id = p_order and is_live for update;
    if t.gateway_key is not null or t.lease_until > clock_timestamp() then
        a.outcome := 'ok';
        a.body := (select object from sugang.order_json(o));
    else
        update sugang.payment_attempts set lease_until = clock_timestamp() + make_interval(secs => p_lease_ms / 1e3)
            where id = t.id;
        a.outcome := 'send';
        a.body := sugang.attempt_json(t, o)::text;
    end if;
    return a;
end $$;

-- Keeps what the gateway has opened, or that it has opened nothing: then the next request may try again.
create or replace function sugang.end_opening(p_function text, p_attempt bigint, p_gateway_key text, p_opened text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
begin
    if p_function is distinct from 'end_opening' then perform sugang.misrouted(p_function, 'end_opening'); end if;
    o := sugang.lock_order((select order_id from sugang.payment_attempts where id = p_attempt));
    update sugang.payment_attempts set gateway_key = p_gateway_key, opened = p_opened::jsonb, lease_until = null
        where id = p_attempt and status = 'open' and gateway_key is null;
    a.outcome := 'ok';
    a.body := (select object from sugang.order_json(o));
    return a;
end $$;

-- ===== payments

-- The payments of one user.

-- Returns a set of one row, since PostgreSQL inlines only such a function into the statement that calls it.
create or replace function sugang.payment_json(p payments) returns table (object text) language sql stable as $$
    select row_to_json(o)::text from (select
        p.id, p.payment_type, p.target_title, c.model as target_type, p.object_id as target_id,
        p.amount::text as amount, p.payment_method, p.status,
        sugang.iso(p.paid_at) as paid_at, sugang.iso(p.cancelled_at) as cancelled_at,
        sugang.iso(coalesce(p.registration_time, p.paid_at)) as registration_time
        from django_content_type c where c.id = p.content_type_id) o
$$;

-- p_from and p_to are days in UTC, both inclusive. A long list costs no more than a short one: a page is read along the
-- index in the order of the list and never sorted, and the count of all payments is an index-only scan.
create or replace function sugang.list_payments(p_function text, p_user bigint, p_page bigint, p_status text,
                                                p_type text, p_from text, p_to text, p_search text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning set enable_bitmapscan = off set enable_sort = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    found_n bigint;
    query tsquery;
    not_before timestamptz;
    before timestamptz;
begin
    if p_function is distinct from 'list_payments' then perform sugang.misrouted(p_function, 'list_payments'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    not_before := sugang.day_begin(p_from);
    before := sugang.day_end(p_to);
    if btrim(p_search) <> '' then query := sugang.search_query(p_search); end if;
    if coalesce(p_status, p_type, p_from, p_to, query::text) is null then
        select count(*) into found_n from payments where user_id = p_user;
    else
        select count(*) into found_n from payments
            where user_id = p_user and (p_status is null or status = p_status)
              and (p_type is null or payment_type = p_type)
              and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
              and (query is null or coalesce(title_vector, sugang.search_vector(target_title, null)) @@ query);
    end if;
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(object, ',' order by paid_at desc, id desc) from (
        select * from payments
        where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or payment_type = p_type)
          and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
          and (query is null or coalesce(title_vector, sugang.search_vector(target_title, null)) @@ query)
        order by paid_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) p, sugang.payment_json(p)), '') || ']';
    return a;
end $$;

create or replace function sugang.get_payment(p_function text, p_user bigint, p_id bigint,
                                              p_epoch bigint default null)
returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_payment' then perform sugang.misrouted(p_function, 'get_payment'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select object into a.body from payments p, sugang.payment_json(p) where id = p_id and user_id = p_user;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- ===== read_only

-- Whether the database takes no changes: a standby, or a primary that an operator has set so. Functions that only keep
-- something for later requests then leave that out; every other change is refused by PostgreSQL.
create or replace function sugang.is_read_only() returns boolean language sql stable as $$
    select current_setting('transaction_read_only') = 'on'
$$;

-- Whether this transaction keeps what it counts, for others. One that sees an old snapshot does not: PostgreSQL would
-- end it because of what others have kept since.
create or replace function sugang.keeps_counts() returns boolean language sql stable as $$
    select not sugang.is_read_only() and current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
$$;

-- ===== ready

-- Whether requests can be served: the API's functions are there, and the role may do what they do.

-- Every right that the functions need on tables that exist once. The rights on the tables of a kind stand in
-- ready_of_kind.sql. A row: the table, the privilege, the columns; a table without columns for `delete`.
create or replace function sugang.rights() returns table (relation text, privilege text, columns text)
language plpgsql stable as $$
declare
    known record;
begin
    return query values
        ('users', 'select', 'id,email,username,password,is_active,is_staff,is_superuser,last_login,'
                            'token_epoch'),
        ('users', 'insert', 'email,username,password'),
        ('users', 'update', 'password,last_login,token_epoch,is_active,is_staff,is_superuser'),
        ('payments', 'select', 'id,user_id,payment_type,content_type_id,object_id,amount,payment_method,'
                               'external_transaction_id,status,refund_reason,paid_at,cancelled_at,search_vector,'
                               'title_vector,target_title,registration_id,registration_time,history_entries,'
                               'partly_refunded,refund_refused'),
        ('payments', 'insert', 'id,cancelled_at,refund_reason,user_id,payment_type,content_type_id,object_id,'
                               'amount,payment_method,'
                               'external_transaction_id,status,paid_at,search_vector,title_vector,target_title,'
                               'registration_id,registration_time'),
        ('payments', 'update', 'status,refund_reason,cancelled_at,registration_id,registration_time,history_entries'),
        ('sugang.refunds', 'select', 'id,payment_id,amount,status,ends_payment,keeps_registration,reason,requested_by,'
                                     'requested_at,reference,cancels_payment,idempotency_key,gateway_id,due_at,tries,'
                                     'code,account,request_key,request_fingerprint'),
        ('sugang.ledger', 'select', 'at,source,source_id,payment_id,debit,credit,amount'),
        ('sugang.audit_log', 'select', 'id,at,subject,subject_id,item_id,seats'),
        ('sugang.refunds', 'insert', 'payment_id,amount,status,reason,requested_by,cancels_payment,keeps_registration,'
                                     'account,request_key,request_fingerprint,idempotency_key,tries,due_at,gateway_id'),
        ('sugang.refunds', 'update', 'keeps_registration,status,reference,gateway_id,due_at,tries,code,account,'
                                     'idempotency_key,request_key,request_fingerprint,requested_by,requested_at'),
        ('sugang.orders', 'select', 'id,user_id,kind,item_id,title,price,payment_method,gateway,status,is_live,'
                                    'created_at,expires_at,ended_at,payment_id,registration_id,history_entries,'
                                    'window_keys,needs_opening'),
        ('sugang.orders', 'insert', 'user_id,kind,item_id,title,price,payment_method,gateway,created_at,expires_at,'
                                    'window_keys,needs_opening'),
        ('sugang.orders', 'update', 'title,price,payment_method,gateway,status,expires_at,payment_id,registration_id,'
                                    'window_keys,needs_opening'),
        ('sugang.payment_attempts', 'select', 'id,order_id,gateway,status,is_live,reference,idempotency_key,'
                                              'gateway_key,amount,currency,captured,payment_id,tries,lease_until,due_at,secret,'
                                              'code,facts,created_at,sent_at,ended_at,opened,window_key,'
                                              'reconcile_at'),
        ('sugang.payment_attempts', 'insert', 'order_id,gateway,reference,amount,status,captured,payment_id'),
        ('sugang.payment_attempts', 'update', 'status,idempotency_key,gateway_key,captured,payment_id,tries,'
                                              'lease_until,due_at,secret,code,facts,sent_at,ended_at,opened,'
                                              'window_key,reconcile_at'),
        ('sugang.gateway_events', 'select', 'id,gateway,event_key,status,attempt_id,body,is_signed,tries,claimed_at,'
                                            'lease_until,received_at,outcome'),
        ('sugang.gateway_events', 'insert', 'gateway,event_key,status,attempt_id,body,is_signed,lease_until'),
        ('sugang.gateway_events', 'update', 'status,tries,claimed_at,lease_until,outcome'),
        ('sugang.gateway_events', 'delete', null),
        ('sugang.kinds', 'select', 'kind,content_type_id'),
        ('django_content_type', 'select', 'id,app_label,model'),
        ('sugang.migrations', 'select', 'script'),
        ('sugang.schema_objects', 'select', 'kind,relation,name'),
        ('sugang.idempotency_keys', 'select', 'user_id,key,fingerprint,outcome,body,created_at'),
        ('sugang.idempotency_keys', 'insert', 'user_id,key,fingerprint,outcome,body,created_at'),
        ('sugang.idempotency_keys', 'update', 'fingerprint,outcome,body,created_at'),
        ('sugang.idempotency_keys', 'delete', null),
        ('sugang.revoked_tokens', 'select', 'name,user_id,expires_at,used_at,family,successor,successor_issued_at,'
                                            'successor_expires_at'),
        ('sugang.revoked_tokens', 'insert', 'name,user_id,expires_at,used_at,family,successor,successor_issued_at,'
                                            'successor_expires_at'),
        ('sugang.revoked_tokens', 'update', 'expires_at'),
        ('sugang.revoked_tokens', 'delete', null),
        ('sugang.attempts', 'select', 'key,began_at,in_window,in_previous,expires_at'),
        ('sugang.attempts', 'insert', 'key,began_at,in_window,in_previous,expires_at'),
        ('sugang.attempts', 'update', 'began_at,in_window,in_previous,expires_at'),
        ('sugang.attempts', 'delete', null),
        ('sugang.bucket_counts', 'select', 'kind,edge,level,bucket,n'),
        ('sugang.bucket_changes', 'select', 'kind,edge,bucket,n'),
        ('sugang.clock', 'select', 'seen_at,jumped_at,jumped_by'),
        ('sugang.clock', 'update', 'seen_at,jumped_at,jumped_by'),
        ('sugang.available_counts', 'select', 'kind,n,valid_from,valid_until'),
        ('sugang.available_counts', 'update', 'n,valid_from,valid_until'),
        ('sugang.search_counts', 'select', 'kind,available,query,n,as_of,snapshot,counted_at,table_oid,words,'
                                            'next_created_at,next_item_id,searched_at'),
        ('sugang.search_counts', 'insert', 'kind,available,query,n,as_of,snapshot,counted_at,table_oid,words,'
                                            'next_created_at,next_item_id,searched_at'),
        ('sugang.search_counts', 'update', 'n,as_of,snapshot,counted_at,table_oid,words,next_created_at,'
                                            'next_item_id,searched_at'),
        ('sugang.search_counts', 'delete', null),
        ('sugang.search_changes', 'select', 'kind,xid,sign,search_vector,start_at,end_at,created_at,item_id'),
        ('sugang.search_changes', 'insert', 'kind,xid,sign'),
        ('sugang.search_changes', 'delete', null),
        ('sugang.search_bitmap_sets', 'select', 'kind,number,begun_at,words,snapshot,as_of,next_item_id,table_oid'),
        ('sugang.search_bitmap_sets', 'insert', 'kind,number,begun_at,words,snapshot,as_of,next_item_id,table_oid'),
        ('sugang.search_bitmap_sets', 'update', 'words,snapshot,as_of,next_item_id'),
        ('sugang.search_bitmap_sets', 'delete', null),
        ('sugang.search_bitmaps', 'select', 'kind,number,place,block,bits'),
        ('sugang.search_bitmaps', 'insert', 'kind,number,place,block,bits'),
        ('sugang.search_bitmaps', 'update', 'bits'),
        ('sugang.search_bitmaps', 'delete', null),
        ('sugang.webhooks', 'select', 'id,url,types,status,paused_by,secret,old_secret,old_secret_until,'
                                      'failing_since,first_change,created_at,created_by'),
        ('sugang.webhooks', 'insert', 'url,types,secret,created_by'),
        ('sugang.webhooks', 'update', 'url,types,status,paused_by,secret,old_secret,old_secret_until,'
                                      'failing_since,first_change'),
        ('sugang.webhooks', 'delete', null),
        ('sugang.outbox', 'select', 'id,key,type,subject,subject_id,data,at,change_id'),
        ('sugang.outbox', 'insert', 'type,subject,subject_id,data,change_id'),
        ('sugang.outbox', 'delete', null),
        ('sugang.deliveries', 'select', 'id,webhook_id,event_id,subject,subject_id,status,tries,next_at,'
                                        'lease_until,last_at,last_status,last_error,ended_at'),
        ('sugang.deliveries', 'insert', 'webhook_id,event_id,subject,subject_id,tries,next_at,lease_until,last_at'),
        ('sugang.deliveries', 'update', 'status,tries,next_at,lease_until,last_at,last_status,last_error,ended_at'),
        ('sugang.deliveries', 'delete', null),
        ('sugang.openings', 'select', 'known_until'),
        ('sugang.openings', 'update', 'known_until');
    for known in select kind from sugang.kinds loop
        return query execute 'select * from sugang.' || quote_ident(known.kind || '_rights') || '()';
    end loop;
end $$;

-- What the schema consists of: functions, tables and columns of ours, and the guards (triggers, constraints, unique
-- indexes) of every table that the functions use. A disabled trigger and an invalid index guard nothing.
create or replace function sugang.current_objects() returns setof sugang.schema_objects
language sql stable set search_path = public as $$
    with guarded as (
        select oid from pg_class where relnamespace = 'sugang'::regnamespace and relkind = 'r'
        union
        select to_regclass(relation) from sugang.rights()
    )
    select 'function', '', oid::regprocedure::text from pg_proc
    where pronamespace = 'sugang'::regnamespace
      and not exists (select from pg_depend
                      where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')
    union all
    select 'table', '', oid::regclass::text from pg_class
    where relnamespace = 'sugang'::regnamespace and relkind = 'r'
    union all
    select 'column', oid::regclass::text, attname from pg_class join pg_attribute on attrelid = oid
    where relnamespace = 'sugang'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
    union all
    select 'trigger', tgrelid::regclass::text, tgname from pg_trigger join pg_proc on pg_proc.oid = tgfoid
    where pronamespace = 'sugang'::regnamespace and not tgisinternal and tgenabled <> 'D'
    union all
    select 'constraint', conrelid::regclass::text, conname from pg_constraint
    where conrelid in (select oid from guarded) and contype in ('c', 'p', 'u', 'x') and convalidated
    union all
    select 'index', indrelid::regclass::text, indexrelid::regclass::text from pg_index
    where indrelid in (select oid from guarded) and indisunique and indisvalid
      and not exists (select from pg_constraint where conindid = indexrelid)
$$;

-- Writes down what the schema consists of. Each migration calls it at its end.
create or replace function sugang.record_objects() returns void language sql as $$
    delete from sugang.schema_objects;
    insert into sugang.schema_objects select * from sugang.current_objects();
    delete from sugang.schema_definitions;
    insert into sugang.schema_definitions select distinct on (kind, relation, name) * from sugang.current_definitions();
    insert into sugang.schema_definitions values ('server', '', 'major version', sugang.server_major());
$$;

-- Whether row security lets this role do with every row of a table what a privilege allows: a policy admits them all,
-- for this command or for each, and no other one restricts it. A policy without a condition admits no row.
create or replace function sugang.every_row_is_shown(p_table regclass, p_privilege text) returns boolean
language sql stable as $$
    select coalesce(bool_or(polpermissive and 'true' = all (conditions)), false)
           and not coalesce(bool_or(not polpermissive and 'true' <> any (conditions)), false)
    from pg_policy
    cross join unnest(polroles) role
    cross join lateral (select pg_get_expr(polqual, polrelid) as old_row) using_clause
    cross join lateral (select coalesce(pg_get_expr(polwithcheck, polrelid), old_row) as new_row) check_clause
    cross join lateral (select case p_privilege when 'insert' then array[new_row]
                                                when 'update' then array[old_row, new_row]
                                                else array[old_row] end as conditions) needed
    where polrelid = p_table
      and polcmd::text in ('*', case p_privilege when 'select' then 'r' when 'insert' then 'a'
                                                 when 'update' then 'w' when 'delete' then 'd' end)
      -- 0 stands for every role.
      and (role = 0 or pg_has_role(role, 'usage'))
$$;

-- What is missing of all that, with the reason by which the API names its kind. Requests fail of it, unless it is a
-- guard. p_functions: the functions that the API calls, as `name(type,type)`, separated by semicolons.
create or replace function sugang.missing(p_functions text) returns table (reason text, what text, is_guard boolean)
language sql stable set search_path = public set jit = off as $$
    select 'function_missing', name, false
    from unnest(string_to_array(p_functions, ';')) name where to_regprocedure('sugang.' || name) is null
    union all
    select o.kind || '_missing',
           case when is_guard then concat_ws(' ', o.kind, o.name, 'on', o.relation)
                else concat_ws('.', nullif(o.relation, ''), o.name) end,
           is_guard
    from sugang.schema_objects o
    left join sugang.current_objects() c using (kind, relation, name)
    cross join lateral (select o.kind not in ('function', 'table', 'column')) guards (is_guard)
    where c.name is null
    union all
    select 'permission_missing', 'execute ' || name, false from sugang.schema_objects
    join pg_proc on pg_proc.oid = to_regprocedure(name)
    where kind = 'function' and prorettype <> 'trigger'::regtype and not has_function_privilege(pg_proc.oid, 'execute')
    union all
    select reason, concat_ws(' ', privilege, concat_ws('.', relation, attribute)), false
    from sugang.rights()
    left join unnest(string_to_array(columns, ',')) attribute on true
    cross join lateral (select case
        when to_regclass(relation) is null then 'table_missing'
        when attribute is null
            then case when not has_table_privilege(to_regclass(relation), privilege) then 'permission_missing' end
        when not exists (select from pg_attribute where attrelid = to_regclass(relation) and attname = attribute
                         and not attisdropped) then 'column_missing'
        when not has_column_privilege(to_regclass(relation), attribute, privilege) then 'permission_missing'
    end) found (reason)
    where reason is not null
    union all
    select 'permission_missing', 'usage ' || sequence, false from sugang.needed_sequences() sequence
    where not has_sequence_privilege(sequence, 'usage')
    union all
    select 'column_required', concat_ws('.', relation, attribute), true from sugang.required_columns()
    union all
    -- Statements do not fail of row security: users are not found and lists are empty.
    select distinct 'permission_missing',
           format('rows of %s (alter table %1$s disable row level security, or a policy with `true` for them all)',
                  relation), false
    from (select distinct to_regclass(r.relation) as relation, r.privilege from sugang.rights() r) needed
    where row_security_active(relation) and not sugang.every_row_is_shown(relation, privilege)
$$;

-- Proves what requests need. 'not_ready' has the reason, and for the log what is missing; 'ok' has what is degraded:
-- whether the database refuses writes, and the guards that are missing. p_schema: the number of the newest schema file
-- that the API was made with.
create or replace function sugang.ready(p_function text, p_functions text, p_schema bigint)
returns sugang.function_row language plpgsql stable as $$
declare
    a sugang.function_row;
    found_reason text;
    found_missing text;
    guards_missing text;
    columns_required text;
begin
    if p_function is distinct from 'ready' then perform sugang.misrouted(p_function, 'ready'); end if;
    -- Each of the files: of two versions that are no line, the one with the highest number may lack others.
    if (select count(distinct number) from sugang.migrations, substring(script from E'^V(\\d+)__') match,
               cast(match as bigint) number
        where number between 1 and p_schema) < p_schema then
        a.outcome := 'not_ready';
        a.body := json_build_object('reason', 'schema_outdated', 'missing', 'migrations')::text;
        return a;
    end if;
    -- The first of these reasons: a missing table has no columns either, and no functions that take a row of it.
    select (array_agg(reason order by place) filter (where not is_guard))[1],
           string_agg(what, ', ' order by place) filter (where not is_guard and place <= 10),
           string_agg(what, ', ' order by place) filter (where is_guard and reason <> 'column_required'),
           string_agg(what, ', ' order by place) filter (where reason = 'column_required')
        into found_reason, found_missing, guards_missing, columns_required
        from (select *, row_number() over (order by is_guard, array_position(
                            array['table_missing', 'function_missing', 'column_missing'], reason), what) as place
              from sugang.missing(p_functions)) m;
    if found_reason is not null then
        a.outcome := 'not_ready';
        a.body := json_build_object('reason', found_reason, 'missing', found_missing)::text;
        return a;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object(
        'read_only', current_setting('transaction_read_only')::boolean, 'guards_missing', guards_missing,
        'columns_required', columns_required)::text;
    return a;
end $$;

-- ===== ready_of_kind (course)

-- One kind: the rights that its functions need; see ready.sql.
create or replace function sugang.course_rights() returns table (relation text, privilege text, columns text)
language sql stable as $$
    values ('courses', 'select', 'id,title,description,price,start_at,end_at,created_at,search_vector,'
                                 'registration_count,capacity,seats_taken,hidden,held_count'),
           ('courses', 'insert', 'title,description,price,capacity,start_at,end_at,hidden'),
           ('courses', 'update', 'title,description,price,capacity,start_at,end_at,hidden,updated_at'),
           ('courses', 'delete', null),
           ('sugang.course_search', 'select', 'item_id,created_at,search_vector'),
           ('course_registrations', 'select', 'id,user_id,course_id,status,enrolled_at,completed_at,cancelled_at,'
                                         'history_entries'),
           ('course_registrations', 'insert', 'user_id,course_id,status,enrolled_at'),
           ('course_registrations', 'update', 'status,enrolled_at,completed_at,cancelled_at,history_entries')
$$;

-- ===== ready_of_kind (test)

-- One kind: the rights that its functions need; see ready.sql.
create or replace function sugang.test_rights() returns table (relation text, privilege text, columns text)
language sql stable as $$
    values ('tests', 'select', 'id,title,description,price,start_at,end_at,created_at,search_vector,'
                                 'registration_count,capacity,seats_taken,hidden,held_count'),
           ('tests', 'insert', 'title,description,price,capacity,start_at,end_at,hidden'),
           ('tests', 'update', 'title,description,price,capacity,start_at,end_at,hidden,updated_at'),
           ('tests', 'delete', null),
           ('sugang.test_search', 'select', 'item_id,created_at,search_vector'),
           ('test_registrations', 'select', 'id,user_id,test_id,status,applied_at,completed_at,cancelled_at,'
                                         'history_entries'),
           ('test_registrations', 'insert', 'user_id,test_id,status,applied_at'),
           ('test_registrations', 'update', 'status,applied_at,completed_at,cancelled_at,history_entries')
$$;

-- ===== reconciliations

-- Once a day, and after an event that has brought no news, the sweep asks the gateways what has become of money that
-- they have taken. What was given back in a gateway's own console is noted (gateway_refunds.sql); a deposit that its
-- bank has taken back without an event is booked out; and a difference to our books stays visible in the audit.

-- When a gateway that has taken money is asked the first time what it has given back by itself.
create or replace function sugang.first_reconciliation(t sugang.payment_attempts) returns timestamptz
language sql volatile as $$
    select case when sugang.gives_back(t.gateway) then clock_timestamp() + interval '1 day' end
$$;

-- When it is asked again after an answer: once a day, until the payment is p_days old. What an event has asked for
-- meanwhile, which has ended the lease, comes first.
create or replace function sugang.plan_reconciliation(p_attempt bigint, p_days bigint) returns void
language sql volatile as $$
    update sugang.payment_attempts
        set reconcile_at = case when ended_at > clock_timestamp() - make_interval(days => p_days::integer)
                                then clock_timestamp() + interval '1 day' end
        where id = p_attempt and (reconcile_at > clock_timestamp() or lease_until is not null)
$$;

-- Claims up to p_limit payments whose gateway is asked: first those of events (-infinity), with 0 days only those.
-- Without an answer, it is asked again soon. With 0 days, that of an event has to stay one, so only its lease tells
-- when.
create or replace function sugang.claim_reconciliations(p_function text, p_limit bigint, p_days bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    -- An index finds what is due by a value that stays the same.
    due_until timestamptz := case when p_days > 0 then clock_timestamp() else '-infinity' end;
    again_at timestamptz := clock_timestamp() + interval '10 minutes';
begin
    if p_function is distinct from 'claim_reconciliations' then
        perform sugang.misrouted(p_function, 'claim_reconciliations');
    end if;
    with due as (
        select id from sugang.payment_attempts
        where reconcile_at <= due_until and status in ('captured', 'surplus')
          and (p_days > 0 or coalesce(lease_until < clock_timestamp(), true))
        order by reconcile_at limit p_limit for update skip locked
    ), claimed as (
        update sugang.payment_attempts t
            set reconcile_at = case when p_days > 0 then again_at else reconcile_at end, lease_until = again_at
            from due where t.id = due.id returning t as attempt, t.id, t.order_id, t.payment_id
    )
    select 'ok', coalesce(json_agg(json_build_object(
            'payment', c.payment_id, 'asked_at', clock_timestamp(),
            'attempt', sugang.attempt_json(c.attempt, o)) order by c.id), '[]')::text
        into a.outcome, a.body from claimed c join sugang.orders o on o.id = c.order_id;
    return a;
end $$;

-- Notes by how much more a gateway has given back of a payment than our books have. The audit shows it until a look-up
-- finds no difference. What operators have noted as paid out may have been made in the gateway's console, or elsewhere:
-- the gateway shows it, or it does not.
create or replace function sugang.note_difference(t sugang.payment_attempts, p_refunds jsonb) returns void
language plpgsql as $$
declare
    difference numeric;
    noted numeric;
begin
    select coalesce(sum((x ->> 'amount')::numeric), 0) - sugang.given_back(t.payment_id) - sugang.given_back_before(t)
        into difference
        from jsonb_array_elements(p_refunds) x where x ->> 'state' = 'done';
    select coalesce(sum(amount), 0) into noted from sugang.refunds
        where payment_id = t.payment_id and status = 'done' and gateway_id is null and reference is not null;
    if difference in (0, -noted) then difference := null; end if;
    update sugang.payment_attempts
        set facts = (coalesce(facts, '{}') - 'difference')
            || jsonb_strip_nulls(jsonb_build_object('difference', difference))
        where id = t.id and (facts -> 'difference')::numeric is distinct from difference;
end $$;

-- Notes what a gateway shows of money that it has taken. p_outcome and p_facts are as in sugang.settle. The gateway was
-- asked after p_asked_at; what was booked since then, its answer may not have.
create or replace function sugang.reconcile_payment(p_function text, p_payment bigint, p_asked_at text, p_outcome text,
                                                    p_facts text, p_refunds text, p_request_id text,
                                                    p_days bigint default 30)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    o sugang.orders;
    t sugang.payment_attempts;
    asked_at timestamptz := p_asked_at::timestamptz;
    shown jsonb := p_refunds::jsonb;
    is_current boolean;
begin
    if p_function is distinct from 'reconcile_payment' then
        perform sugang.misrouted(p_function, 'reconcile_payment');
    end if;
    perform sugang.set_actor((select user_id from payments where id = p_payment), p_request_id);
    a.outcome := 'ok';
    o := sugang.lock_order((select order_id from sugang.payment_attempts where payment_id = p_payment));
    perform sugang.lock_payment(p_payment);
    select * into t from sugang.payment_attempts where payment_id = p_payment for update;
    perform sugang.plan_reconciliation(t.id, p_days);
    -- The gateway waits for the deposit again; or the time for that is over as well, and it has given nothing back.
    -- Without a deadline, money that was declined after all is no deposit, as far as we know.
    if shown = '[]' and (p_outcome = 'waiting' or p_outcome = 'declined' and t.due_at is not null)
       and (t.status = 'captured' and sugang.take_deposit_back(o, t, p_facts::jsonb)
            or sugang.take_owed_deposit_back(t)) then
        return a;
    end if;
    is_current := not exists (
        select from sugang.refunds r join sugang.ledger l on (l.source, l.source_id) = ('refund', r.id)
        where r.payment_id = p_payment and l.at >= asked_at);
    perform sugang.note_refunds(p_payment, null, shown);
    if is_current then perform sugang.note_difference(t, shown); end if;
    return a;
end $$;

-- ===== recount (course)

-- One kind: for an operator who has written items or registrations while the triggers were disabled, or has restored
-- data alone.

-- Lists and counts the items as they are: puts into the table of the search what it lacks, and fills the buckets again.
-- The words of an item that is there already stay as they are. The caller has locked the items against writers.
create or replace function sugang.relist_course() returns void language plpgsql
set work_mem = '64MB' set jit = off as $$
begin
    delete from sugang.course_search s
        where not exists (select from courses i where i.id = s.item_id and not i.hidden);
    update sugang.course_search s set created_at = i.created_at
        from courses i where i.id = s.item_id and i.created_at <> s.created_at;
    insert into sugang.course_search (item_id, created_at, search_vector)
        select id, created_at, sugang.search_vector(title, description) from courses i
        where not hidden and not exists (select from sugang.course_search s where s.item_id = i.id)
        order by created_at;
    insert into sugang.search_changes (kind) values ('course');
    delete from sugang.search_counts where kind = 'course';
    -- As in fold_bucket_changes(), but this waits.
    perform from sugang.available_counts where kind = 'course' for update;
    delete from sugang.bucket_changes where kind = 'course';
    delete from sugang.bucket_counts where kind = 'course';
    perform sugang.add_to_bucket_counts('course', array_agg(1), array_agg(created_at), array_agg(start_at),
                                        array_agg(end_at))
        from courses where not hidden having count(*) > 0;
    update sugang.available_counts set valid_from = 'infinity' where kind = 'course';
end $$;

-- Counts every item again, and returns how many counts were wrong.
create or replace function sugang.recount_course() returns bigint language plpgsql as $$
declare
    corrected bigint;
begin
    lock table course_registrations, sugang.orders, courses in share row exclusive mode;
    perform set_config('sugang.recount', 'on', true);
    update courses i set registration_count = coalesce(r.n, 0), held_count = coalesce(o.n, 0)
        from courses j
        left join (select course_id, count(*) as n from course_registrations where status <> 'cancelled' group by 1) r
            on r.course_id = j.id
        left join (select item_id, count(*) as n from sugang.orders where kind = 'course' and is_live group by 1) o
            on o.item_id = j.id
        where i.id = j.id
          and (j.registration_count, j.held_count) is distinct from (coalesce(r.n, 0), coalesce(o.n, 0));
    get diagnostics corrected = row_count;
    perform set_config('sugang.recount', '', true);
    perform sugang.relist_course();
    return corrected;
end $$;

-- Writes down what the history lacks of the registrations as they are, and returns for how many.
create or replace function sugang.log_unlogged_course_registrations() returns bigint language plpgsql as $$
declare
    happened_at timestamptz := clock_timestamp();
    logged bigint;
begin
    lock table course_registrations in share row exclusive mode;
    perform set_config('sugang.recount', 'on', true);
    with sums as (
        select subject_id as id, sum(seats) as seats, max(id) as last_id
        from sugang.audit_log where subject = 'course' group by 1
    ), unlogged as (
        select coalesce(r.id, s.id) as id, coalesce(r.course_id, l.item_id) as item_id,
               coalesce(r.user_id, l.user_id) as user_id, coalesce(r.status, 'deleted') as status,
               case when r.status <> 'cancelled' then 1 else 0 end - coalesce(s.seats, 0) as seats,
               case when l.status <> 'deleted' then l.entry end as last_entry, l.hash as last_hash, i.state
        from course_registrations r
        full join sums s on s.id = r.id
        left join sugang.audit_log l on l.id = s.last_id
        cross join lateral (select case when r.id is not null then sugang.registration_state(
            r.id, r.user_id, r.course_id, r.status, r.enrolled_at, r.completed_at, r.cancelled_at) end as state) i
        where case when r.id is null then (l.status, s.seats) <> ('deleted', 0)
                   else (l.entry, l.state, l.status, s.seats) is distinct from
                        (r.history_entries, i.state, r.status,
                         case when r.status <> 'cancelled' then 1 else 0 end) end
    ), entries as (
        insert into sugang.audit_log
            (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
            select happened_at, 'course', id, 'course', item_id, user_id, status, 0, seats, i.entry, state,
                   sugang.entry_hash(case when last_entry is not null then last_hash end, state, i.entry, happened_at,
                                     'course', id, 'course', item_id, user_id, status, 0, seats::integer, null, null)
            from unlogged cross join lateral (select coalesce(last_entry, 0) + 1 as entry) i
            order by id returning subject_id, entry
    ), counted as (
        update course_registrations r set history_entries = e.entry from entries e where r.id = e.subject_id
    )
    select count(*) into logged from entries;
    perform set_config('sugang.recount', '', true);
    return logged;
end $$;

-- ===== recount (test)

-- One kind: for an operator who has written items or registrations while the triggers were disabled, or has restored
-- data alone.

-- Lists and counts the items as they are: puts into the table of the search what it lacks, and fills the buckets again.
-- The words of an item that is there already stay as they are. The caller has locked the items against writers.
create or replace function sugang.relist_test() returns void language plpgsql
set work_mem = '64MB' set jit = off as $$
begin
    delete from sugang.test_search s
        where not exists (select from tests i where i.id = s.item_id and not i.hidden);
    update sugang.test_search s set created_at = i.created_at
        from tests i where i.id = s.item_id and i.created_at <> s.created_at;
    insert into sugang.test_search (item_id, created_at, search_vector)
        select id, created_at, sugang.search_vector(title, description) from tests i
        where not hidden and not exists (select from sugang.test_search s where s.item_id = i.id)
        order by created_at;
    insert into sugang.search_changes (kind) values ('test');
    delete from sugang.search_counts where kind = 'test';
    -- As in fold_bucket_changes(), but this waits.
    perform from sugang.available_counts where kind = 'test' for update;
    delete from sugang.bucket_changes where kind = 'test';
    delete from sugang.bucket_counts where kind = 'test';
    perform sugang.add_to_bucket_counts('test', array_agg(1), array_agg(created_at), array_agg(start_at),
                                        array_agg(end_at))
        from tests where not hidden having count(*) > 0;
    update sugang.available_counts set valid_from = 'infinity' where kind = 'test';
end $$;

-- Counts every item again, and returns how many counts were wrong.
create or replace function sugang.recount_test() returns bigint language plpgsql as $$
declare
    corrected bigint;
begin
    lock table test_registrations, sugang.orders, tests in share row exclusive mode;
    perform set_config('sugang.recount', 'on', true);
    update tests i set registration_count = coalesce(r.n, 0), held_count = coalesce(o.n, 0)
        from tests j
        left join (select test_id, count(*) as n from test_registrations where status <> 'cancelled' group by 1) r
            on r.test_id = j.id
        left join (select item_id, count(*) as n from sugang.orders where kind = 'test' and is_live group by 1) o
            on o.item_id = j.id
        where i.id = j.id
          and (j.registration_count, j.held_count) is distinct from (coalesce(r.n, 0), coalesce(o.n, 0));
    get diagnostics corrected = row_count;
    perform set_config('sugang.recount', '', true);
    perform sugang.relist_test();
    return corrected;
end $$;

-- Writes down what the history lacks of the registrations as they are, and returns for how many.
create or replace function sugang.log_unlogged_test_registrations() returns bigint language plpgsql as $$
declare
    happened_at timestamptz := clock_timestamp();
    logged bigint;
begin
    lock table test_registrations in share row exclusive mode;
    perform set_config('sugang.recount', 'on', true);
    with sums as (
        select subject_id as id, sum(seats) as seats, max(id) as last_id
        from sugang.audit_log where subject = 'test' group by 1
    ), unlogged as (
        select coalesce(r.id, s.id) as id, coalesce(r.test_id, l.item_id) as item_id,
               coalesce(r.user_id, l.user_id) as user_id, coalesce(r.status, 'deleted') as status,
               case when r.status <> 'cancelled' then 1 else 0 end - coalesce(s.seats, 0) as seats,
               case when l.status <> 'deleted' then l.entry end as last_entry, l.hash as last_hash, i.state
        from test_registrations r
        full join sums s on s.id = r.id
        left join sugang.audit_log l on l.id = s.last_id
        cross join lateral (select case when r.id is not null then sugang.registration_state(
            r.id, r.user_id, r.test_id, r.status, r.applied_at, r.completed_at, r.cancelled_at) end as state) i
        where case when r.id is null then (l.status, s.seats) <> ('deleted', 0)
                   else (l.entry, l.state, l.status, s.seats) is distinct from
                        (r.history_entries, i.state, r.status,
                         case when r.status <> 'cancelled' then 1 else 0 end) end
    ), entries as (
        insert into sugang.audit_log
            (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
            select happened_at, 'test', id, 'test', item_id, user_id, status, 0, seats, i.entry, state,
                   sugang.entry_hash(case when last_entry is not null then last_hash end, state, i.entry, happened_at,
                                     'test', id, 'test', item_id, user_id, status, 0, seats::integer, null, null)
            from unlogged cross join lateral (select coalesce(last_entry, 0) + 1 as entry) i
            order by id returning subject_id, entry
    ), counted as (
        update test_registrations r set history_entries = e.entry from entries e where r.id = e.subject_id
    )
    select count(*) into logged from entries;
    perform set_config('sugang.recount', '', true);
    return logged;
end $$;

-- ===== registrations (course)

-- One kind: registers a user for an item, completes a registration, cancels one. Each is one statement that checks,
-- locks, writes and builds the response.
--
-- Locks are always taken in this order: idempotency key, user and item (advisory), order and its attempts, payment,
-- registration, user, item. Orders of others, which an item that is full releases, are skipped if they are locked.
-- The item is last because all registrations for it contend for its row: the trigger of the registration (seats.sql)
-- takes it, and it stays locked only until the commit. Whatever else a statement may have to wait for, the row of the
-- user included, it waits for before. The Django service writes in the same order.
--
-- A wait may be long, so what decides is read after it: all but the item's row is locked before the first look, and the
-- second look is under that lock.

-- For an operator, hidden items are open and any amount is right; p_any_time ignores the period. Without p_one_step,
-- only what is free, or paid before, is taken so. p_order is the order whose money has arrived: see order_payments.sql.
--
-- A user who holds a seat by a pre-order takes it over here, unless money may be on its way for it.
create or replace function sugang.do_register_course(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                     p_min numeric, p_max numeric, p_external_id text,
                                                     p_by_operator boolean default false,
                                                     p_any_time boolean default false,
                                                     p_one_step boolean default true, p_order bigint default null)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    -- Only the columns that are read: PostgreSQL describes each column of a row in every statement that returns it.
    item record;
    current_item record;
    registration record;
    payment record;
    own_order bigint;
    own_status text;
    happened_at timestamptz;
begin
    -- Serializes the requests of one user for one item, even before there is a row to lock.
    perform pg_advisory_xact_lock(hashtextextended('course ' || p_id, p_user));
    -- A payment whose registration another program has cancelled or deleted.
    select id, amount, payment_method, registration_id into payment from payments
        where user_id = p_user and object_id = p_id and status = 'paid'
          and content_type_id = (select content_type_id from sugang.kinds where kind = 'course') for update;
    select id, status into registration from course_registrations where user_id = p_user and course_id = p_id for update;
    -- Money that has arrived counts even if the user is inactive by now.
    if p_order is null then perform sugang.lock_user(p_user); end if;
    happened_at := clock_timestamp();
    select id, price, start_at, end_at, hidden, capacity, registration_count, held_count into item from courses
        where id = p_id and (not hidden or p_by_operator);
    if item.held_count > 0 then
        select id, status into own_order, own_status from sugang.orders
            where user_id = p_user and kind = 'course' and item_id = p_id and is_live for update;
    end if;
    if p_by_operator then
        if item.id is null then a.outcome := 'not_found'; end if;
    elsif item.price = 0 then
        if p_method <> 'free' then a.outcome := 'invalid_fields'; end if;
        p_amount := coalesce(p_amount, 0);
    elsif item.id is null and p_method = 'free' then
        a.outcome := 'not_found';
    elsif p_amount = 0 or p_method = 'free' or p_amount is null or p_method is null then
        a.outcome := 'invalid_fields';
    elsif item.id is null then
        a.outcome := 'not_found';
    end if;
    if a.outcome is not null then
        if a.outcome = 'invalid_fields' then a.body := sugang.payment_problems(item.price, p_amount, p_method); end if;
        return a;
    end if;
    a.outcome := case
        when registration.status <> 'cancelled' then 'already_registered'
        when own_status <> 'held' and own_order is distinct from p_order then 'order_in_progress'
        when payment.id is not null and p_order is not null then 'already_paid'
        when happened_at not between item.start_at and item.end_at and not p_any_time then 'not_open'
        when not p_one_step and item.price <> 0 and payment.id is null then 'payment_required'
        when p_amount <> item.price and not p_by_operator then 'amount_mismatch'
        when not p_by_operator and item.price <> 0 and p_amount not between p_min and p_max then 'amount_out_of_bounds'
        -- A seat that the user holds is theirs, even where an operator has lowered the capacity.
        when own_order is null and coalesce(item.registration_count + item.held_count >= item.capacity, false)
            and (item.held_count = 0 or not sugang.frees_course_seat(p_id)) then 'sold_out'
    end;
    if a.outcome is not null then return a; end if;
    if own_order is not null then perform set_config('sugang.taken_hold', own_order::text, true); end if;

    if registration.id is null then
        insert into course_registrations (user_id, course_id, status, enrolled_at)
            values (p_user, p_id, 'enrolled', happened_at) returning id into registration.id;
    else
        update course_registrations
            set status = 'enrolled', enrolled_at = happened_at, completed_at = null, cancelled_at = null,
                history_entries = history_entries + 1
            where id = registration.id;
    end if;
    -- What has decided is read again under the lock of the item's row. The API sends the statement once more.
    select title, price, start_at, end_at, hidden into current_item from courses
        where id = p_id and exists (select from users where id = p_user and is_active);
    if p_order is null
       and ((current_item.price, current_item.start_at, current_item.end_at, current_item.hidden)
                is distinct from (item.price, item.start_at, item.end_at, item.hidden)
            or clock_timestamp() > item.end_at and not p_any_time) then
        raise serialization_failure using
            message = 'the course or the user has changed, or the period has ended, meanwhile';
    end if;
    if payment.id is null then
        insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                              external_transaction_id, status, paid_at, search_vector, title_vector,
                              target_title, registration_id, registration_time)
            values (p_user, 'course', (select content_type_id from sugang.kinds where kind = 'course'), p_id,
                    p_amount, coalesce(p_method, 'free'),
                    p_external_id, 'paid', happened_at, to_tsvector('simple', current_item.title),
                    (select ts_filter(search_vector, array['a'::"char"]) from sugang.course_search where item_id = p_id),
                    current_item.title, registration.id, happened_at)
            returning id, amount, payment_method, registration_id into payment;
    -- The user has paid already, and pays nothing again.
    elsif payment.registration_id is distinct from registration.id then
        update payments set registration_id = registration.id, registration_time = happened_at where id = payment.id;
    end if;
    if own_order is not null then
        if own_order is distinct from p_order then perform sugang.end_order(own_order, 'cancelled'); end if;
        perform set_config('sugang.taken_hold', '', true);
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', payment.id, 'registration_id', registration.id,
                                'amount', payment.amount::text, 'payment_method', payment.payment_method)::text;
    return a;
end $$;

create or replace function sugang.register_course(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                  p_method text, p_min text, p_max text, p_external_id text,
                                                  p_request_id text, p_key text, p_fingerprint text,
                                                  p_epoch bigint default null, p_one_step boolean default true)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'register_course' then
        perform sugang.misrouted(p_function, 'register_course');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_register_course(
        p_user, p_id, p_amount::numeric, p_method, p_min::numeric, p_max::numeric, p_external_id,
        p_one_step => p_one_step));
end $$;

-- Locks the registration of a user for an item, and returns its status.
create or replace function sugang.lock_course_registration(p_user bigint, p_id bigint) returns text
language sql volatile as $$
    select status from course_registrations where user_id = p_user and course_id = p_id for update
$$;

-- Whether a gateway is giving back the payment of a registration, which that ends. Until it is known, nothing is
-- completed.
create or replace function sugang.gives_back_course(p_user bigint, p_id bigint) returns boolean
language sql stable as $$
    select exists (
        select from payments p join sugang.refunds r on r.payment_id = p.id
        where p.user_id = p_user and p.object_id = p_id and p.status = 'paid' and p.partly_refunded > 0
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
          and r.status = 'sent' and r.cancels_payment and not r.keeps_registration)
$$;

create or replace function sugang.complete_course(p_function text, p_user bigint, p_id bigint, p_request_id text,
                                                  p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    registration course_registrations;
begin
    if p_function is distinct from 'complete_course' then
        perform sugang.misrouted(p_function, 'complete_course');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, null, null);
    if a.outcome is not null then return a; end if;
    select * into registration from course_registrations where user_id = p_user and course_id = p_id for update;
    perform sugang.check_user(p_user);
    a.outcome := case
        when registration.id is null then 'not_registered'
        when registration.status = 'completed' then 'already_completed'
        when registration.status = 'cancelled' then 'cancelled'
        when sugang.gives_back_course(p_user, p_id) then 'refund_in_progress'
    end;
    if a.outcome is not null then return a; end if;
    update course_registrations
        set status = 'completed', completed_at = greatest(clock_timestamp(), enrolled_at),
            history_entries = history_entries + 1
        where id = registration.id returning * into registration;
    a.outcome := 'ok';
    a.body := json_build_object('registration_id', registration.id,
                                'completed_at', sugang.iso(registration.completed_at))::text;
    return a;
end $$;

-- Cancels a registration, which frees its seat. Returns false for a completed one, which stays as it is. The row of the
-- user, which an idempotency key refers to, is locked before that of the item.
create or replace function sugang.cancel_course_registration(p_user bigint, p_id bigint, p_now timestamptz)
returns boolean language plpgsql as $$
declare
    registration course_registrations;
begin
    select * into registration from course_registrations where user_id = p_user and course_id = p_id for update;
    perform sugang.lock_user(p_user);
    if registration.status = 'completed' then return false; end if;
    if registration.status = 'enrolled' then
        update course_registrations
            set status = 'cancelled', cancelled_at = p_now, history_entries = history_entries + 1
            where id = registration.id;
        perform sugang.check_user(p_user);
    end if;
    return true;
end $$;

-- ===== registrations (test)

-- One kind: registers a user for an item, completes a registration, cancels one. Each is one statement that checks,
-- locks, writes and builds the response.
--
-- Locks are always taken in this order: idempotency key, user and item (advisory), order and its attempts, payment,
-- registration, user, item. Orders of others, which an item that is full releases, are skipped if they are locked.
-- The item is last because all registrations for it contend for its row: the trigger of the registration (seats.sql)
-- takes it, and it stays locked only until the commit. Whatever else a statement may have to wait for, the row of the
-- user included, it waits for before. The Django service writes in the same order.
--
-- A wait may be long, so what decides is read after it: all but the item's row is locked before the first look, and the
-- second look is under that lock.

-- For an operator, hidden items are open and any amount is right; p_any_time ignores the period. Without p_one_step,
-- only what is free, or paid before, is taken so. p_order is the order whose money has arrived: see order_payments.sql.
--
-- A user who holds a seat by a pre-order takes it over here, unless money may be on its way for it.
create or replace function sugang.do_register_test(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                     p_min numeric, p_max numeric, p_external_id text,
                                                     p_by_operator boolean default false,
                                                     p_any_time boolean default false,
                                                     p_one_step boolean default true, p_order bigint default null)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    -- Only the columns that are read: PostgreSQL describes each column of a row in every statement that returns it.
    item record;
    current_item record;
    registration record;
    payment record;
    own_order bigint;
    own_status text;
    happened_at timestamptz;
begin
    -- Serializes the requests of one user for one item, even before there is a row to lock.
    perform pg_advisory_xact_lock(hashtextextended('test ' || p_id, p_user));
    -- A payment whose registration another program has cancelled or deleted.
    select id, amount, payment_method, registration_id into payment from payments
        where user_id = p_user and object_id = p_id and status = 'paid'
          and content_type_id = (select content_type_id from sugang.kinds where kind = 'test') for update;
    select id, status into registration from test_registrations where user_id = p_user and test_id = p_id for update;
    -- Money that has arrived counts even if the user is inactive by now.
    if p_order is null then perform sugang.lock_user(p_user); end if;
    happened_at := clock_timestamp();
    select id, price, start_at, end_at, hidden, capacity, registration_count, held_count into item from tests
        where id = p_id and (not hidden or p_by_operator);
    if item.held_count > 0 then
        select id, status into own_order, own_status from sugang.orders
            where user_id = p_user and kind = 'test' and item_id = p_id and is_live for update;
    end if;
    if p_by_operator then
        if item.id is null then a.outcome := 'not_found'; end if;
    elsif item.price = 0 then
        if p_method <> 'free' then a.outcome := 'invalid_fields'; end if;
        p_amount := coalesce(p_amount, 0);
    elsif item.id is null and p_method = 'free' then
        a.outcome := 'not_found';
    elsif p_amount = 0 or p_method = 'free' or p_amount is null or p_method is null then
        a.outcome := 'invalid_fields';
    elsif item.id is null then
        a.outcome := 'not_found';
    end if;
    if a.outcome is not null then
        if a.outcome = 'invalid_fields' then a.body := sugang.payment_problems(item.price, p_amount, p_method); end if;
        return a;
    end if;
    a.outcome := case
        when registration.status <> 'cancelled' then 'already_registered'
        when own_status <> 'held' and own_order is distinct from p_order then 'order_in_progress'
        when payment.id is not null and p_order is not null then 'already_paid'
        when happened_at not between item.start_at and item.end_at and not p_any_time then 'not_open'
        when not p_one_step and item.price <> 0 and payment.id is null then 'payment_required'
        when p_amount <> item.price and not p_by_operator then 'amount_mismatch'
        when not p_by_operator and item.price <> 0 and p_amount not between p_min and p_max then 'amount_out_of_bounds'
        -- A seat that the user holds is theirs, even where an operator has lowered the capacity.
        when own_order is null and coalesce(item.registration_count + item.held_count >= item.capacity, false)
            and (item.held_count = 0 or not sugang.frees_test_seat(p_id)) then 'sold_out'
    end;
    if a.outcome is not null then return a; end if;
    if own_order is not null then perform set_config('sugang.taken_hold', own_order::text, true); end if;

    if registration.id is null then
        insert into test_registrations (user_id, test_id, status, applied_at)
            values (p_user, p_id, 'applied', happened_at) returning id into registration.id;
    else
        update test_registrations
            set status = 'applied', applied_at = happened_at, completed_at = null, cancelled_at = null,
                history_entries = history_entries + 1
            where id = registration.id;
    end if;
    -- What has decided is read again under the lock of the item's row. The API sends the statement once more.
    select title, price, start_at, end_at, hidden into current_item from tests
        where id = p_id and exists (select from users where id = p_user and is_active);
    if p_order is null
       and ((current_item.price, current_item.start_at, current_item.end_at, current_item.hidden)
                is distinct from (item.price, item.start_at, item.end_at, item.hidden)
            or clock_timestamp() > item.end_at and not p_any_time) then
        raise serialization_failure using
            message = 'the test or the user has changed, or the period has ended, meanwhile';
    end if;
    if payment.id is null then
        insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                              external_transaction_id, status, paid_at, search_vector, title_vector,
                              target_title, registration_id, registration_time)
            values (p_user, 'test', (select content_type_id from sugang.kinds where kind = 'test'), p_id,
                    p_amount, coalesce(p_method, 'free'),
                    p_external_id, 'paid', happened_at, to_tsvector('simple', current_item.title),
                    (select ts_filter(search_vector, array['a'::"char"]) from sugang.test_search where item_id = p_id),
                    current_item.title, registration.id, happened_at)
            returning id, amount, payment_method, registration_id into payment;
    -- The user has paid already, and pays nothing again.
    elsif payment.registration_id is distinct from registration.id then
        update payments set registration_id = registration.id, registration_time = happened_at where id = payment.id;
    end if;
    if own_order is not null then
        if own_order is distinct from p_order then perform sugang.end_order(own_order, 'cancelled'); end if;
        perform set_config('sugang.taken_hold', '', true);
    end if;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', payment.id, 'registration_id', registration.id,
                                'amount', payment.amount::text, 'payment_method', payment.payment_method)::text;
    return a;
end $$;

create or replace function sugang.register_test(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                  p_method text, p_min text, p_max text, p_external_id text,
                                                  p_request_id text, p_key text, p_fingerprint text,
                                                  p_epoch bigint default null, p_one_step boolean default true)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'register_test' then
        perform sugang.misrouted(p_function, 'register_test');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_register_test(
        p_user, p_id, p_amount::numeric, p_method, p_min::numeric, p_max::numeric, p_external_id,
        p_one_step => p_one_step));
end $$;

-- Locks the registration of a user for an item, and returns its status.
create or replace function sugang.lock_test_registration(p_user bigint, p_id bigint) returns text
language sql volatile as $$
    select status from test_registrations where user_id = p_user and test_id = p_id for update
$$;

-- Whether a gateway is giving back the payment of a registration, which that ends. Until it is known, nothing is
-- completed.
create or replace function sugang.gives_back_test(p_user bigint, p_id bigint) returns boolean
language sql stable as $$
    select exists (
        select from payments p join sugang.refunds r on r.payment_id = p.id
        where p.user_id = p_user and p.object_id = p_id and p.status = 'paid' and p.partly_refunded > 0
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
          and r.status = 'sent' and r.cancels_payment and not r.keeps_registration)
$$;

create or replace function sugang.complete_test(p_function text, p_user bigint, p_id bigint, p_request_id text,
                                                  p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    registration test_registrations;
begin
    if p_function is distinct from 'complete_test' then
        perform sugang.misrouted(p_function, 'complete_test');
    end if;
    a := sugang.begin_idempotent(p_user, p_epoch, p_request_id, null, null);
    if a.outcome is not null then return a; end if;
    select * into registration from test_registrations where user_id = p_user and test_id = p_id for update;
    perform sugang.check_user(p_user);
    a.outcome := case
        when registration.id is null then 'not_registered'
        when registration.status = 'completed' then 'already_completed'
        when registration.status = 'cancelled' then 'cancelled'
        when sugang.gives_back_test(p_user, p_id) then 'refund_in_progress'
    end;
    if a.outcome is not null then return a; end if;
    update test_registrations
        set status = 'completed', completed_at = greatest(clock_timestamp(), applied_at),
            history_entries = history_entries + 1
        where id = registration.id returning * into registration;
    a.outcome := 'ok';
    a.body := json_build_object('registration_id', registration.id,
                                'completed_at', sugang.iso(registration.completed_at))::text;
    return a;
end $$;

-- Cancels a registration, which frees its seat. Returns false for a completed one, which stays as it is. The row of the
-- user, which an idempotency key refers to, is locked before that of the item.
create or replace function sugang.cancel_test_registration(p_user bigint, p_id bigint, p_now timestamptz)
returns boolean language plpgsql as $$
declare
    registration test_registrations;
begin
    select * into registration from test_registrations where user_id = p_user and test_id = p_id for update;
    perform sugang.lock_user(p_user);
    if registration.status = 'completed' then return false; end if;
    if registration.status = 'applied' then
        update test_registrations
            set status = 'cancelled', cancelled_at = p_now, history_entries = history_entries + 1
            where id = registration.id;
        perform sugang.check_user(p_user);
    end if;
    return true;
end $$;

-- ===== rehearsal

-- A rehearsal: requests are served once, for a user and items of its own, and all of it is rolled back. The triggers,
-- rules, constraints and indexes of another program take part in what the service writes, with the rights of its role.
-- Whether they let it pass, no look at the catalog tells; to write does. Each migration ends with it.

-- The innermost function of another program in the context of an error, with its line.
create or replace function sugang.foreign_function(p_context text) returns text language sql stable as $$
    select regexp_replace(line, ' at [A-Za-z ]+$', '')
    from string_to_table(p_context, E'\n') with ordinality l (line, n)
    where line ~ '^(PL/pgSQL|SQL) function ' and line !~ '^PL/pgSQL function sugang[.]'
      -- Of a function in SQL, a context has no schema.
      and not exists (select from pg_proc where pronamespace = 'sugang'::regnamespace
                      and proname = substring(line from '^SQL function "(.*?)"'))
    order by n limit 1
$$;

-- What helps. p_function: the function that failed, as PostgreSQL names it in a context.
create or replace function sugang.rehearsal_hint(p_state text, p_function text, p_table text, p_column text,
                                                 p_constraint text)
returns text language sql stable as $$
    select case
        when p_state = '42501' and p_function is not null then
            coalesce('`alter function ' || to_regprocedure(substring(p_function from 'function (.*) line'))
                     || ' security definer set search_path = public, pg_temp` lets the trigger work with the rights of '
                        'its owner. Or grant', 'Grant') || ' the role that serves what it needs there.'
        when p_state = '42501' then 'Grant the role that serves the right that is missing.'
        when p_state = '23502' then
            format('Give the column a default, or let it be empty: `alter table %s alter column %I set default …` or '
                   '`drop not null`.', p_table, p_column)
        when p_state like '23%' then
            format('This service writes what the constraint refuses. Drop it, or let it accept such a row: '
                   '`alter table %s drop constraint %I` (`drop index %2$I` for an index).', p_table, p_constraint)
        when p_state = '22001' then 'Make the column as long as this service''s: see `sugang.alter_table`.'
        when p_state in ('0A000', '55000', '42P10') then
            'Drop the rule (`drop rule … on …`), or make the unique constraint again without `deferrable`.'
        else 'A trigger, rule or constraint of another program takes part in this write: change or drop it.'
    end
$$;

-- Sends one request, and adds what is wrong to the findings. p_statement returns an outcome and a body; the body of a
-- request that succeeded has p_keys, since a trigger may keep a row from being written without an error. Null in place
-- of the body means that what depends on it cannot be rehearsed. As in the API, a sequence that lags behind is advanced
-- once. What only the role may not do is done by the caller instead, so that all findings come at once.
create or replace function sugang.rehearse_step(p_role name, p_step text, p_statement text, p_keys text[],
                                                inout findings jsonb, out body jsonb)
language plpgsql as $$
declare
    own_role constant text := current_setting('role');
    acting_role text := coalesce(p_role, own_role);
    outcome text;
    answer text;
    problem text;
    state text;
    message text;
    context text;
    found_constraint text;
    found_table text;
    found_column text;
    is_advanced boolean := false;
begin
    loop
        problem := null;
        state := null;
        begin
            perform set_config(name, '', true)
                from unnest(array['sugang.actor', 'sugang.request', 'sugang.rehashed_user', 'sugang.taken_hold']) name;
            perform set_config('role', acting_role, true);
            -- The statements are those of this file and of rehearsal_of_kind.sql.
            -- @plpgsql_check_options: security_warnings = false
            execute p_statement into outcome, answer;
            -- What would run at the commit.
            set constraints all immediate;
            set constraints all deferred;
            perform set_config('role', own_role, true);
            if outcome is distinct from 'ok' then
                problem := format('answers %s in place of ok', coalesce(outcome, 'nothing'));
            else
                body := coalesce(answer, '{}')::jsonb;
                problem := (select format('writes no row: %s is null', key) from unnest(p_keys) key
                            where body ->> key is null limit 1);
            end if;
            -- What it has written is not in the way of the next step.
            if problem is not null then raise sqlstate 'SG003'; end if;
        exception
            when lock_not_available or deadlock_detected then raise;
            when sqlstate 'SG003' then null;
            when others then
                get stacked diagnostics state = returned_sqlstate, message = message_text,
                    context = pg_exception_context, found_constraint = constraint_name, found_table = table_name,
                    found_column = column_name;
                context := sugang.foreign_function(context);
                problem := format('fails: %s %s', state, message)
                    || case when strpos(message, found_constraint) = 0 then format(' [constraint %s]', found_constraint)
                       else '' end
                    || coalesce(' (' || context || ')', '');
        end;
        exit when problem is null;
        body := null;
        if state = '23505' and not is_advanced then
            is_advanced := true;
            perform sugang.advance_sequences('advance_sequences');
            continue;
        end if;
        -- Not a second finding for what fails for the caller as well.
        if acting_role = coalesce(p_role, own_role) then
            findings := findings || jsonb_build_object(
                'step', p_step, 'problem', problem,
                'hint', sugang.rehearsal_hint(state, context, found_table, found_column, found_constraint));
        end if;
        exit when state is distinct from '42501' or acting_role = own_role;
        acting_role := own_role;
    end loop;
end $$;

-- What concerns a user, and then each kind.
create or replace function sugang.rehearse_requests(p_role name, inout findings jsonb) language plpgsql as $$
declare
    unique_part constant text := replace(gen_random_uuid()::text, '-', '');
    -- As most users have them: that a length is too short, the preflight sees.
    email constant text := 'rehearsal-' || unique_part || '@example.com';
    username constant text := 'rehearsal' || unique_part;
    password constant text := rpad('$argon2id$v=19$m=19456,t=2,p=1$', 97, 'A');
    expires constant bigint := extract(epoch from now())::bigint + 604800;
    account bigint;
    body jsonb;
    kind text;
begin
    select * into findings, body from sugang.rehearse_step(p_role, 'sign-up', format(
        'select outcome, body from sugang.signup(''signup'', %L, null, %L, %L)', email, username, password),
        array['id'], findings);
    account := cast(body ->> 'id' as bigint);
    if account is null then return; end if;
    select * into findings, body from sugang.rehearse_step(p_role, 'login of a new user', format(
        'select outcome, body from sugang.credentials(''credentials'', %L, %1$L, null)', email), array['id'], findings);
    if body is null then return; end if;
    select s.findings into findings from sugang.rehearse_step(p_role, 'login', format(
        'select outcome, null from sugang.logged_in(''logged_in'', %s, %L, %L, ''rehearsal'', 0)',
        account, password, overlay(password placing 'B' from 97)), '{}', findings) s;
    select s.findings into findings from sugang.rehearse_step(p_role, 'token refresh', format(
        'select outcome, body from sugang.refresh(''refresh'', %s, %L, %2$L, %s, 604800, true, 10, %L, %s)',
        account, unique_part, expires, unique_part || '-2', expires - 604800), array['id'], findings) s;
    select s.findings into findings from sugang.rehearse_step(p_role, 'logout', format(
        'select outcome, null from sugang.logout(''logout'', %s, %L, %s, 604800)', account, unique_part, expires),
        '{}', findings) s;
    -- No request makes one, so it is no failure if a trigger refuses that.
    select s.body into body from sugang.rehearse_step(p_role, 'making an operator', format(
        'update users set is_staff = true where id = %s returning ''ok'', json_build_object(''id'', id)::text',
        account), array['id'], '[]') s;
    if body is not null then
        for kind in select k.kind from sugang.kinds k order by 1 loop
            execute format('select sugang.%I($1, $2, $3)', 'rehearse_' || kind) into findings
                using p_role, account, findings;
        end loop;
    end if;
    select s.findings into findings from sugang.rehearse_step(p_role, 'logout everywhere', format(
        'select outcome, null from sugang.logout_all(''logout_all'', %s, null)', account), '{}', findings) s;
end $$;

-- The role that the rehearsal acts as. A role that migrates and may create roles is no member of those that it made; it
-- becomes one until the rehearsal is rolled back. Null if it may not.
create or replace function sugang.rehearsal_role(p_role name) returns name language plpgsql as $$
declare
    own_role constant text := current_setting('role');
begin
    begin
        perform set_config('role', p_role, true), set_config('role', own_role, true);
    exception when insufficient_privilege then
        begin
            -- @plpgsql_check_options: security_warnings = false
            execute format('grant %I to current_user', p_role);
            perform set_config('role', p_role, true), set_config('role', own_role, true);
        exception when others then
            return null;
        end;
    end;
    return p_role;
end $$;

-- Whether there is no user whom a refusal would concern, and no trigger or rule of another program. The ids of a new
-- service then begin with 1, since a sequence does not take back what a rehearsal has drawn from it.
create or replace function sugang.needs_no_rehearsal() returns boolean language sql stable as $$
    select not exists (select from users)
        and not exists (
            select from pg_trigger join pg_proc on pg_proc.oid = tgfoid
            where tgrelid in (select relation from sugang.guarded_tables()) and not tgisinternal
              and pronamespace <> 'sugang'::regnamespace)
        and not exists (select from pg_rewrite where ev_class in (select relation from sugang.guarded_tables()))
$$;

-- The findings of a rehearsal as p_role, or as the caller if that is null. Of those that are no failure, requests know
-- nothing. Nothing is left behind but gaps in sequences, nothing is sent to a webhook, and a database that takes no
-- changes is left alone.
create or replace function sugang.rehearse(p_role name)
returns table (finding text, hint text, is_failure boolean) language plpgsql as $$
declare
    findings jsonb := '[]'::jsonb;
    acting_role name;
begin
    if current_setting('transaction_read_only')::boolean then return; end if;
    if p_role is not null and not has_database_privilege(p_role, current_database(), 'connect') then
        return query select format('the role %I may not connect to the database', p_role),
            format('`grant connect on database %I to %I`, as the owner of the database or a superuser.',
                   current_database(), p_role), false;
    end if;
    if sugang.needs_no_rehearsal() then return; end if;
    begin
        if p_role is not null then acting_role := sugang.rehearsal_role(p_role); end if;
        findings := sugang.rehearse_requests(acting_role, findings);
        raise sqlstate 'SG002';
    exception when sqlstate 'SG002' then
        null;
    end;
    if p_role is not null and acting_role is null then
        return query select format('not rehearsed as the role %I, which %I may not act as', p_role, current_user),
            format('`grant %I to %I` allows it.', p_role, current_user), false;
    end if;
    -- One finding for what has one cause.
    return query
        select concat(steps[1], case when cardinality(steps) > 1 then format(' (and %s more: %s%s)',
                   cardinality(steps) - 1, array_to_string(steps[2:4], ', '),
                   case when cardinality(steps) > 4 then ', …' end) end, ' ', f.problem),
               f.hint, true
        from (select array_agg(r.step order by n) as steps, r.problem, r.hint, min(n) as place
              from rows from (jsonb_to_recordset(findings) as (step text, problem text, hint text))
                  with ordinality r (step, problem, hint, n)
              group by r.problem, r.hint) f
        order by place;
end $$;

-- ===== rehearsal_of_kind (course)

-- One kind: the rehearsal of what a user does with its items; see rehearsal.sql.

-- p_user is an operator. Of three items, one is free.
create or replace function sugang.rehearse_course(p_role name, p_user bigint, inout findings jsonb)
language plpgsql as $$
declare
    items bigint[];
    price text;
    item bigint;
    body jsonb;
begin
    foreach price in array array['0', '1000.00', '45000.00'] loop
        select * into findings, body from sugang.rehearse_step(p_role, 'adding a course', format(
            'select outcome, body from sugang.create_course(''create_course'', %s, %L, ''rehearsal'', null, null)',
            p_user, json_build_object('title', 'rehearsal', 'price', price, 'start_at', now() - interval '1 hour',
                                      'end_at', now() + interval '1 day')),
            array['id'], findings);
        if body is null then return; end if;
        items := items || cast(body ->> 'id' as bigint);
    end loop;
    select s.findings into findings from sugang.rehearse_step(p_role, 'editing a course', format(
        'select outcome, body from sugang.edit_course(''edit_course'', %s, %s, ''*'', %L, ''rehearsal'', null, null)',
        p_user, items[2], json_build_object('description', 'rehearsal', 'capacity', 10)), array['id'], findings) s;

    findings := sugang.rehearse_course_payment(p_role, p_user, items[1], 'free', null, findings);
    findings := sugang.rehearse_course_payment(p_role, p_user, items[2], 'card', '1000.00', findings);
    findings := sugang.rehearse_course_payment(p_role, p_user, items[2], 'bank_transfer', '1000.00', findings);
    findings := sugang.rehearse_course_payment(p_role, p_user, items[2], 'kakaopay', '1000.00', findings);

    select * into findings, body from sugang.rehearse_step(p_role, 'holding a seat of a course', format(
        'select outcome, body from sugang.preorder_course(''preorder_course'', %s, %s, ''45000.00'', '
        '''bank_transfer'', ''manual'', ''0'', ''200000000'', 600, ''{}'', false, ''rehearsal'', null, null)',
        p_user, items[3]), array['id'], findings);
    if body is not null then
        select s.findings into findings from sugang.rehearse_step(p_role, 'giving a seat of a course up', format(
            'select outcome, body from sugang.cancel_order(''cancel_order'', %s, %s, ''rehearsal'', null, null)',
            p_user, body ->> 'id'), '{}', findings) s;
    end if;
    findings := sugang.rehearse_course_payment(p_role, p_user, items[3], 'card', '45000.00', findings);

    foreach item in array items loop
        -- Not what could not be applied for.
        continue when not exists (
            select from course_registrations where user_id = p_user and course_id = item and status = 'enrolled');
        select s.findings into findings from sugang.rehearse_step(p_role, 'completing a course', format(
            'select outcome, body from sugang.complete_course(''complete_course'', %s, %s, ''rehearsal'')',
            p_user, item), array['registration_id'], findings) s;
    end loop;
end $$;

-- Applies, cancels without a reason, applies again and cancels with one. What is free or costs more is applied for a
-- third time, and stays.
create or replace function sugang.rehearse_course_payment(p_role name, p_user bigint, p_item bigint, p_method text,
                                                          p_amount text, inout findings jsonb)
language plpgsql as $$
declare
    apply constant text := format(
        'select outcome, body from sugang.register_course(''register_course'', %s, %s, %L, %L, ''0'', ''200000000'', '
        '''sugang_'' || gen_random_uuid(), ''rehearsal'', null, null)', p_user, p_item, p_amount, p_method);
    reason text;
    body jsonb;
begin
    foreach reason in array array[null, 'rehearsal'] loop
        select * into findings, body from sugang.rehearse_step(
            p_role, format('applying for a course (%s)',
                           concat_ws(', ', p_method, p_amount, case when reason is not null then 'again' end)),
            apply, '{payment_id,registration_id}', findings);
        if body is null then return; end if;
        select * into findings, body from sugang.rehearse_step(p_role, 'cancelling a course', format(
            'select outcome, body from sugang.cancel_payment(''cancel_payment'', %s, %s, %L, ''rehearsal'', null, '
            'null)', p_user, body ->> 'payment_id', reason), array['payment_id'], findings);
        if body is null then return; end if;
    end loop;
    if p_amount = '1000.00' then return; end if;
    select s.findings into findings from sugang.rehearse_step(
        p_role, format('applying for a course (%s)', concat_ws(', ', p_method, p_amount, 'a third time')), apply,
        '{payment_id,registration_id}', findings) s;
end $$;

-- ===== rehearsal_of_kind (test)

-- One kind: the rehearsal of what a user does with its items; see rehearsal.sql.

-- p_user is an operator. Of three items, one is free.
create or replace function sugang.rehearse_test(p_role name, p_user bigint, inout findings jsonb)
language plpgsql as $$
declare
    items bigint[];
    price text;
    item bigint;
    body jsonb;
begin
    foreach price in array array['0', '1000.00', '45000.00'] loop
        select * into findings, body from sugang.rehearse_step(p_role, 'adding a test', format(
            'select outcome, body from sugang.create_test(''create_test'', %s, %L, ''rehearsal'', null, null)',
            p_user, json_build_object('title', 'rehearsal', 'price', price, 'start_at', now() - interval '1 hour',
                                      'end_at', now() + interval '1 day')),
            array['id'], findings);
        if body is null then return; end if;
        items := items || cast(body ->> 'id' as bigint);
    end loop;
    select s.findings into findings from sugang.rehearse_step(p_role, 'editing a test', format(
        'select outcome, body from sugang.edit_test(''edit_test'', %s, %s, ''*'', %L, ''rehearsal'', null, null)',
        p_user, items[2], json_build_object('description', 'rehearsal', 'capacity', 10)), array['id'], findings) s;

    findings := sugang.rehearse_test_payment(p_role, p_user, items[1], 'free', null, findings);
    findings := sugang.rehearse_test_payment(p_role, p_user, items[2], 'card', '1000.00', findings);
    findings := sugang.rehearse_test_payment(p_role, p_user, items[2], 'bank_transfer', '1000.00', findings);
    findings := sugang.rehearse_test_payment(p_role, p_user, items[2], 'kakaopay', '1000.00', findings);

    select * into findings, body from sugang.rehearse_step(p_role, 'holding a seat of a test', format(
        'select outcome, body from sugang.preorder_test(''preorder_test'', %s, %s, ''45000.00'', '
        '''bank_transfer'', ''manual'', ''0'', ''200000000'', 600, ''{}'', false, ''rehearsal'', null, null)',
        p_user, items[3]), array['id'], findings);
    if body is not null then
        select s.findings into findings from sugang.rehearse_step(p_role, 'giving a seat of a test up', format(
            'select outcome, body from sugang.cancel_order(''cancel_order'', %s, %s, ''rehearsal'', null, null)',
            p_user, body ->> 'id'), '{}', findings) s;
    end if;
    findings := sugang.rehearse_test_payment(p_role, p_user, items[3], 'card', '45000.00', findings);

    foreach item in array items loop
        -- Not what could not be applied for.
        continue when not exists (
            select from test_registrations where user_id = p_user and test_id = item and status = 'applied');
        select s.findings into findings from sugang.rehearse_step(p_role, 'completing a test', format(
            'select outcome, body from sugang.complete_test(''complete_test'', %s, %s, ''rehearsal'')',
            p_user, item), array['registration_id'], findings) s;
    end loop;
end $$;

-- Applies, cancels without a reason, applies again and cancels with one. What is free or costs more is applied for a
-- third time, and stays.
create or replace function sugang.rehearse_test_payment(p_role name, p_user bigint, p_item bigint, p_method text,
                                                          p_amount text, inout findings jsonb)
language plpgsql as $$
declare
    apply constant text := format(
        'select outcome, body from sugang.register_test(''register_test'', %s, %s, %L, %L, ''0'', ''200000000'', '
        '''sugang_'' || gen_random_uuid(), ''rehearsal'', null, null)', p_user, p_item, p_amount, p_method);
    reason text;
    body jsonb;
begin
    foreach reason in array array[null, 'rehearsal'] loop
        select * into findings, body from sugang.rehearse_step(
            p_role, format('applying for a test (%s)',
                           concat_ws(', ', p_method, p_amount, case when reason is not null then 'again' end)),
            apply, '{payment_id,registration_id}', findings);
        if body is null then return; end if;
        select * into findings, body from sugang.rehearse_step(p_role, 'cancelling a test', format(
            'select outcome, body from sugang.cancel_payment(''cancel_payment'', %s, %s, %L, ''rehearsal'', null, '
            'null)', p_user, body ->> 'payment_id', reason), array['payment_id'], findings);
        if body is null then return; end if;
    end loop;
    if p_amount = '1000.00' then return; end if;
    select s.findings into findings from sugang.rehearse_step(
        p_role, format('applying for a test (%s)', concat_ws(', ', p_method, p_amount, 'a third time')), apply,
        '{payment_id,registration_id}', findings) s;
end $$;

-- ===== required_columns

-- The columns that a new row needs and that neither a request nor a default fills. What a request fills is what the
-- role may insert, so sugang.rights() is the list. Django gives a new column a default only while it adds it.
create or replace function sugang.required_columns() returns table (relation regclass, attribute name)
language sql stable set search_path = public as $$
    select attrelid::regclass, attname
    from (select to_regclass(r.relation) as relation, string_agg(r.columns, ',') as columns from sugang.rights() r
          where r.privilege = 'insert' group by 1) filled
    join pg_attribute on attrelid = filled.relation and attnum > 0 and not attisdropped
    join pg_type on pg_type.oid = atttypid
    where attnotnull and not atthasdef and attidentity = '' and attgenerated = '' and typdefault is null
      and attname <> all (string_to_array(columns, ','))
      -- A trigger of another program may fill it.
      and not exists (
          select from pg_trigger join pg_proc on pg_proc.oid = tgfoid
          where tgrelid = attrelid and not tgisinternal and tgenabled in ('O', 'A')
            -- Before each row that is inserted.
            and tgtype & 7 = 7 and pronamespace <> 'sugang'::regnamespace
            -- That of Django's search fills its vector alone.
            and prosrc !~ '(search_vector|tsvector_update_trigger)')
$$;

-- ===== roles

-- The role that serves requests, where it is not the owner of the tables. It calls functions, which work with its own
-- rights, and these are the rights that the functions need. The triggers work with the rights of the owner: the role
-- writes neither history nor counts but through them.

-- The schemas that functions search: public before all others, then those that the database, or a role that serves, is
-- set to search, and temporary tables behind them. What a server or a session is set to does not count.
create or replace function sugang.searched_schemas() returns text[] language sql stable as $$
    with given as (
        select setrole, substring(entry from '^search_path=(.*)$') as path
        from pg_db_role_setting cross join unnest(setconfig) entry
        where setdatabase in (0, (select oid from pg_database where datname = current_database()))
          and (setrole = 0 or has_schema_privilege(setrole, 'sugang', 'usage'))
    ), named as (
        select coalesce(replace(parts[1], '""', '"'), parts[2]) as schema, array[(setrole <> 0)::integer, setrole::bigint, n] as place
        from (select setrole, path from given where path is not null
              union all
              select 0, '"$user"' where not exists (select from given where setrole = 0 and path is not null)) paths
        cross join regexp_matches(path, '"((?:[^"]|"")+)"|([^", ]+)', 'g') with ordinality found (parts, n)
    )
    select 'public'::text || array(
        select schema from named where schema not in ('public', 'pg_temp') group by schema order by min(place)
    ) || 'pg_temp'::text
$$;

create or replace function sugang.own_search_path() returns text language sql stable as $$
    select string_agg(quote_ident(schema), ', ' order by n)
    from unnest(sugang.searched_schemas()) with ordinality searched (schema, n)
$$;

-- Makes every trigger function work as its owner: any program that may write a table can then do so, without a right on
-- what is derived from it. A temporary table cannot come before what they search. The functions that the API calls have
-- a search path of their own as well: that of a session may be another client's of a connection pooler, and lead to
-- tables of the same name elsewhere. Triggers of other programs find there what the database is set to. Functions with
-- the rights of their owner search what no other role may create in.
create or replace function sugang.secure_functions() returns void language plpgsql as $$
declare
    routine regprocedure;
    path constant text := sugang.own_search_path();
begin
    for routine in select oid from pg_proc
            where pronamespace = 'sugang'::regnamespace and prorettype = 'trigger'::regtype loop
        execute format('alter function %s security definer set search_path = public, pg_temp', routine);
    end loop;
    -- A path is no single identifier.
    -- @plpgsql_check_options: security_warnings = false
    for routine in select oid from pg_proc
            where pronamespace = 'sugang'::regnamespace and proargnames[1] = 'p_function' and not prosecdef loop
        execute format('alter function %s set search_path = %s', routine, path);
    end loop;
end $$;

-- The same where the database has been set to another search path since. What the audit would have named before, it
-- still does.
create or replace function sugang.renew_search_paths() returns void language plpgsql as $$
declare
    path constant text := sugang.own_search_path();
    unchanged text[];
begin
    if not exists (
            select from pg_proc
            where pronamespace = 'sugang'::regnamespace and proargnames[1] = 'p_function' and not prosecdef
              and (proconfig @> array['search_path=' || path]) is not true) then
        return;
    end if;
    unchanged := array(select name from sugang.current_definitions() join sugang.schema_definitions d
                       using (kind, relation, name, definition) where kind = 'function');
    perform sugang.secure_functions();
    update sugang.schema_definitions d set definition = c.definition
        from sugang.current_definitions() c
        where (c.kind, c.relation, c.name) = (d.kind, d.relation, d.name)
          and d.kind = 'function' and d.name = any (unchanged);
end $$;

-- Why the rights of a role do not matter: it can change the history whatever it is granted. Null if it cannot.
create or replace function sugang.role_is_unlimited(p_role name) returns text language sql stable as $$
    select case
        when rolsuper then 'it is a superuser'
        when pg_has_role(p_role, relowner, 'member')
            then format('it is, or is a member of, %I, which owns the tables', pg_get_userbyid(relowner))
        when rolcreaterole then 'it may create roles'
        when has_table_privilege(p_role, pg_class.oid, 'insert, update, delete, truncate, trigger')
            or has_table_privilege(p_role, 'sugang.change_log', 'insert, update, delete, truncate, trigger')
            then 'it may write sugang.audit_log or sugang.change_log, as PUBLIC or as a member of another role'
        when has_schema_privilege(p_role, 'public', 'create')
            then 'it may create in the schema public what functions call in place of what they mean; '
                 '`revoke create on schema public from public` helps'
        when exists (select from unnest(sugang.searched_schemas()) schema
                     where has_schema_privilege(p_role, to_regnamespace(quote_ident(schema))::oid, 'create'))
            then 'it may create in a schema that the database is set to search'
    end
    from pg_roles, pg_class where rolname = p_role and pg_class.oid = 'sugang.audit_log'::regclass
$$;

-- Gives a role the rights that requests need, and takes what it has beyond them in the schema sugang: earlier versions
-- may have needed more. It may read whole tables: rows are returned with all columns, those of the Django service
-- included, and the audit reads them.
create or replace function sugang.grant_service(p_role name) returns void language plpgsql as $$
declare
    given record;
begin
    execute format('revoke all on all tables in schema sugang from %I', p_role);
    execute format('grant usage on schema sugang, public to %I', p_role);
    execute format('grant select on all tables in schema sugang to %I', p_role);
    execute format('grant execute on all functions in schema sugang to %I', p_role);
    -- The names are those of sugang.rights(), which no caller gives. The next line is for the check of the functions.
    -- @plpgsql_check_options: security_warnings = false
    for given in
        select format('grant select on %s to %I', relation, p_role) as statement from sugang.rights()
        where privilege = 'select' and relation not like 'sugang.%'
        union all
        select format('grant %s on %s to %I', string_agg(privilege, ', '), relation, p_role)
        from (select relation, privilege || coalesce('(' || columns || ')', '') as privilege from sugang.rights()) r
        group by relation
        union all
        select format('grant usage on sequence %s to %I', sequence, p_role) from sugang.needed_sequences() sequence
    loop
        execute given.statement;
    end loop;
end $$;

-- Hardened servers take the right to connect from PUBLIC. Where only another role may grant it, sugang.rehearse names
-- it.
create or replace function sugang.grant_connect(p_role name) returns void language plpgsql as $$
begin
    if has_database_privilege(p_role, current_database(), 'connect') then return; end if;
    execute format('grant connect on database %I to %I', current_database(), p_role);
exception when insufficient_privilege then
    null;
end $$;

-- Older databases of the Django service number their rows by a sequence, which needs a right of its own. An identity
-- needs none, nor does a default of another kind.
create or replace function sugang.needed_sequences() returns setof regclass language sql stable as $$
    select sequence
    from sugang.rights()
    cross join lateral sugang.id_sequence(to_regclass(relation)) sequence
    where privilege = 'insert' and relation not like 'sugang.%' and sequence is not null
      and exists (select from pg_attribute where attrelid = to_regclass(relation) and attname = 'id'
                  and not attisdropped and atthasdef)
$$;

-- ===== search

-- How text is searched: what a title, a description and a query are made of.
--
-- Where a literal here, or in any other file of functions/, has a backslash, it is E'…': another program may write
-- without `standard_conforming_strings`, and the triggers work in its session.
--
-- A text is a sequence of runs: of syllables (Hangul, and other scripts that write no blank between words), of digits,
-- or of letters. A run of letters or digits is one lexeme. A run of syllables is one lexeme for each pair of neighbors,
-- at the position of the first one (정보처리 is 정보, 보처, 처리), so that every part of two syllables or more is found by
-- exact look-ups; a run of a single syllable is that syllable. In a title, the last syllable of a run also pairs with
-- the first one of the next run, with _ between them, so that a query may leave out blanks that the title has.

-- The form in which texts and queries are compared: NFKC, lower case, without invisible characters. A + or # behind a
-- letter belongs to it (C++, C#, A+): private characters stand for them.
create or replace function sugang.search_fold(p_text text) returns text
language plpgsql immutable strict parallel safe as $$
declare
    folded text := lower(normalize(translate(p_text, E'\u00AD\u200B\u200C\u200D\u2060\uFEFF', ''), nfkc));
begin
    if folded ~ '[+#]' then
        folded := regexp_replace(folded, E'([a-z])\\+\\+', E'\\1\uE000', 'g');
        folded := regexp_replace(folded, '([a-z])#', E'\\1\uE001', 'g');
        folded := regexp_replace(folded, E'([a-z])\\+(?![a-z0-9])', E'\\1\uE002', 'g');
    end if;
    return folded;
end $$;

-- For bracket expressions: the syllables (Hangul, Kana, Han), and what separates runs.
create or replace function sugang.search_syllables() returns text language sql immutable parallel safe as $$
    select E'\\uAC00-\\uD7A3\\u1100-\\u115E\\u1161-\\u119D\\u119F-\\u11FF\\u3041-\\u3096\\u309D-\\u30FA\\u30FC-\\u30FF'
        '\\u31F0-\\u31FF\\u3005-\\u3007\\u3400-\\u4DBF\\u4E00-\\u9FFF\\uF900-\\uFAFF\\U00020000-\\U000323AF'
$$;
create or replace function sugang.search_separators() returns text language sql immutable parallel safe as $$
    select E'\\u0001-\\u002F\\u003A-\\u0040\\u005B-\\u0060\\u007B-\\u00A9\\u00AB-\\u00B4\\u00B6-\\u00B9\\u00BB-\\u00BF'
        '\\u00D7\\u00F7\\u060C\\u061B\\u061F\\u0964\\u0965\\u115F\\u1160\\u119E\\u2000-\\u206F\\u20A0-\\u2BFF'
        '\\u2E00-\\u2E7F\\u3000-\\u3004\\u3008-\\u3020\\u3030-\\u303F\\u3099-\\u309C\\u30FB'
        '\\uFE00-\\uFE6F\\uFFF0-\\uFFFF\\U0001F000-\\U0001FAFF'
        '\\U000E0000-\\U000E0FFF'
$$;

-- The lexemes of a text, separated by blanks, one for each position; a dot is a position without a lexeme.
-- With p_joined, each run of syllables is paired with the next one: x_y, or x~y when x is a run by itself.
-- Cut off after 16,000 characters: a tsvector has not more positions.
create or replace function sugang.search_lexemes(p_text text, p_joined boolean) returns text
language plpgsql immutable strict parallel safe as $$
declare
    t text := left(sugang.search_fold(p_text), 16000);
begin
    -- Blanks around each run of digits or letters, and one blank for all else that separates.
    t := regexp_replace(t, '[0-9]+|[^0-9' || sugang.search_syllables() || sugang.search_separators() || ']+',
                        E' \\& ', 'g');
    t := btrim(regexp_replace(t, '[' || sugang.search_separators() || ']+', ' ', 'g'));
    -- ab cde f g: ab. cde. f g
    t := regexp_replace(t, '[' || sugang.search_syllables() || ']{2,}', E'\\&.', 'g');
    if p_joined then
        -- ab_cde_f~g
        t := regexp_replace(t, E'\\. (?=[' || sugang.search_syllables() || '])', '_', 'g');
        t := regexp_replace(t, '(?<=[' || sugang.search_syllables() || ']) (?=[' || sugang.search_syllables() || '])',
                            '~', 'g');
    end if;
    -- ab b_c cd de e_f f~g g, or ab. cd de. f g
    t := regexp_replace(t, '(?<=[_~' || sugang.search_syllables() || '])[' || sugang.search_syllables() || '](?=[_~'
                           || sugang.search_syllables() || '])|(?<=[_~])[' || sugang.search_syllables() || ']',
                        E'\\& \\&', 'g');
    return replace(t, '.', ' .');
end $$;

-- The lexemes of a title and a description, with the weights A and B. No phrase reaches from one into the other.
create or replace function sugang.search_vector(p_title text, p_description text) returns tsvector
language plpgsql immutable parallel safe as $$
declare
    title text := coalesce(sugang.search_lexemes(p_title, true), '');
    title_length integer := length(title) - length(replace(title, ' ', '')) + 1;
    lexemes text := concat_ws(' . ', title, sugang.search_lexemes(p_description, false));
begin
    return (select coalesce(string_agg(left(lexeme, 64) || case when n > title_length then ':' || n || 'B'
                                       else ':' || n || 'A' end, ' '), '')
            from string_to_table(lexemes, ' ') with ordinality l (lexeme, n) where lexeme not in ('', '.'))::tsvector;
end $$;

-- What the Django service searches: the words of an item, those of the title before those of the description. Of a
-- description, as much as fits into a tsvector whatever its words are: a byte of it may need two there.
create or replace function sugang.item_words(p_title text, p_description text) returns tsvector
language sql immutable parallel safe as $$
    select setweight(to_tsvector('simple', coalesce(p_title, '')), 'A')
        || setweight(to_tsvector('simple', left(coalesce(p_description, ''), 120000)), 'B')
$$;

-- The query for one word or quoted phrase, in the syntax of a tsquery; null when it has nothing to look for.
--
-- Its runs stand side by side. Parts of a run of syllables match; the last run of letters or digits is a beginning,
-- unless quoted; a single syllable alone is a run of its own. A run of four syllables or more also matches across the
-- runs of a title, unless quoted.
create or replace function sugang.search_term(p_term text, p_quoted boolean) returns text
language plpgsql immutable strict parallel safe as $$
declare
    runs text[] := array(select m[1] from regexp_matches(p_term,
        '[' || sugang.search_syllables() || ']+|[0-9]+|[^0-9' || sugang.search_syllables()
            || sugang.search_separators() || ']+', 'g') m);
    run text;
    term text;
    steps integer := 0; -- positions since the last lexeme
begin
    for i in 1..cardinality(runs) loop
        run := runs[i];
        if run !~ ('^[' || sugang.search_syllables() || ']') then
            run := '''' || left(run, 64) || case when i = cardinality(runs) and not p_quoted then ''':*' else '''' end;
            term := concat_ws(' <' || steps || '> ', term, run);
            steps := 1;
        elsif length(run) = 1 then
            -- Behind another run, it is the beginning of its own.
            run := case when i = cardinality(runs) and i > 1 and not p_quoted then '''' || run || ''':*'
                        else '(''' || run || ''' | ''' || run || '~'':*)' end;
            term := concat_ws(' <' || steps || '> ', term, run);
            steps := 1;
        else
            for j in 1..length(run) - 1 loop
                term := concat_ws(' <' || steps || '> ', term,
                    case when p_quoted or length(run) < 4 then '''' || substr(run, j, 2) || ''''
                         else format('(''%1$s%2$s'' | ''%1$s_%2$s'' | ''%1$s~%2$s'')', substr(run, j, 1),
                                     substr(run, j + 1, 1)) end);
                steps := 1;
            end loop;
            steps := 2;
        end if;
    end loop;
    return '(' || term || ')';
end $$;

-- A search as websearch_to_tsquery reads it: words are and-ed; "phrase", or, -not. PostgreSQL reads a text in which a
-- name stands for each word and phrase, and the names are replaced by what they stand for.
create or replace function sugang.search_query(p_search text) returns tsquery
language plpgsql immutable strict parallel safe as $$
declare
    terms text[] := array[]::text[];
    names text := '';
    term text;
    word record;
begin
    for word in select m[1] as dashes, m[2] as phrase, m[3] as plain
            from regexp_matches(translate(sugang.search_fold(p_search), '“”„‟«»!&|()', '""""""     '),
                                E'(-*)(?:"([^"]*)"?|([^\\s"]+))', 'g') m loop
        if word.plain = 'or' and word.dashes = '' then
            names := names || ' or';
        elsif word.plain ~ '^-+$' then
            names := names || ' ' || word.plain;
        else
            term := sugang.search_term(coalesce(word.phrase, word.plain), word.phrase is not null);
            if term is not null then terms := terms || term; end if;
            -- What has nothing to look for is a word that PostgreSQL ignores.
            names := names || ' ' || word.dashes || case when term is null then '+' else 'w' || cardinality(terms) end;
        end if;
    end loop;
    -- In the text of a tsquery, every second part is between quotes.
    return (select coalesce(string_agg(case when n % 2 = 1 then part when part = 'or' then '''or'':*'
                                       else terms[substr(part, 2)::integer] end, '' order by n), '')
            from string_to_table(websearch_to_tsquery('simple', names)::text, '''') with ordinality p (part, n))::tsquery;
end $$;

-- ===== seats (course)

-- One kind: the seats of its items. Triggers keep registration_count, whichever program writes the registrations, and
-- write the history of the registrations while the rows of the items are locked: the log has the order of the seats.
--
-- A statement locks the items that it changes in the order of their ids, so two statements never deadlock on them.

-- What a function of the API has written, a row at a time, which is faster. It moves no registration.
create or replace function sugang.course_registration_written() returns trigger language plpgsql as $$
declare
    h sugang.audit_log;
begin
    h.actor_id := sugang.actor();
    if h.actor_id is null or sugang.recounts() or tg_op = 'UPDATE' and new.history_entries = old.history_entries then
        return null;
    end if;
    h.seats := case when new.status = 'cancelled' then 0 else 1 end;
    if tg_op = 'UPDATE' then
        h.seats := h.seats - case when old.status = 'cancelled' then 0 else 1 end;
        h.hash := sugang.hash_of_entry('course', new.id, old.history_entries);
    end if;
    if h.seats <> 0 then
        update courses
            set registration_count = registration_count + h.seats, seats_taken = seats_taken + greatest(h.seats, 0)
            where id = new.course_id;
    end if;
    h.at := clock_timestamp();
    h.request_id := sugang.request();
    h.state := sugang.registration_state(new.id, new.user_id, new.course_id, new.status, new.enrolled_at,
                                         new.completed_at, new.cancelled_at);
    h.hash := sugang.entry_hash(h.hash, h.state, new.history_entries, h.at, 'course', new.id, 'course', new.course_id,
                                new.user_id, new.status, 0, h.seats, h.actor_id, h.request_id);
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry,
         state, hash)
        values (h.at, 'course', new.id, 'course', new.course_id, new.user_id, new.status, 0, h.seats, h.actor_id,
                h.request_id, new.history_entries, h.state, h.hash);
    return null;
end $$;
create or replace trigger sugang_registration_written after insert or update on course_registrations
    for each row execute function sugang.course_registration_written();

create or replace function sugang.course_registrations_inserted() returns trigger language plpgsql as $$
declare
    item record;
    happened_at timestamptz;
begin
    if sugang.actor() is not null then return null; end if;
    for item in select course_id as id, count(*)::integer as seats from added where status <> 'cancelled'
            group by 1 order by 1 loop
        update courses
            set registration_count = registration_count + item.seats, seats_taken = seats_taken + item.seats
            where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
        select happened_at, 'course', id, 'course', course_id, user_id, status, 0, i.seats, 1, i.state,
               sugang.entry_hash(null, i.state, 1, happened_at, 'course', id, 'course', course_id, user_id, status, 0,
                                 i.seats, null, null)
        from added
        cross join lateral (
            select case when status = 'cancelled' then 0 else 1 end as seats,
                   sugang.registration_state(id, user_id, course_id, status, enrolled_at, completed_at,
                                             cancelled_at) as state offset 0) i
        order by id;
    -- Copies of other rows, as from a backup.
    if exists (select from added where history_entries <> 1) then
        perform set_config('sugang.recount', 'on', true);
        update course_registrations r set history_entries = 1 from added a where r.id = a.id;
        perform set_config('sugang.recount', '', true);
    end if;
    update payments p set registration_id = a.id, registration_time = a.enrolled_at
        from added a
        where a.status <> 'cancelled' and p.user_id = a.user_id and p.object_id = a.course_id
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
          and p.status = 'paid' and p.registration_id is null;
    return null;
end $$;
create or replace trigger sugang_registrations_inserted after insert on course_registrations
    referencing new table as added
    for each statement execute function sugang.course_registrations_inserted();

create or replace function sugang.course_registrations_updated() returns trigger language plpgsql as $$
declare
    item record;
    happened_at timestamptz;
begin
    if sugang.actor() is not null or sugang.recounts() then return null; end if;
    for item in select c.id, sum(c.seats)::integer as seats, sum(c.takes)::integer as takes from (
                select n.course_id as id, 1 as seats, case when o.status <> 'cancelled' then 0 else 1 end as takes
                from added n left join removed o on (o.id, o.user_id, o.course_id) = (n.id, n.user_id, n.course_id)
                where n.status <> 'cancelled'
                union all
                select course_id, -1, 0 from removed where status <> 'cancelled') c
            group by 1 having sum(c.seats) <> 0 or sum(c.takes) <> 0 order by 1 loop
        update courses
            set registration_count = registration_count + item.seats, seats_taken = seats_taken + item.takes
            where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    -- A row that comes to another user or item is a removal and an addition.
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, hash)
        select happened_at, 'course', o.id, 'course', o.course_id, o.user_id, i.status, 0, i.seats,
               o.history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('course', o.id, o.history_entries), null,
                                 o.history_entries + 1, happened_at, 'course', o.id, 'course', o.course_id,
                                 o.user_id, i.status, 0, i.seats, null, null)
        from removed o left join added n on n.id = o.id
        cross join lateral (
            select case when n.id is null then 'deleted' else 'moved' end as status,
                   case when o.status = 'cancelled' then 0 else -1 end as seats) i
        where (o.user_id, o.course_id) is distinct from (n.user_id, n.course_id)
        order by o.id;
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
        select happened_at, 'course', n.id, 'course', n.course_id, n.user_id, n.status, 0, i.seats, n.history_entries,
               i.state,
               sugang.entry_hash(sugang.hash_of_entry('course', n.id, n.history_entries - 1), i.state,
                                 n.history_entries, happened_at, 'course', n.id, 'course', n.course_id, n.user_id,
                                 n.status, 0, i.seats, null, null)
        from added n left join removed o on (o.id, o.user_id, o.course_id) = (n.id, n.user_id, n.course_id)
        cross join lateral (
            select case when n.status = 'cancelled' then 0 else 1 end
                   - case when o.status <> 'cancelled' then 1 else 0 end as seats,
                   sugang.registration_state(n.id, n.user_id, n.course_id, n.status, n.enrolled_at,
                                             n.completed_at, n.cancelled_at) as state offset 0) i
        where n.history_entries is distinct from o.history_entries
        order by n.id;
    update payments p set registration_id = null
        from removed o join added n on n.id = o.id
        where (n.user_id, n.course_id) <> (o.user_id, o.course_id)
          and p.user_id = o.user_id and p.registration_id = o.id
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course');
    update payments p set registration_id = a.id, registration_time = a.enrolled_at
        from added a
        where a.status <> 'cancelled' and p.user_id = a.user_id and p.object_id = a.course_id
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
          and p.status = 'paid' and p.registration_id is null;
    return null;
end $$;
create or replace trigger sugang_registrations_updated after update on course_registrations
    referencing old table as removed new table as added
    for each statement execute function sugang.course_registrations_updated();

create or replace function sugang.course_registrations_deleted() returns trigger language plpgsql as $$
declare
    item record;
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz;
begin
    for item in select course_id as id, count(*)::integer as seats from removed where status <> 'cancelled'
            group by 1 order by 1 loop
        update courses set registration_count = registration_count - item.seats where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry, hash)
        select happened_at, 'course', id, 'course', course_id, user_id, 'deleted', 0, i.seats, actor, request,
               history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('course', id, history_entries), null, history_entries + 1,
                                 happened_at, 'course', id, 'course', course_id, user_id, 'deleted', 0, i.seats,
                                 actor, request)
        from removed
        cross join lateral (select case when status = 'cancelled' then 0 else -1 end as seats) i
        order by id;
    return null;
end $$;
create or replace trigger sugang_registrations_deleted after delete on course_registrations
    referencing old table as removed
    for each statement execute function sugang.course_registrations_deleted();

-- Before the rows are gone.
create or replace function sugang.course_registrations_truncated() returns trigger language plpgsql as $$
declare
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz := clock_timestamp();
begin
    update courses set registration_count = 0 where registration_count <> 0;
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry, hash)
        select happened_at, 'course', id, 'course', course_id, user_id, 'deleted', 0, i.seats, actor, request,
               history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('course', id, history_entries), null, history_entries + 1,
                                 happened_at, 'course', id, 'course', course_id, user_id, 'deleted', 0, i.seats,
                                 actor, request)
        from course_registrations
        cross join lateral (select case when status = 'cancelled' then 0 else -1 end as seats) i
        order by id;
    update payments set registration_id = null
        where registration_id is not null
          and content_type_id = (select content_type_id from sugang.kinds where kind = 'course');
    return null;
end $$;
create or replace trigger sugang_registrations_truncated before truncate on course_registrations
    for each statement execute function sugang.course_registrations_truncated();

-- The times follow the status, for a program that changes the status alone; and the entries of the registration in the
-- audit log are counted. The functions of the API count by themselves, which is faster.
create or replace function sugang.follow_course_registration() returns trigger language plpgsql as $$
begin
    if (new.status = 'completed') <> (new.completed_at is not null)
       or (new.status = 'cancelled') <> (new.cancelled_at is not null) then
        new.completed_at := case when new.status = 'completed' then coalesce(new.completed_at, clock_timestamp()) end;
        new.cancelled_at := case when new.status = 'cancelled' then coalesce(new.cancelled_at, clock_timestamp()) end;
    end if;
    if tg_op = 'INSERT' or new.history_entries = old.history_entries + 1 and new.status <> old.status
       or sugang.recounts() then
        return new;
    end if;
    new.history_entries := case
        when new.id <> old.id then 1
        when (new.user_id, new.course_id) <> (old.user_id, old.course_id) then old.history_entries + 2
        when (new.status, new.enrolled_at, new.completed_at, new.cancelled_at)
            is distinct from (old.status, old.enrolled_at, old.completed_at, old.cancelled_at)
            then old.history_entries + 1
        else old.history_entries
    end;
    return new;
end $$;
-- As on payments, in audit_log.sql.
create or replace trigger sugang_z_follow before insert or update on course_registrations
    for each row execute function sugang.follow_course_registration();

-- Whether this transaction has registered the user of an order that holds a seat of this item. The order gives its seat
-- up afterwards, since the row of the item is locked last.
create or replace function sugang.course_hold_is_taken(p_id bigint) returns boolean language sql stable as $$
    select exists (
        select from sugang.orders o
        join course_registrations r on r.user_id = o.user_id and r.course_id = o.item_id and r.status <> 'cancelled'
        where o.id = nullif(current_setting('sugang.taken_hold', true), '')::bigint
          and o.kind = 'course' and o.item_id = p_id and o.is_live)
$$;

-- Guards the counts of an item, of registrations and of seats that orders hold: only triggers change them, and none
-- takes a seat that the capacity does not have. The Django service counts for itself, and writes back what it read
-- before; both are ignored.
create or replace function sugang.guard_course_seats() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.id = old.id then
        if new.registration_count = old.registration_count and new.held_count = old.held_count
           or pg_trigger_depth() > 1 and new.registration_count >= 0 and new.held_count >= 0
              and (new.registration_count + new.held_count < old.registration_count + old.held_count
                   or new.registration_count + new.held_count <= coalesce(new.capacity, 2147483647)
                   or new.registration_count = old.registration_count + 1 and new.held_count = old.held_count
                      and sugang.course_hold_is_taken(new.id)) then
            return new;
        elsif pg_trigger_depth() = 1 and not sugang.recounts() then
            new.registration_count := old.registration_count;
            new.held_count := old.held_count;
            return new;
        elsif new.registration_count >= 0 and new.held_count >= 0 and not sugang.recounts() then
            raise check_violation using
                message = format('course %s has no seat left', new.id), table = 'courses',
                constraint = 'courses_capacity_kept', hint = 'Raise its capacity first.';
        end if;
    end if;
    new.registration_count :=
        (select count(*) from course_registrations where course_id = new.id and status <> 'cancelled');
    new.held_count := (select count(*) from sugang.orders where kind = 'course' and item_id = new.id and is_live);
    -- The history knows the seats under the id of before.
    if tg_op = 'UPDATE' and new.id <> old.id then new.seats_taken := 0; end if;
    return new;
end $$;
-- Without a condition, as on payments.
create or replace trigger sugang_seats before update of id, registration_count, held_count on courses
    for each row execute function sugang.guard_course_seats();
create or replace trigger sugang_seats_insert before insert on courses
    for each row when (new.registration_count <> 0 or new.held_count <> 0)
    execute function sugang.guard_course_seats();

-- Where foreign keys are deferred, registrations may be written before their item. A join in another order would read
-- a whole table for one row.
create or replace function sugang.course_items_inserted() returns trigger language plpgsql
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update courses i set registration_count = r.n
        from added a cross join lateral (
            select count(*) as n from course_registrations where course_id = a.id and status <> 'cancelled') r
        where i.id = a.id and r.n <> a.registration_count;
    return null;
end $$;
create or replace trigger sugang_items_inserted after insert on courses
    referencing new table as added
    for each statement execute function sugang.course_items_inserted();

create or replace trigger sugang_capacity_changed before update of capacity on courses
    for each row when (new.capacity is distinct from old.capacity)
    execute function sugang.note_capacity_change();

-- Cancels the active registrations of these users for these items that no active payment pays for any more.
create or replace function sugang.release_course_seats(p_users bigint[], p_items bigint[]) returns void
language plpgsql as $$
begin
    with unpaid as (
        select r.id from unnest(p_users, p_items) u (user_id, item_id)
        join course_registrations r on r.user_id = u.user_id and r.course_id = u.item_id
        where r.status = 'enrolled' and not exists (
            select from payments p
            where p.user_id = r.user_id and p.object_id = r.course_id and p.status = 'paid'
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course'))
        order by r.id for update of r)
    update course_registrations r set status = 'cancelled', cancelled_at = clock_timestamp()
        from unpaid where r.id = unpaid.id;
end $$;

create or replace function sugang.course_payments_truncated() returns trigger language plpgsql as $$
begin
    perform sugang.release_course_seats(array_agg(user_id), array_agg(course_id))
        from course_registrations where status = 'enrolled' having count(*) > 0;
    return null;
end $$;
create or replace trigger sugang_course_payments_truncated after truncate on payments
    for each statement execute function sugang.course_payments_truncated();

-- ===== seats (test)

-- One kind: the seats of its items. Triggers keep registration_count, whichever program writes the registrations, and
-- write the history of the registrations while the rows of the items are locked: the log has the order of the seats.
--
-- A statement locks the items that it changes in the order of their ids, so two statements never deadlock on them.

-- What a function of the API has written, a row at a time, which is faster. It moves no registration.
create or replace function sugang.test_registration_written() returns trigger language plpgsql as $$
declare
    h sugang.audit_log;
begin
    h.actor_id := sugang.actor();
    if h.actor_id is null or sugang.recounts() or tg_op = 'UPDATE' and new.history_entries = old.history_entries then
        return null;
    end if;
    h.seats := case when new.status = 'cancelled' then 0 else 1 end;
    if tg_op = 'UPDATE' then
        h.seats := h.seats - case when old.status = 'cancelled' then 0 else 1 end;
        h.hash := sugang.hash_of_entry('test', new.id, old.history_entries);
    end if;
    if h.seats <> 0 then
        update tests
            set registration_count = registration_count + h.seats, seats_taken = seats_taken + greatest(h.seats, 0)
            where id = new.test_id;
    end if;
    h.at := clock_timestamp();
    h.request_id := sugang.request();
    h.state := sugang.registration_state(new.id, new.user_id, new.test_id, new.status, new.applied_at,
                                         new.completed_at, new.cancelled_at);
    h.hash := sugang.entry_hash(h.hash, h.state, new.history_entries, h.at, 'test', new.id, 'test', new.test_id,
                                new.user_id, new.status, 0, h.seats, h.actor_id, h.request_id);
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry,
         state, hash)
        values (h.at, 'test', new.id, 'test', new.test_id, new.user_id, new.status, 0, h.seats, h.actor_id,
                h.request_id, new.history_entries, h.state, h.hash);
    return null;
end $$;
create or replace trigger sugang_registration_written after insert or update on test_registrations
    for each row execute function sugang.test_registration_written();

create or replace function sugang.test_registrations_inserted() returns trigger language plpgsql as $$
declare
    item record;
    happened_at timestamptz;
begin
    if sugang.actor() is not null then return null; end if;
    for item in select test_id as id, count(*)::integer as seats from added where status <> 'cancelled'
            group by 1 order by 1 loop
        update tests
            set registration_count = registration_count + item.seats, seats_taken = seats_taken + item.seats
            where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
        select happened_at, 'test', id, 'test', test_id, user_id, status, 0, i.seats, 1, i.state,
               sugang.entry_hash(null, i.state, 1, happened_at, 'test', id, 'test', test_id, user_id, status, 0,
                                 i.seats, null, null)
        from added
        cross join lateral (
            select case when status = 'cancelled' then 0 else 1 end as seats,
                   sugang.registration_state(id, user_id, test_id, status, applied_at, completed_at,
                                             cancelled_at) as state offset 0) i
        order by id;
    -- Copies of other rows, as from a backup.
    if exists (select from added where history_entries <> 1) then
        perform set_config('sugang.recount', 'on', true);
        update test_registrations r set history_entries = 1 from added a where r.id = a.id;
        perform set_config('sugang.recount', '', true);
    end if;
    update payments p set registration_id = a.id, registration_time = a.applied_at
        from added a
        where a.status <> 'cancelled' and p.user_id = a.user_id and p.object_id = a.test_id
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
          and p.status = 'paid' and p.registration_id is null;
    return null;
end $$;
create or replace trigger sugang_registrations_inserted after insert on test_registrations
    referencing new table as added
    for each statement execute function sugang.test_registrations_inserted();

create or replace function sugang.test_registrations_updated() returns trigger language plpgsql as $$
declare
    item record;
    happened_at timestamptz;
begin
    if sugang.actor() is not null or sugang.recounts() then return null; end if;
    for item in select c.id, sum(c.seats)::integer as seats, sum(c.takes)::integer as takes from (
                select n.test_id as id, 1 as seats, case when o.status <> 'cancelled' then 0 else 1 end as takes
                from added n left join removed o on (o.id, o.user_id, o.test_id) = (n.id, n.user_id, n.test_id)
                where n.status <> 'cancelled'
                union all
                select test_id, -1, 0 from removed where status <> 'cancelled') c
            group by 1 having sum(c.seats) <> 0 or sum(c.takes) <> 0 order by 1 loop
        update tests
            set registration_count = registration_count + item.seats, seats_taken = seats_taken + item.takes
            where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    -- A row that comes to another user or item is a removal and an addition.
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, hash)
        select happened_at, 'test', o.id, 'test', o.test_id, o.user_id, i.status, 0, i.seats,
               o.history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('test', o.id, o.history_entries), null,
                                 o.history_entries + 1, happened_at, 'test', o.id, 'test', o.test_id,
                                 o.user_id, i.status, 0, i.seats, null, null)
        from removed o left join added n on n.id = o.id
        cross join lateral (
            select case when n.id is null then 'deleted' else 'moved' end as status,
                   case when o.status = 'cancelled' then 0 else -1 end as seats) i
        where (o.user_id, o.test_id) is distinct from (n.user_id, n.test_id)
        order by o.id;
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
        select happened_at, 'test', n.id, 'test', n.test_id, n.user_id, n.status, 0, i.seats, n.history_entries,
               i.state,
               sugang.entry_hash(sugang.hash_of_entry('test', n.id, n.history_entries - 1), i.state,
                                 n.history_entries, happened_at, 'test', n.id, 'test', n.test_id, n.user_id,
                                 n.status, 0, i.seats, null, null)
        from added n left join removed o on (o.id, o.user_id, o.test_id) = (n.id, n.user_id, n.test_id)
        cross join lateral (
            select case when n.status = 'cancelled' then 0 else 1 end
                   - case when o.status <> 'cancelled' then 1 else 0 end as seats,
                   sugang.registration_state(n.id, n.user_id, n.test_id, n.status, n.applied_at,
                                             n.completed_at, n.cancelled_at) as state offset 0) i
        where n.history_entries is distinct from o.history_entries
        order by n.id;
    update payments p set registration_id = null
        from removed o join added n on n.id = o.id
        where (n.user_id, n.test_id) <> (o.user_id, o.test_id)
          and p.user_id = o.user_id and p.registration_id = o.id
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test');
    update payments p set registration_id = a.id, registration_time = a.applied_at
        from added a
        where a.status <> 'cancelled' and p.user_id = a.user_id and p.object_id = a.test_id
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
          and p.status = 'paid' and p.registration_id is null;
    return null;
end $$;
create or replace trigger sugang_registrations_updated after update on test_registrations
    referencing old table as removed new table as added
    for each statement execute function sugang.test_registrations_updated();

create or replace function sugang.test_registrations_deleted() returns trigger language plpgsql as $$
declare
    item record;
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz;
begin
    for item in select test_id as id, count(*)::integer as seats from removed where status <> 'cancelled'
            group by 1 order by 1 loop
        update tests set registration_count = registration_count - item.seats where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry, hash)
        select happened_at, 'test', id, 'test', test_id, user_id, 'deleted', 0, i.seats, actor, request,
               history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('test', id, history_entries), null, history_entries + 1,
                                 happened_at, 'test', id, 'test', test_id, user_id, 'deleted', 0, i.seats,
                                 actor, request)
        from removed
        cross join lateral (select case when status = 'cancelled' then 0 else -1 end as seats) i
        order by id;
    return null;
end $$;
create or replace trigger sugang_registrations_deleted after delete on test_registrations
    referencing old table as removed
    for each statement execute function sugang.test_registrations_deleted();

-- Before the rows are gone.
create or replace function sugang.test_registrations_truncated() returns trigger language plpgsql as $$
declare
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz := clock_timestamp();
begin
    update tests set registration_count = 0 where registration_count <> 0;
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry, hash)
        select happened_at, 'test', id, 'test', test_id, user_id, 'deleted', 0, i.seats, actor, request,
               history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('test', id, history_entries), null, history_entries + 1,
                                 happened_at, 'test', id, 'test', test_id, user_id, 'deleted', 0, i.seats,
                                 actor, request)
        from test_registrations
        cross join lateral (select case when status = 'cancelled' then 0 else -1 end as seats) i
        order by id;
    update payments set registration_id = null
        where registration_id is not null
          and content_type_id = (select content_type_id from sugang.kinds where kind = 'test');
    return null;
end $$;
create or replace trigger sugang_registrations_truncated before truncate on test_registrations
    for each statement execute function sugang.test_registrations_truncated();

-- The times follow the status, for a program that changes the status alone; and the entries of the registration in the
-- audit log are counted. The functions of the API count by themselves, which is faster.
create or replace function sugang.follow_test_registration() returns trigger language plpgsql as $$
begin
    if (new.status = 'completed') <> (new.completed_at is not null)
       or (new.status = 'cancelled') <> (new.cancelled_at is not null) then
        new.completed_at := case when new.status = 'completed' then coalesce(new.completed_at, clock_timestamp()) end;
        new.cancelled_at := case when new.status = 'cancelled' then coalesce(new.cancelled_at, clock_timestamp()) end;
    end if;
    if tg_op = 'INSERT' or new.history_entries = old.history_entries + 1 and new.status <> old.status
       or sugang.recounts() then
        return new;
    end if;
    new.history_entries := case
        when new.id <> old.id then 1
        when (new.user_id, new.test_id) <> (old.user_id, old.test_id) then old.history_entries + 2
        when (new.status, new.applied_at, new.completed_at, new.cancelled_at)
            is distinct from (old.status, old.applied_at, old.completed_at, old.cancelled_at)
            then old.history_entries + 1
        else old.history_entries
    end;
    return new;
end $$;
-- As on payments, in audit_log.sql.
create or replace trigger sugang_z_follow before insert or update on test_registrations
    for each row execute function sugang.follow_test_registration();

-- Whether this transaction has registered the user of an order that holds a seat of this item. The order gives its seat
-- up afterwards, since the row of the item is locked last.
create or replace function sugang.test_hold_is_taken(p_id bigint) returns boolean language sql stable as $$
    select exists (
        select from sugang.orders o
        join test_registrations r on r.user_id = o.user_id and r.test_id = o.item_id and r.status <> 'cancelled'
        where o.id = nullif(current_setting('sugang.taken_hold', true), '')::bigint
          and o.kind = 'test' and o.item_id = p_id and o.is_live)
$$;

-- Guards the counts of an item, of registrations and of seats that orders hold: only triggers change them, and none
-- takes a seat that the capacity does not have. The Django service counts for itself, and writes back what it read
-- before; both are ignored.
create or replace function sugang.guard_test_seats() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.id = old.id then
        if new.registration_count = old.registration_count and new.held_count = old.held_count
           or pg_trigger_depth() > 1 and new.registration_count >= 0 and new.held_count >= 0
              and (new.registration_count + new.held_count < old.registration_count + old.held_count
                   or new.registration_count + new.held_count <= coalesce(new.capacity, 2147483647)
                   or new.registration_count = old.registration_count + 1 and new.held_count = old.held_count
                      and sugang.test_hold_is_taken(new.id)) then
            return new;
        elsif pg_trigger_depth() = 1 and not sugang.recounts() then
            new.registration_count := old.registration_count;
            new.held_count := old.held_count;
            return new;
        elsif new.registration_count >= 0 and new.held_count >= 0 and not sugang.recounts() then
            raise check_violation using
                message = format('test %s has no seat left', new.id), table = 'tests',
                constraint = 'tests_capacity_kept', hint = 'Raise its capacity first.';
        end if;
    end if;
    new.registration_count :=
        (select count(*) from test_registrations where test_id = new.id and status <> 'cancelled');
    new.held_count := (select count(*) from sugang.orders where kind = 'test' and item_id = new.id and is_live);
    -- The history knows the seats under the id of before.
    if tg_op = 'UPDATE' and new.id <> old.id then new.seats_taken := 0; end if;
    return new;
end $$;
-- Without a condition, as on payments.
create or replace trigger sugang_seats before update of id, registration_count, held_count on tests
    for each row execute function sugang.guard_test_seats();
create or replace trigger sugang_seats_insert before insert on tests
    for each row when (new.registration_count <> 0 or new.held_count <> 0)
    execute function sugang.guard_test_seats();

-- Where foreign keys are deferred, registrations may be written before their item. A join in another order would read
-- a whole table for one row.
create or replace function sugang.test_items_inserted() returns trigger language plpgsql
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update tests i set registration_count = r.n
        from added a cross join lateral (
            select count(*) as n from test_registrations where test_id = a.id and status <> 'cancelled') r
        where i.id = a.id and r.n <> a.registration_count;
    return null;
end $$;
create or replace trigger sugang_items_inserted after insert on tests
    referencing new table as added
    for each statement execute function sugang.test_items_inserted();

create or replace trigger sugang_capacity_changed before update of capacity on tests
    for each row when (new.capacity is distinct from old.capacity)
    execute function sugang.note_capacity_change();

-- Cancels the active registrations of these users for these items that no active payment pays for any more.
create or replace function sugang.release_test_seats(p_users bigint[], p_items bigint[]) returns void
language plpgsql as $$
begin
    with unpaid as (
        select r.id from unnest(p_users, p_items) u (user_id, item_id)
        join test_registrations r on r.user_id = u.user_id and r.test_id = u.item_id
        where r.status = 'applied' and not exists (
            select from payments p
            where p.user_id = r.user_id and p.object_id = r.test_id and p.status = 'paid'
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test'))
        order by r.id for update of r)
    update test_registrations r set status = 'cancelled', cancelled_at = clock_timestamp()
        from unpaid where r.id = unpaid.id;
end $$;

create or replace function sugang.test_payments_truncated() returns trigger language plpgsql as $$
begin
    perform sugang.release_test_seats(array_agg(user_id), array_agg(test_id))
        from test_registrations where status = 'applied' having count(*) > 0;
    return null;
end $$;
create or replace trigger sugang_test_payments_truncated after truncate on payments
    for each statement execute function sugang.test_payments_truncated();

-- ===== seats_left

-- How many seats are neither registered nor held by an order; null for no limit. A capacity that was lowered below what
-- is taken leaves none. PostgreSQL inlines it.
create or replace function sugang.seats_left(p_capacity integer, p_registered integer, p_held integer) returns integer
language sql immutable parallel safe as $$
    select p_capacity - least(p_registered + p_held, p_capacity)
$$;

-- ===== sequences

-- Sequences that lag behind the ids of their tables, as after a restore.

-- The sequence that numbers the ids of a table, null if there is none: that of their default, even if it belongs to
-- another column or stands in another schema, else that of the identity. Names tell nothing: Django and this service
-- name it differently.
create or replace function sugang.id_sequence(p_table regclass) returns regclass language sql stable as $$
    select coalesce(
        (select s.oid::regclass
         from pg_attribute a
         join pg_attrdef f on (f.adrelid, f.adnum) = (a.attrelid, a.attnum)
         join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
             and d.refclassid = 'pg_class'::regclass
         join pg_class s on s.oid = d.refobjid and s.relkind = 'S'
         where a.attrelid = p_table and a.attname = 'id' and not a.attisdropped
         order by s.oid limit 1),
        pg_get_serial_sequence(p_table::text, 'id')::regclass)
$$;

-- Moves the sequence of an id on to the highest id.
create or replace function sugang.advance_sequence(p_table regclass) returns void language plpgsql as $$
declare
    sequence regclass := sugang.id_sequence(p_table);
    highest bigint;
begin
    execute format('select max(id) from %s', p_table) into highest;
    if highest > coalesce(pg_sequence_last_value(sequence), 0) then perform setval(sequence, highest); end if;
end $$;

-- Moves all sequences on. The lock serializes the sessions that find one behind, so none moves a sequence back.
-- It works as its owner: with a right of its own, the role that serves requests could move a sequence back.
create or replace function sugang.advance_sequences(p_function text) returns sugang.function_row
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    kind text;
    numbered regclass;
begin
    if p_function is distinct from 'advance_sequences' then
        perform sugang.misrouted(p_function, 'advance_sequences');
    end if;
    perform pg_advisory_xact_lock(hashtextextended('sugang.advance_sequences', 0));
    perform sugang.advance_sequence('users'), sugang.advance_sequence('payments');
    -- A table that is added to the schema needs no line here.
    for numbered in select pg_class.oid::regclass from pg_class join pg_attribute on attrelid = pg_class.oid
            where relnamespace = 'sugang'::regnamespace and relkind = 'r' and attname = 'id' and attidentity <> '' loop
        perform sugang.advance_sequence(numbered);
    end loop;
    for kind in select k.kind from sugang.kinds k loop
        execute format('select sugang.%I()', 'advance_' || kind || '_sequences');
    end loop;
    return row('ok', null, null, null, null, null)::sugang.function_row;
end $$;

-- ===== sequences_of_kind (course)

-- One kind: the sequences of its tables.
create or replace function sugang.advance_course_sequences() returns void language sql as $$
    select sugang.advance_sequence('courses'), sugang.advance_sequence('course_registrations')
$$;

-- ===== sequences_of_kind (test)

-- One kind: the sequences of its tables.
create or replace function sugang.advance_test_sequences() returns void language sql as $$
    select sugang.advance_sequence('tests'), sugang.advance_sequence('test_registrations')
$$;

-- ===== shown_refunds

-- What gateways show as given back: by us, or in their own consoles. A look-up after a refund was sent, before it is
-- sent, because of an event, and once a day all note it by the same function.

-- What a gateway had given back of money before the rest of it was set aside: our books have none of that.
create or replace function sugang.given_back_before(t sugang.payment_attempts) returns numeric
language sql immutable as $$
    select case when t.status = 'surplus' then coalesce((t.facts ->> 'given_back')::numeric, 0) else 0 end
$$;

-- What a gateway has left of a payment, by what it shows as given back.
create or replace function sugang.left_at_gateway(p_payment bigint, p_shown jsonb) returns numeric
language sql stable as $$
    select captured + sugang.given_back_before(t) - coalesce((
        select sum((x ->> 'amount')::numeric) from jsonb_array_elements(p_shown) x where x ->> 'state' <> 'failed'), 0)
    from sugang.payment_attempts t where payment_id = p_payment
$$;

-- Books in again what a gateway had given back, and now shows as failed: the user's bank has returned the money. If the
-- payment has ended, it is owed again, and a person decides how it is given back.
create or replace function sugang.take_refund_back(r sugang.refunds) returns void language sql as $$
    update sugang.refunds set status = 'refused', code = 'FAILED' where payment_id = r.payment_id and id = r.id
$$;

-- Notes what the gateway shows as given back of a payment: [{"id", "amount", "key", "state"}]. Ours is recognized by
-- the key that was sent along. A gateway that returns no such key (null) is believed by the amount, if it has not shown
-- that before ours was sent; so is a refund that a person has made at the gateway's console ("") in place of one that
-- was owed and not sent, unless it may have been there before the rest was owed. What else was given back there becomes
-- a refund of its own, which changes nothing but the books: a person decides about the rest. Each takes effect once, by
-- its id; and once more if it fails after it was done. Returns what is still to be known of refund p_refund: `pending`,
-- `failed`; else null.
create or replace function sugang.note_refunds(p_payment bigint, p_refund bigint, p_shown jsonb) returns text
language plpgsql as $$
declare
    s record;
    r sugang.refunds;
    p payments;
    own_state text;
    by_user bigint := sugang.actor();
    before constant numeric := (select coalesce(sum(sugang.given_back_before(t)), 0)
                                from sugang.payment_attempts t where payment_id = p_payment);
    shown constant numeric := (select coalesce(sum((x ->> 'amount')::numeric), 0)
                               from jsonb_array_elements(p_shown) x where x ->> 'state' = 'done');
begin
    for s in select x ->> 'id' as id, (x ->> 'amount')::numeric(10, 2) as amount, x ->> 'key' as key,
                    x ->> 'state' as state
             from jsonb_array_elements(p_shown) x loop
        update sugang.refunds set gateway_id = s.id
            where payment_id = p_payment and reference = s.id and gateway_id is null;
        select * into r from sugang.refunds where payment_id = p_payment and gateway_id = s.id;
        if r.id is not null then
            if s.state = 'failed' and sugang.is_given_back(r.status) then perform sugang.take_refund_back(r); end if;
            continue;
        end if;
        select * into r from sugang.refunds
            where payment_id = p_payment and status in ('requested', 'sent')
              and (idempotency_key = s.key
                   or amount = s.amount
                      and (s.key is null and status = 'sent' and tries > 0
                           -- What was given back before is no answer to this one.
                           and (before = 0 or shown >= before + refunds.amount + (
                               select coalesce(sum(n.amount), 0) from sugang.refunds n
                               where n.payment_id = p_payment and n.gateway_id is not null
                                 and sugang.is_given_back(n.status)))
                           or coalesce(s.key, '') = '' and status = 'requested' and before = 0))
            order by status desc, id limit 1 for update;
        if s.state <> 'done' then
            if r.id = p_refund then own_state := s.state; end if;
            continue;
        end if;
        select * into p from payments where id = p_payment;
        if r.id is not null then
            update sugang.refunds set status = 'done', gateway_id = s.id, due_at = null, account = null, code = null
                where payment_id = p_payment and id = r.id;
            if r.cancels_payment and p.status = 'paid' then
                perform sugang.end_payment(p, r.reason, r.keeps_registration);
            end if;
        elsif p.status = 'paid' and p.partly_refunded < p.amount then
            -- Not by the user for whom the rest is done.
            perform set_config('sugang.actor', '', true);
            insert into sugang.refunds (payment_id, amount, status, gateway_id)
                values (p_payment, least(s.amount, p.amount - p.partly_refunded), 'external', s.id);
            perform set_config('sugang.actor', coalesce(by_user::text, ''), true);
        end if;
    end loop;
    return own_state;
end $$;

-- ===== sweep

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

-- ===== time

-- The times of the API: ISO 8601 in UTC, from year 1 to year 9999. PostgreSQL also knows times before and after, and
-- 'infinity' and '-infinity'. Rows keep them, comparisons and orders follow them, and the API shows the first or the
-- last time that it can write: what never ends is shown to end at 9999-12-31T23:59:59.999999Z.

create or replace function sugang.readable_time(timestamptz) returns timestamptz
language sql immutable parallel safe as $$
    select case when $1 < '0001-01-01 00:00:00+00' then '0001-01-01 00:00:00+00'
                when $1 > '9999-12-31 23:59:59.999999+00' then '9999-12-31 23:59:59.999999+00'
                else $1 end
$$;

-- A time as the Django service writes it, with microseconds only where they are not zero.
create or replace function sugang.iso(timestamptz) returns text language sql stable parallel safe as $$
    select replace(to_char(sugang.readable_time($1) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '')
        || 'Z'
$$;

-- When a day (YYYY-MM-DD) begins and when the next one does. The first and the last day have no such bound, so that
-- they contain all times that are shown as theirs.
create or replace function sugang.day_begin(p_day text) returns timestamptz language sql stable parallel safe as $$
    select (nullif(p_day, '0001-01-01') || ' 00:00:00+00')::timestamptz
$$;
create or replace function sugang.day_end(p_day text) returns timestamptz language sql stable parallel safe as $$
    select (nullif(p_day, '9999-12-31') || ' 00:00:00+00')::timestamptz + interval '24 hours'
$$;

-- ===== tokens

-- Refresh tokens: use, rotation and logout.

-- The moment until which a revocation is kept: no token that it concerns is valid longer. p_expires: when the token
-- that was sent expires, in seconds since 1970; p_keep_seconds: the lifetime of tokens that are issued now. The day on
-- top is for clocks that disagree.
create or replace function sugang.revoked_until(p_expires bigint, p_keep_seconds bigint) returns timestamptz
language sql stable as $$
    -- A token may be valid beyond all times that PostgreSQL knows.
    select greatest(to_timestamp(least(p_expires, 253402300800)), now() + make_interval(secs => p_keep_seconds)) + interval '1 day'
$$;

-- Deletes a few rows that no token can outlive, so no scheduled job is needed.
create or replace function sugang.prune_revoked_tokens() returns void language sql as $$
    delete from sugang.revoked_tokens where ctid = any (array(
        select ctid from sugang.revoked_tokens
        where expires_at < (select sugang.steady_now()) order by expires_at limit 10 for update skip locked));
$$;

-- Revokes a family until its last token has expired: the token that was sent, those that rotation has used, and their
-- successors.
create or replace function sugang.revoke_family(p_family text, p_user bigint, p_expires bigint, p_keep_seconds bigint)
returns void language plpgsql as $$
declare
    last_expires bigint;
    last_kept timestamptz;
begin
    perform sugang.prune_revoked_tokens();
    select max(successor_expires_at), max(expires_at) into last_expires, last_kept
        from sugang.revoked_tokens where family = p_family;
    insert into sugang.revoked_tokens as t (name, user_id, expires_at)
        values ('family ' || p_family, p_user,
                greatest(sugang.revoked_until(greatest(p_expires, last_expires), p_keep_seconds), last_kept))
        on conflict (name) do update set expires_at = greatest(t.expires_at, excluded.expires_at);
end $$;

-- Uses a refresh token. With rotation each token is used once, and p_successor replaces it. Within the grace, the same
-- token gets the same successor again: two tabs refresh at the same moment, and an answer can be lost. After it, a
-- token that is used again means that it or its successor was stolen; the two cases cannot be told apart, so the whole
-- family is revoked, also when rotation has been turned off since. The clock of this database measures the grace.
create or replace function sugang.refresh(p_function text, p_user bigint, p_jti text, p_family text,
                                          p_expires bigint, p_keep_seconds bigint, p_rotate boolean,
                                          p_grace_seconds bigint, p_successor text, p_issued_at bigint,
                                          p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    used sugang.revoked_tokens;
    since_use double precision;
begin
    if p_function is distinct from 'refresh' then perform sugang.misrouted(p_function, 'refresh'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome = 'login_ended'
        or a.outcome is null and exists (select from sugang.revoked_tokens where name = 'family ' || p_family) then
        a.outcome := 'token_ended';
    end if;
    if a.outcome is not null then return a; end if;
    if p_rotate then
        perform sugang.prune_revoked_tokens();
        insert into sugang.revoked_tokens (name, user_id, expires_at, used_at, family, successor, successor_issued_at,
                                           successor_expires_at)
            values ('token ' || p_jti, p_user, sugang.revoked_until(p_expires, p_keep_seconds), clock_timestamp(),
                    p_family, p_successor, p_issued_at, p_issued_at + p_keep_seconds)
            on conflict do nothing returning * into used;
    end if;
    if used.name is null then
        select * into used from sugang.revoked_tokens where name = 'token ' || p_jti;
        -- In seconds, because no interval leads to infinity.
        since_use := date_part('epoch', clock_timestamp()) - date_part('epoch', used.used_at);
        -- The same successor: this call was sent before, and its answer was lost. A clock that was set back by more
        -- than the grace ends it.
        if found and (used.successor = p_successor
                      or abs(since_use) < p_grace_seconds) is not true then
            perform sugang.revoke_family(p_family, p_user, p_expires, p_keep_seconds);
            a.outcome := 'token_reused';
            return a;
        end if;
    end if;
    a.outcome := 'ok';
    select json_build_object('id', id, 'email', email, 'username', username, 'jti', used.successor,
                             'issued_at', used.successor_issued_at, 'expires_at', used.successor_expires_at)::text
        into a.body from users where id = p_user;
    return a;
end $$;

create or replace function sugang.logout(p_function text, p_user bigint, p_family text, p_expires bigint,
                                         p_keep_seconds bigint, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'logout' then perform sugang.misrouted(p_function, 'logout'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is null then perform sugang.revoke_family(p_family, p_user, p_expires, p_keep_seconds); end if;
    -- It has ended, which is what was asked for.
    if coalesce(a.outcome, 'login_ended') = 'login_ended' then a.outcome := 'ok'; end if;
    return a;
end $$;

-- Ends all logins of a user: the tokens that were issued before. The trigger makes the new epoch the time.
create or replace function sugang.logout_all(p_function text, p_user bigint, p_epoch bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'logout_all' then perform sugang.misrouted(p_function, 'logout_all'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    -- Once, of concurrent calls: the second one would end a login that came between them.
    update users set token_epoch = coalesce(token_epoch, 0) + 1
        where id = p_user and (token_epoch > p_epoch) is not true;
    a.outcome := 'ok';
    return a;
end $$;

-- ===== webhooks

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

-- ===== audit_checks

-- The checks of migrations/audit/.
create or replace function sugang.audit_checks()
returns table (number bigint, name text, kind text, advice text, query text) language sql immutable as $$
values
(1::bigint, 'second_account', null::text,
'Decide which of these users remains, and rename or delete the other. Then create the missing unique index again.',
$query$
select string_agg(id::text, '+' order by id) from users group by sugang.email_key(email) having count(*) > 1
union all
select string_agg(id::text, '+' order by id) from users group by sugang.username_key(username) having count(*) > 1
$query$),
(2::bigint, 'idempotency_key_without_user', null::text,
'Delete the key, and create the foreign key of sugang.idempotency_keys again.',
$query$
select user_id || ' ' || key from sugang.idempotency_keys k
where not exists (select from users u where u.id = k.user_id)
$query$),
(3::bigint, 'kept_response', null::text,
'A repetition of this request would get the wrong response. Delete the key.',
$query$
with kept as (
    select k.user_id, k.key, k.created_at,
           substring(k.body from '"payment_id" ?: ?(\d{1,18})')::bigint as payment_id,
           substring(k.body from '"registration_id" ?: ?(\d{1,18})')::bigint as registration_id,
           substring(k.body from '^{"id" ?: ?(\d{1,18})')::bigint as subject_id,
           substring(k.body from '^{"registration" ?: ?{"id" ?: ?(\d{1,18})')::bigint as managed_id,
           substring(k.body from '^{"count" ?: ?\d+, ?"ids" ?: ?(\[[\d,]+\])')::jsonb as created_ids,
           substring(k.body from '"version" ?: ?"(\w+)"') as version,
           case when k.body ~ '"item_type" ?:'
                then substring(k.body from '"id" ?: ?(\d{1,18})')::bigint end as order_id,
           k.body is null as is_deletion,
           substring(k.body from '"refund_id" ?: ?(\d{1,18})')::bigint as refund_id,
           substring(k.body from '"cancelled_at" ?: ?"([^"]+)"') as cancelled_at,
           substring(k.body from '"amount" ?: ?"(\d{1,12}(?:\.\d+)?)"')::numeric as amount
    from sugang.idempotency_keys k where k.outcome in ('ok', 'accepted', 'held_before')
), written as (
    -- What a request wrote within the minute before its response was kept.
    select k.key, h.* from kept k
    join sugang.audit_log h
        on (h.actor_id, h.user_id) = (k.user_id, k.user_id)
        and h.at between k.created_at - interval '1 minute' and k.created_at
)
select k.user_id || ' ' || k.key from kept k
where case
    -- Items of a file, or copies of one.
    when k.created_ids is not null then exists (
        select from jsonb_array_elements_text(k.created_ids) created (item_id)
        where not exists (
            select from sugang.change_log c
            where c.subject in (select kind from sugang.kinds)
              and (c.subject_id, c.action, c.actor_id) = (item_id::bigint, 'created', k.user_id)
              and c.at between k.created_at - interval '1 minute' and k.created_at))
    -- An order of the user, or one that an operator works on.
    when k.order_id is not null then not exists (
        select from sugang.audit_log h
        where (h.subject, h.subject_id) = ('order', k.order_id) and h.at <= k.created_at)
    -- An operator's change of a registration.
    when k.managed_id is not null then not exists (
        select from sugang.audit_log h join sugang.kinds i on i.kind = h.subject
        where (h.subject_id, h.actor_id) = (k.managed_id, k.user_id)
          and h.at between k.created_at - interval '1 minute' and k.created_at)
    -- An operator's: the history has the change. What changed nothing names a version that is there, or was, or a user.
    when k.payment_id is null then not exists (
        select from sugang.change_log c
        where c.actor_id = k.user_id and c.at between k.created_at - interval '1 minute' and k.created_at
          and (c.subject_id = k.subject_id or is_deletion and c.action = 'deleted'))
        and not sugang.is_version(k.subject_id, k.version)
        and not exists (select from sugang.change_log c where c.subject_id = k.subject_id and c.at > k.created_at)
        and (k.version is not null or not exists (select from users u where u.id = k.subject_id))
    -- A refund. Nothing is booked where nothing was paid.
    when k.registration_id is null and k.amount is not null then k.amount > 0 and not exists (
        select from sugang.ledger l
        where (l.source, l.source_id, l.payment_id, l.amount, l.actor_id)
            = ('refund', k.refund_id, k.payment_id, k.amount, k.user_id))
        -- It was not given back yet, or another operator has noted that it was paid out.
        and not exists (
            select from sugang.refunds r
            where (r.id, r.payment_id, r.amount) = (k.refund_id, k.payment_id, k.amount)
              and (r.status in ('requested', 'sent') or r.reference is not null))
    -- A cancellation.
    when k.registration_id is null then not exists (
        select from written w
        where (w.user_id, w.key, w.subject, w.subject_id, w.status)
            = (k.user_id, k.key, 'payment', k.payment_id, 'cancelled'))
        or k.cancelled_at <> (select sugang.iso(p.cancelled_at) from payments p
                              where p.id = k.payment_id and p.history_entries = 2)
    -- The payment may be older than the registration, but not where the request wrote another one.
    else not exists (
        select from written w
        join sugang.audit_log p on p.subject = 'payment' and p.subject_id = k.payment_id
            and (p.user_id, p.item_kind, p.item_id) = (w.user_id, w.item_kind, w.item_id) and p.status = 'paid'
        where (w.user_id, w.key, w.subject_id) = (k.user_id, k.key, k.registration_id)
          and w.subject = w.item_kind and w.seats > 0
          and (p.request_id = w.request_id
               or not exists (select from sugang.audit_log o
                              where o.subject = 'payment' and o.entry = 1 and o.request_id = w.request_id
                                and o.user_id = w.user_id)))
        or k.amount <> (select p.amount from payments p where p.id = k.payment_id and p.history_entries = 1) end
$query$),
(4::bigint, 'approval_without_outcome', null::text,
'The order has ended while a gateway was asked, and nothing tells what has become of the money. Look the attempt''s reference up in the gateway''s console, and give back what was taken.',
$query$
with ended as (
    select distinct h.subject_id as id
    from sugang.audit_log h join sugang.audit_log n on (n.subject, n.subject_id) = (h.subject, h.subject_id)
    where h.subject = 'order' and h.status = 'approving' and n.entry = h.entry + 1
      and n.status in ('expired', 'cancelled')
)
select e.id::text from ended e
cross join lateral (
    select status, code, facts from sugang.payment_attempts where order_id = e.id order by id desc limit 1) t
where case t.status
    when 'declined' then t.code is null
    when 'void' then (t.facts ? 'taken_back') is not true
    else t.status in ('open', 'sent', 'waiting')
end
$query$),
(5::bigint, 'attempt_was_changed', null::text,
'Compare the attempt with the gateway''s console and a backup. With a wrong gateway or key, its money is neither looked up nor given back.',
$query$
select t.id::text from sugang.payment_attempts t
join sugang.orders o on o.id = t.order_id
left join payments p on p.id = t.payment_id
where t.gateway <> o.gateway and t.code is distinct from 'deposit_taken_back'
      and not exists (select from sugang.payment_attempts n where n.order_id = t.order_id and n.id > t.id)
   or t.payment_id is not null
      and ((t.gateway = 'manual') <> coalesce(t.facts ? 'confirmed_by', false)
           or t.gateway in ('toss', 'kakaopay', 'stripe') and t.gateway_key <> t.facts ->> 'external_id'
           or p.history_entries <= case when t.status = 'captured' and p.status <> 'paid' then 2 else 1 end
              and p.external_transaction_id is distinct from sugang.stored_external_id(
                  coalesce(t.facts ->> 'external_id', t.gateway_key, t.reference)
                  || coalesce('#' || (1 + jsonb_array_length(t.facts -> 'taken_back'))::text, '')))
$query$),
(6::bigint, 'bucket_counts', 'course',
'select sugang.recount_course(); counts again.',
$query$
with edges as (
    select 'created' as edge, created_at as at from courses where not hidden
    union all
    select 'start', start_at from courses where not hidden and start_at <= end_at
    union all
    select 'end', end_at from courses where not hidden and start_at <= end_at
), hours as (
    select edge, date_trunc('hour', sugang.readable_time(at), 'UTC') as bucket, count(*) as n from edges group by 1, 2
), counted as (
    select edge, level, date_trunc(level, bucket, 'UTC') as bucket, sum(n) as n
    from hours cross join (values ('month'), ('day'), ('hour')) l (level) group by 1, 2, 3
), kept as (
    select edge, level, bucket, sum(n) as n from (
        select edge, level, bucket, n from sugang.bucket_counts where kind = 'course'
        union all
        -- What is still to be added to them.
        select edge, level, date_trunc(level, bucket, 'UTC'), n from sugang.bucket_changes
        cross join (values ('month'), ('day'), ('hour')) l (level) where kind = 'course' and edge <> 'any') k
    group by 1, 2, 3
)
select concat_ws('/', edge, level, bucket) from counted full join kept using (edge, level, bucket)
where coalesce(counted.n, 0) <> coalesce(kept.n, 0)
$query$),
(7::bigint, 'bucket_counts', 'test',
'select sugang.recount_test(); counts again.',
$query$
with edges as (
    select 'created' as edge, created_at as at from tests where not hidden
    union all
    select 'start', start_at from tests where not hidden and start_at <= end_at
    union all
    select 'end', end_at from tests where not hidden and start_at <= end_at
), hours as (
    select edge, date_trunc('hour', sugang.readable_time(at), 'UTC') as bucket, count(*) as n from edges group by 1, 2
), counted as (
    select edge, level, date_trunc(level, bucket, 'UTC') as bucket, sum(n) as n
    from hours cross join (values ('month'), ('day'), ('hour')) l (level) group by 1, 2, 3
), kept as (
    select edge, level, bucket, sum(n) as n from (
        select edge, level, bucket, n from sugang.bucket_counts where kind = 'test'
        union all
        -- What is still to be added to them.
        select edge, level, date_trunc(level, bucket, 'UTC'), n from sugang.bucket_changes
        cross join (values ('month'), ('day'), ('hour')) l (level) where kind = 'test' and edge <> 'any') k
    group by 1, 2, 3
)
select concat_ws('/', edge, level, bucket) from counted full join kept using (edge, level, bucket)
where coalesce(counted.n, 0) <> coalesce(kept.n, 0)
$query$),
(8::bigint, 'available_count', 'course',
'update sugang.available_counts set valid_from = ''infinity''; the next request counts again.',
$query$
select kind from sugang.available_counts
where kind = 'course' and valid_from <= now() and now() < valid_until
  and not exists (select from sugang.bucket_changes where kind = 'course')
  and n <> (select count(*) from courses where not hidden and start_at <= now() and end_at >= now())
$query$),
(9::bigint, 'available_count', 'test',
'update sugang.available_counts set valid_from = ''infinity''; the next request counts again.',
$query$
select kind from sugang.available_counts
where kind = 'test' and valid_from <= now() and now() < valid_until
  and not exists (select from sugang.bucket_changes where kind = 'test')
  and n <> (select count(*) from tests where not hidden and start_at <= now() and end_at >= now())
$query$),
(10::bigint, 'search_count', 'course',
'delete from sugang.search_counts; the next searches count again.',
$query$
with latest as materialized (
    select c as known, c.*, greatest(c.as_of, now()) as until from sugang.search_counts c
    where kind = 'course' and table_oid = tableoid and words is not null
      and counted_at > clock_timestamp() - sugang.search_count_lifetime()
    order by counted_at desc limit 20
)
select concat_ws(' ', l.words, case when l.available then '(available)' end) from latest l
cross join lateral (select (sugang.course_adjust_search_count(l.known, l.words, l.until)).n) a
where a.n <> (select count(*) from sugang.course_search s join courses i on i.id = s.item_id
              where s.search_vector @@ l.words
                and (l.next_item_id is null
                    or (s.created_at, s.item_id) < (l.next_created_at, l.next_item_id))
                and (not l.available or (i.start_at <= l.until and i.end_at >= l.until)))
$query$),
(11::bigint, 'search_count', 'test',
'delete from sugang.search_counts; the next searches count again.',
$query$
with latest as materialized (
    select c as known, c.*, greatest(c.as_of, now()) as until from sugang.search_counts c
    where kind = 'test' and table_oid = tableoid and words is not null
      and counted_at > clock_timestamp() - sugang.search_count_lifetime()
    order by counted_at desc limit 20
)
select concat_ws(' ', l.words, case when l.available then '(available)' end) from latest l
cross join lateral (select (sugang.test_adjust_search_count(l.known, l.words, l.until)).n) a
where a.n <> (select count(*) from sugang.test_search s join tests i on i.id = s.item_id
              where s.search_vector @@ l.words
                and (l.next_item_id is null
                    or (s.created_at, s.item_id) < (l.next_created_at, l.next_item_id))
                and (not l.available or (i.start_at <= l.until and i.end_at >= l.until)))
$query$),
(12::bigint, 'search_bitmap', 'course',
'delete from sugang.search_bitmap_sets; the sweep makes them again.',
$query$
with in_use as materialized (
    select words, greatest(as_of, now()) as until from sugang.search_bitmaps_in_use('course')
), counted as materialized (
    select a.available, w.words, until, sugang.course_count_in_bitmaps(a.available, w.words) as known
    from in_use cross join lateral unnest(words[1:3]) w (words) cross join (values (false), (true)) a (available)
)
select concat_ws(' ', c.words, case when c.available then '(available)' end) from counted c
cross join lateral (select (sugang.course_adjust_search_count(c.known, c.words, c.until)).n) a
where a.n <> (select count(*) from sugang.course_search s join courses i on i.id = s.item_id
              where s.search_vector @@ c.words
                and (not c.available or (i.start_at <= c.until and i.end_at >= c.until)))
$query$),
(13::bigint, 'search_bitmap', 'test',
'delete from sugang.search_bitmap_sets; the sweep makes them again.',
$query$
with in_use as materialized (
    select words, greatest(as_of, now()) as until from sugang.search_bitmaps_in_use('test')
), counted as materialized (
    select a.available, w.words, until, sugang.test_count_in_bitmaps(a.available, w.words) as known
    from in_use cross join lateral unnest(words[1:3]) w (words) cross join (values (false), (true)) a (available)
)
select concat_ws(' ', c.words, case when c.available then '(available)' end) from counted c
cross join lateral (select (sugang.test_adjust_search_count(c.known, c.words, c.until)).n) a
where a.n <> (select count(*) from sugang.test_search s join tests i on i.id = s.item_id
              where s.search_vector @@ c.words
                and (not c.available or (i.start_at <= c.until and i.end_at >= c.until)))
$query$),
(14::bigint, 'refund_waits_for_a_person', null::text,
'The gateway has refused to give back what is owed, or needs an account (select code from sugang.refunds where id = <id>). Refund the payment once more, with an account if that is asked for; or pay it out, and note the refund of the order.',
$query$
select id::text from sugang.refunds where status = 'requested' and code is not null
$query$),
(15::bigint, 'second_refund_under_way', null::text,
'Compare both with the gateway''s books. Then create the missing unique index again.',
$query$
select string_agg(id::text, '+' order by id) from sugang.refunds
where status = 'sent' group by payment_id having count(*) > 1
$query$),
(16::bigint, 'refund_without_key', null::text,
'It was sent with a key that is not known any more. Compare it with the gateway''s books before anything is sent again.',
$query$
select r.id::text from sugang.refunds r
where r.status = 'sent' and r.idempotency_key is null
  and exists (select from sugang.payment_attempts t where t.payment_id = r.payment_id and sugang.gives_back(t.gateway))
$query$),
(17::bigint, 'refund_left_alone', null::text,
'The sweep does not look after it: update sugang.refunds set due_at = now() where id = <id>; the look-up before it is sent finds what was given back.',
$query$
select r.id::text from sugang.refunds r
where (r.status = 'sent' or r.status = 'requested' and r.code is null)
  and (r.due_at is null or r.due_at > clock_timestamp() + interval '1 day')
  and exists (select from sugang.payment_attempts t where t.payment_id = r.payment_id and sugang.gives_back(t.gateway))
$query$),
(18::bigint, 'refund_without_evidence', null::text,
'Our books say that it was given back, and not by whom. Look for it in the gateway''s console, and put its id there, or that of the transfer, into sugang.refunds.reference. If the user has not got it, pay it out first.',
$query$
select r.id::text from sugang.refunds r
where r.status in ('done', 'external') and r.gateway_id is null and r.reference is null
  and r.requested_at > (select max(applied_at) from sugang.migrations where script = 'V41__gateway_refunds')
  and exists (select from sugang.payment_attempts t
              where t.payment_id = r.payment_id and (r.ends_payment or sugang.gives_back(t.gateway)))
$query$),
(19::bigint, 'refund_long_under_way', null::text,
'For half a day nothing has told what has become of it. Is the gateway still configured, with a key that it accepts? Look the payment up in the gateway''s console.',
$query$
select id::text from sugang.refunds where status = 'sent' and requested_at < clock_timestamp() - interval '12 hours'
$query$),
(20::bigint, 'gateway_refund_twice', null::text,
'One refund of the gateway was booked twice. Compare with its books, and correct the other.',
$query$
select string_agg(id::text, '+' order by id) from sugang.refunds
where gateway_id is not null group by payment_id, gateway_id having count(*) > 1
$query$),
(21::bigint, 'gateway_books', null::text,
'The gateway has given back more than the books have of this payment, or less (select facts -> ''difference'' from sugang.payment_attempts where payment_id = <id>). Compare each refund with the gateway''s console. Put the gateway''s id of one that it has made into sugang.refunds.reference; then update sugang.payment_attempts set reconcile_at = now() where payment_id = <id>, and the sweep compares again.',
$query$
select payment_id::text from sugang.payment_attempts where payment_id is not null and facts ? 'difference'
$query$),
(22::bigint, 'guards', null::text,
'Run `update sugang.migrations set hash = '''' where script = ''functions''` and then `migrate` for functions and triggers. Create the others again as in migrations/expanded/schema.sql.',
$query$
with recorded as (
    select * from sugang.schema_definitions where kind <> 'server'
), there as (
    select * from sugang.current_definitions()
), comparable as (
    select count(*) > 0 as definitions from sugang.schema_definitions
    where kind = 'server' and definition = sugang.server_major()
)
select concat_ws(' ', r.kind, r.name, 'on ' || nullif(r.relation, ''),
                 case when c.name is null then 'is missing' else 'is not what it was' end)
from recorded r
left join there c using (kind, relation, name)
cross join comparable
where c.name is null
   or c.definition like 'disabled%' or c.definition like 'on replicas%' or c.definition like '% invalid'
   or definitions and c.definition <> r.definition
      and c.definition || ' NOT VALID' <> r.definition and r.definition <> 'not validated'
union all
select concat_ws(' ', 'trigger', c.name, 'on', c.relation, 'is unknown')
from there c left join recorded r using (kind, relation, name)
where c.kind = 'trigger' and c.relation like 'sugang.%' and r.name is null
union all
select concat_ws(' ', o.kind, o.name, 'was not recorded') from sugang.schema_objects o
where o.kind in ('function', 'trigger', 'constraint', 'index')
  and not exists (select from recorded r where (r.kind, r.relation, r.name) = (o.kind, o.relation, o.name))
union all
select concat_ws(' ', 'table', inhrelid::regclass, 'adds rows to', inhparent::regclass)
from pg_inherits join sugang.guarded_tables() g on g.relation = inhparent
where not (select relkind = 'p' from pg_class where oid = inhparent)
union all
select concat_ws(' ', setting, 'is set for', coalesce((select rolname from pg_roles where oid = setrole), 'every role'))
from pg_db_role_setting cross join unnest(setconfig) setting
where setdatabase in (0, (select oid from pg_database where datname = current_database()))
  and setting like 'session\_replication\_role=%' and setting not like '%=origin'
$query$),
(23::bigint, 'audit_log_rights', null::text,
'revoke update, delete, truncate, trigger on sugang.audit_log, sugang.audit_seals, sugang.change_log, sugang.ledger from <role>;',
$query$
select concat_ws(' ', coalesce(quote_ident(rolname), 'public'), 'may', lower(privilege_type), relation)
from unnest(array['sugang.audit_log', 'sugang.audit_seals', 'sugang.change_log', 'sugang.ledger']) relation
join pg_class c on c.oid = relation::regclass
cross join lateral aclexplode(c.relacl) a
left join pg_roles on pg_roles.oid = a.grantee
where privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
  and a.grantee <> c.relowner and not coalesce(rolsuper, false)
$query$),
(24::bigint, 'audit_log_of_payment', null::text,
'Compare the payment with its history (select * from sugang.audit_log where subject = ''payment'' and subject_id = <id> order by id) and with a backup. Set it to what is right, with the triggers on. If what an import without triggers has written is right: select sugang.log_unlogged_payments();',
$query$
with sums as (
    select subject_id as id, sum(amount) as amount, sum(seats) as seats, max(id) as last_id,
           max(entry) - min(entry) + 1 as entries, min(entry) as first, count(entry) as n,
           count(*) filter (where entry = 1) as begun,
           count(*) filter (where entry is not null and status = 'deleted') as deleted
    from sugang.audit_log where subject = 'payment' group by 1
)
select concat(coalesce(p.id, s.id), ' ', r.reason)
from payments p
full join sums s on s.id = p.id
left join sugang.audit_log l on l.id = s.last_id
left join sugang.kinds k on k.content_type_id = p.content_type_id
cross join lateral (select case
    when s.id is null then 'has no history'
    when p.id is null and (l.status, s.amount) <> ('deleted', 0) then 'is gone'
    when s.n <> s.entries and s.deleted = 0
         or s.first = 1 and s.begun - s.deleted <> case when p.id is null then 0 else 1 end
        then 'lacks a part of its history'
    when p.id is null then null
    when s.amount <> case when p.status = 'paid' then p.amount else 0 end then 'amount'
    when l.status <> p.status then 'status'
    when l.user_id <> p.user_id then 'user'
    when (l.item_kind, l.item_id) <> (coalesce(k.kind, p.payment_type), p.object_id) then 'item'
    when (l.entry is distinct from p.history_entries) then 'lacks a part of its history'
    when (l.state is distinct from sugang.payment_state(p)) then 'was changed without a trace'
end as reason) r
where r.reason is not null
$query$),
(25::bigint, 'audit_log_of_registration', 'course',
'Compare the registration with its history (select * from sugang.audit_log where subject = ''course'' and subject_id = <id> order by id) and with a backup. Set it to what is right, with the triggers on. If what an import without triggers has written is right: select sugang.log_unlogged_course_registrations();',
$query$
with sums as (
    select subject_id as id, sum(amount) as amount, sum(seats) as seats, max(id) as last_id,
           max(entry) - min(entry) + 1 as entries, min(entry) as first, count(entry) as n,
           count(*) filter (where entry = 1) as begun,
           count(*) filter (where entry is not null and status = 'deleted') as deleted
    from sugang.audit_log where subject = 'course' group by 1
)
select concat(coalesce(r.id, s.id), ' ', w.reason)
from course_registrations r
full join sums s on s.id = r.id
left join sugang.audit_log l on l.id = s.last_id
cross join lateral (select case
    when s.id is null then 'has no history'
    when r.id is null and (l.status, s.seats) <> ('deleted', 0) then 'is gone'
    when s.n <> s.entries and s.deleted = 0
         or s.first = 1 and s.begun - s.deleted <> case when r.id is null then 0 else 1 end
        then 'lacks a part of its history'
    when r.id is null then null
    when s.seats <> case when r.status = 'cancelled' then 0 else 1 end or s.amount <> 0 then 'seats'
    when l.status <> r.status then 'status'
    when l.user_id <> r.user_id then 'user'
    when (l.item_kind, l.item_id) <> ('course', r.course_id) then 'item'
    when (l.entry is distinct from r.history_entries) then 'lacks a part of its history'
    when (l.state is distinct from sugang.registration_state(
        r.id, r.user_id, r.course_id, r.status, r.enrolled_at, r.completed_at, r.cancelled_at))
        then 'was changed without a trace'
end as reason) w
where w.reason is not null
$query$),
(26::bigint, 'audit_log_of_registration', 'test',
'Compare the registration with its history (select * from sugang.audit_log where subject = ''test'' and subject_id = <id> order by id) and with a backup. Set it to what is right, with the triggers on. If what an import without triggers has written is right: select sugang.log_unlogged_test_registrations();',
$query$
with sums as (
    select subject_id as id, sum(amount) as amount, sum(seats) as seats, max(id) as last_id,
           max(entry) - min(entry) + 1 as entries, min(entry) as first, count(entry) as n,
           count(*) filter (where entry = 1) as begun,
           count(*) filter (where entry is not null and status = 'deleted') as deleted
    from sugang.audit_log where subject = 'test' group by 1
)
select concat(coalesce(r.id, s.id), ' ', w.reason)
from test_registrations r
full join sums s on s.id = r.id
left join sugang.audit_log l on l.id = s.last_id
cross join lateral (select case
    when s.id is null then 'has no history'
    when r.id is null and (l.status, s.seats) <> ('deleted', 0) then 'is gone'
    when s.n <> s.entries and s.deleted = 0
         or s.first = 1 and s.begun - s.deleted <> case when r.id is null then 0 else 1 end
        then 'lacks a part of its history'
    when r.id is null then null
    when s.seats <> case when r.status = 'cancelled' then 0 else 1 end or s.amount <> 0 then 'seats'
    when l.status <> r.status then 'status'
    when l.user_id <> r.user_id then 'user'
    when (l.item_kind, l.item_id) <> ('test', r.test_id) then 'item'
    when (l.entry is distinct from r.history_entries) then 'lacks a part of its history'
    when (l.state is distinct from sugang.registration_state(
        r.id, r.user_id, r.test_id, r.status, r.applied_at, r.completed_at, r.cancelled_at))
        then 'was changed without a trace'
end as reason) w
where w.reason is not null
$query$),
(27::bigint, 'audit_log_of_item', 'course',
'Registrations of this item, or their history, were removed or written without the triggers. Look for them in a backup.',
$query$
select concat(coalesce(i.id, h.id),
              case when coalesce(i.registration_count, 0) = coalesce(h.seats, 0) then ' seats taken' end)
from courses i
full join (select item_id as id, sum(seats) as seats, count(*) filter (where seats > 0 and entry is not null) as takes
           from sugang.audit_log where subject = 'course' group by 1) h using (id)
where coalesce(i.registration_count, 0) <> coalesce(h.seats, 0) or i.seats_taken > coalesce(h.takes, 0)
$query$),
(28::bigint, 'audit_log_of_item', 'test',
'Registrations of this item, or their history, were removed or written without the triggers. Look for them in a backup.',
$query$
select concat(coalesce(i.id, h.id),
              case when coalesce(i.registration_count, 0) = coalesce(h.seats, 0) then ' seats taken' end)
from tests i
full join (select item_id as id, sum(seats) as seats, count(*) filter (where seats > 0 and entry is not null) as takes
           from sugang.audit_log where subject = 'test' group by 1) h using (id)
where coalesce(i.registration_count, 0) <> coalesce(h.seats, 0) or i.seats_taken > coalesce(h.takes, 0)
$query$),
(29::bigint, 'audit_log_chain', null::text,
'The history was changed by hand. Compare these rows (sugang.audit_log.id) with a backup.',
$query$
select h.id::text from sugang.audit_log h
where h.entry = 1
  and h.hash is distinct from sugang.entry_hash(null, h.state, h.entry, h.at, h.subject, h.subject_id, h.item_kind,
                                                h.item_id, h.user_id, h.status, h.amount, h.seats, h.actor_id,
                                                h.request_id)
union all
select h.id::text from sugang.audit_log h
where h.entry is distinct from 1 and h.entry is not null
  and not exists (
      select from sugang.audit_log b
      where (b.subject, b.subject_id, b.entry) = (h.subject, h.subject_id, h.entry - 1) and b.id < h.id
        and h.hash = sugang.entry_hash(b.hash, h.state, h.entry, h.at, h.subject, h.subject_id, h.item_kind, h.item_id,
                                       h.user_id, h.status, h.amount, h.seats, h.actor_id, h.request_id))
  -- A row that was imported without triggers begins with its first change.
  and h.hash is distinct from sugang.entry_hash(null, h.state, h.entry, h.at, h.subject, h.subject_id, h.item_kind,
                                                h.item_id, h.user_id, h.status, h.amount, h.seats, h.actor_id,
                                                h.request_id)
$query$),
(30::bigint, 'audit_log_seal', null::text,
'History from before it had chains was changed by hand. Compare these rows (sugang.audit_log.id) with a backup.',
$query$
select concat(s.first_id, '-', s.last_id) from sugang.audit_seals s
left join lateral (
    select count(*) as n,
           sha256(convert_to(string_agg(row(
               a.id, extract(epoch from a.at), a.subject, a.subject_id, a.item_kind, a.item_id, a.user_id, a.status,
               a.amount, a.seats, a.actor_id, a.request_id)::text, '' order by a.id), 'UTF8')) as digest
    from sugang.audit_log a where a.id between s.first_id and s.last_id and a.entry is null) a on true
where a.n <> s.n or a.digest is distinct from s.digest
union all
select a.id::text from sugang.audit_log a
where a.entry is null
  and not exists (select from sugang.audit_seals s
                  where s.first_id / 1000 = a.id / 1000 and a.id between s.first_id and s.last_id)
$query$),
(31::bigint, 'audit_log_of_order', null::text,
'Compare the order with its history (select * from sugang.audit_log where subject = ''order'' and subject_id = <id> order by id), its attempts and the gateway''s books. Set it to what is right, with the triggers on.',
$query$
with entries as (
    select subject_id as id, max(id) as last_id, min(entry) as first, max(entry) as last, count(*) as n
    from sugang.audit_log where subject = 'order' group by 1
)
select concat(coalesce(o.id, e.id), ' ', w.reason)
from sugang.orders o
full join entries e on e.id = o.id
left join sugang.audit_log l on l.id = e.last_id
cross join lateral (select case
    when e.id is null then 'has no history'
    when o.id is null and l.status <> 'deleted' then 'is gone'
    when (e.first, e.n) <> (1, e.last) then 'lacks a part of its history'
    when o.id is null then null
    when l.status <> o.status then 'status'
    when (l.user_id, l.item_kind, l.item_id) <> (o.user_id, o.kind, o.item_id) then 'user or item'
    when l.entry <> o.history_entries then 'lacks a part of its history'
    when (l.state is distinct from sugang.order_state(o)) then 'was changed without a trace'
end as reason) w
where w.reason is not null
$query$),
(32::bigint, 'registration_without_its_payment', 'course',
'The payment of this registration (the row of sugang.audit_log) and its history were removed. Compare with a backup and the gateway''s books.',
$query$
select h.id::text from sugang.audit_log h
where h.subject = 'course' and h.seats > 0 and h.actor_id is not null and h.entry is not null
  and not exists (select from sugang.audit_log p
                  where p.subject = 'payment' and p.request_id = h.request_id and p.user_id = h.user_id
                    and (p.item_kind, p.item_id) = (h.item_kind, h.item_id))
  and not exists (select from payments p
                  join sugang.audit_log l on l.subject = 'payment' and l.subject_id = p.id and l.id < h.id
                  where p.user_id = h.user_id and p.object_id = h.item_id and p.payment_type = 'course'
                    and l.status = 'paid')
$query$),
(33::bigint, 'registration_without_its_payment', 'test',
'The payment of this registration (the row of sugang.audit_log) and its history were removed. Compare with a backup and the gateway''s books.',
$query$
select h.id::text from sugang.audit_log h
where h.subject = 'test' and h.seats > 0 and h.actor_id is not null and h.entry is not null
  and not exists (select from sugang.audit_log p
                  where p.subject = 'payment' and p.request_id = h.request_id and p.user_id = h.user_id
                    and (p.item_kind, p.item_id) = (h.item_kind, h.item_id))
  and not exists (select from payments p
                  join sugang.audit_log l on l.subject = 'payment' and l.subject_id = p.id and l.id < h.id
                  where p.user_id = h.user_id and p.object_id = h.item_id and p.payment_type = 'test'
                    and l.status = 'paid')
$query$),
(34::bigint, 'payment_without_its_registration', 'course',
'The registration of this payment (the row of sugang.audit_log) and its history were removed. Compare with a backup.',
$query$
select p.id::text from sugang.audit_log p
where p.subject = 'payment' and p.entry = 1 and p.actor_id is not null and p.item_kind = 'course'
  -- Money that is set aside is cancelled from the start.
  and p.status = 'paid'
  and not exists (select from sugang.audit_log h
                  where h.subject = 'course' and h.seats > 0 and h.request_id = p.request_id
                    and (h.user_id, h.item_id) = (p.user_id, p.item_id))
$query$),
(35::bigint, 'payment_without_its_registration', 'test',
'The registration of this payment (the row of sugang.audit_log) and its history were removed. Compare with a backup.',
$query$
select p.id::text from sugang.audit_log p
where p.subject = 'payment' and p.entry = 1 and p.actor_id is not null and p.item_kind = 'test'
  -- Money that is set aside is cancelled from the start.
  and p.status = 'paid'
  and not exists (select from sugang.audit_log h
                  where h.subject = 'test' and h.seats > 0 and h.request_id = p.request_id
                    and (h.user_id, h.item_id) = (p.user_id, p.item_id))
$query$),
(36::bigint, 'refunded_beyond_payment', null::text,
'More was given back than was paid. Compare with the gateway''s books, and set what was not given back to `refused`.',
$query$
select p.id::text from payments p
join (select payment_id as id, sum(amount) as amount from sugang.refunds
      where status <> 'refused' group by 1) r using (id)
where r.amount > p.amount
$query$),
(37::bigint, 'refunds_of_payment', null::text,
'The payment and its refunds (select * from sugang.refunds where payment_id = <id>) disagree. Decide by the ledger and the gateway''s books what was given back, and correct the other.',
$query$
with refunded as (
    select payment_id as id, coalesce(sum(amount) filter (where not ends_payment), 0) as part, sum(amount) as amount
    from sugang.refunds where status <> 'refused' group by 1
)
select concat(p.id, ' ', w.reason)
from payments p left join refunded r using (id)
cross join lateral (select case
    when p.partly_refunded <> coalesce(r.part, 0) then 'partly refunded'
    when p.status = 'paid' and r.amount > r.part then 'is paid, and all was given back'
    when p.status <> 'paid' and coalesce(r.amount, 0) < p.amount then 'is not paid, and not all was given back'
    when p.refund_refused and not exists (select from sugang.refunds where payment_id = p.id and status = 'refused')
        then 'no refund was refused'
end as reason) w
where w.reason is not null
$query$),
(38::bigint, 'refund_of_no_payment', null::text,
'Restore the payment from a backup; the history has what it was.',
$query$
select r.id::text from sugang.refunds r
where not exists (select from payments p where p.id = r.payment_id)
  and not exists (select from sugang.audit_log h
                  where h.subject = 'payment' and h.subject_id = r.payment_id and h.status = 'deleted')
$query$),
(39::bigint, 'ledger_of_payment', null::text,
'Compare the payment with its history, its refunds and the gateway''s books. If what an import without triggers has written is right: select sugang.log_unlogged_payments();',
$query$
with movements as (
    select id, true as is_payment, amount as due, 0 as cash from payments
    union all
    select payment_id, false, -amount, 0 from sugang.refunds where status in ('done', 'external')
    union all
    select payment_id, false, 0, case 'cash' when debit then amount when credit then -amount else 0 end
    from sugang.ledger
)
select id::text from movements group by id
having sum(cash) <> case when bool_or(is_payment) then sum(due) else 0 end
$query$),
(40::bigint, 'ledger_of_refund', null::text,
'Compare the refund with the ledger (select * from sugang.ledger where source = ''refund'' and source_id = <id>) and the gateway''s books, and correct what is wrong.',
$query$
with booked as (
    select source_id as id, max(amount) filter (where step <> 'refused') as paid_out,
           sum(case 'cash' when credit then amount else -amount end) as amount, count(distinct amount) as amounts,
           bool_or(step = 'external') as is_external, min(at) as first_at, max(at) as last_at
    from sugang.ledger where source = 'refund' group by 1
)
select id::text
from sugang.refunds r full join booked b using (id)
where r.id is null
   or coalesce(b.amount, 0) <> case when r.status in ('done', 'external') then r.amount else 0 end
   or b.amounts > 1 or b.paid_out <> r.amount
   or b.is_external <> (r.status = 'external') and r.status in ('done', 'external')
$query$),
(41::bigint, 'ledger_time_of_refund', null::text,
'The figures of two days are wrong. Compare the time with the gateway''s books and with a backup.',
$query$
select concat_ws(' ', r.id, l.step)
from sugang.ledger l join sugang.refunds r on r.id = l.source_id
where l.source = 'refund'
  and (l.at < r.requested_at - interval '1 hour'
       or l.at > r.requested_at + interval '1 hour'
          and (l.at > clock_timestamp() + interval '1 hour'
               or l.step <> 'refused' and (l.step = 'external' or coalesce(r.gateway_id, r.reference) is null)))
$query$),
(42::bigint, 'ledger_reversal', null::text,
'The ledger says that a bank has taken a deposit back, and the attempt knows nothing of it. Compare with the gateway''s books.',
$query$
select l.source_id::text from sugang.ledger l join payments p on p.id = l.payment_id
where l.source = 'refund' and l.step = 'reversed' and p.refund_reason is distinct from 'the deposit was taken back'
  and not exists (select from sugang.payment_attempts t where t.facts -> 'taken_back' @> to_jsonb(l.payment_id))
$query$),
(43::bigint, 'ledger_entry', null::text,
'This movement has not the accounts of its step, or nothing has moved it at that time. Compare with a backup and the gateway''s books.',
$query$
select concat_ws(' ', source, source_id, step) from sugang.ledger
where (amount > 0
       and (source, step, debit, credit) in (('payment', 'captured', 'cash', 'sales'),
                                             ('refund', 'done', 'sales_returns', 'cash'),
                                             ('refund', 'external', 'sales_returns', 'cash'),
                                             ('refund', 'reversed', 'sales_returns', 'cash'),
                                             ('refund', 'refused', 'cash', 'sales_returns'),
                                             ('history', 'corrected', 'cash', 'sales'),
                                             ('history', 'corrected', 'sales', 'cash'))) is not true
union all
select concat_ws(' ', l.source, l.source_id, l.step) from sugang.ledger l
where l.source in ('payment', 'history')
  and not exists (select from sugang.audit_log h
                  where h.subject = 'payment' and h.subject_id = l.payment_id
                    and l.source_id = case l.source when 'payment' then h.subject_id else h.id end
                    and h.at between l.at - interval '1 hour' and l.at + interval '1 hour')
  and not exists (select from payments p where l.source = 'payment' and p.id = l.source_id and p.paid_at = l.at)
$query$),
(44::bigint, 'held_count', 'course',
'select sugang.recount_course(); counts again.',
$query$
select i.id::text from courses i
left join (select item_id as id, count(*) as n from sugang.orders
           where kind = 'course' and status in ('held', 'approving', 'awaiting_deposit') group by 1) o using (id)
where i.held_count <> coalesce(o.n, 0)
$query$),
(45::bigint, 'held_count', 'test',
'select sugang.recount_test(); counts again.',
$query$
select i.id::text from tests i
left join (select item_id as id, count(*) as n from sugang.orders
           where kind = 'test' and status in ('held', 'approving', 'awaiting_deposit') group by 1) o using (id)
where i.held_count <> coalesce(o.n, 0)
$query$),
(46::bigint, 'order_without_user_or_item', 'course',
'Restore the user or the item from a backup; or end the order, after a look at the gateway''s books.',
$query$
select o.id::text from sugang.orders o
where o.is_live and o.kind = 'course'
  and (not exists (select from users u where u.id = o.user_id)
       or not exists (select from courses i where i.id = o.item_id))
$query$),
(47::bigint, 'order_without_user_or_item', 'test',
'Restore the user or the item from a backup; or end the order, after a look at the gateway''s books.',
$query$
select o.id::text from sugang.orders o
where o.is_live and o.kind = 'test'
  and (not exists (select from users u where u.id = o.user_id)
       or not exists (select from tests i where i.id = o.item_id))
$query$),
(48::bigint, 'second_live_order', null::text,
'Decide by the attempts and the gateway''s books which of them remains, and end the other. Then create the missing unique index again.',
$query$
select string_agg(id::text, '+' order by id) from sugang.orders
where status in ('held', 'approving', 'awaiting_deposit') group by user_id, kind, item_id having count(*) > 1
$query$),
(49::bigint, 'second_capture', null::text,
'An order was paid twice. Give the second payment back at the gateway, and set its attempt to `surplus`.',
$query$
select order_id::text from sugang.payment_attempts where status = 'captured' group by 1 having count(*) > 1
$query$),
(50::bigint, 'approval_long_under_way', null::text,
'For half a day nothing has told what has become of it, and the seat is held. Is the gateway still configured, with a key that it accepts? Look the attempt''s reference up in the gateway''s console.',
$query$
select o.id::text from sugang.orders o join sugang.payment_attempts t on t.order_id = o.id and t.status = 'sent'
where o.status = 'approving' and t.sent_at < clock_timestamp() - interval '12 hours'
$query$),
(51::bigint, 'captured_is_price', null::text,
'The money of an order is not its price. Compare with the gateway''s books, and give it back.',
$query$
select o.id::text from sugang.orders o join sugang.payment_attempts t on t.order_id = o.id and t.status = 'captured'
where t.captured is distinct from o.price or t.amount is distinct from o.price
$query$),
(52::bigint, 'order_status_against_money', null::text,
'Compare the order with its attempts (select * from sugang.payment_attempts where order_id = <id>), its payment and the gateway''s books. Decide which is right, and correct the other.',
$query$
select concat(o.id, ' ', w.reason) from sugang.orders o
cross join lateral (
    select count(*) filter (where status = 'captured') as captured,
           count(*) filter (where status = 'surplus') as surplus,
           count(*) filter (where status in ('open', 'sent', 'waiting')) as live,
           string_agg(status, ',') filter (where status in ('open', 'sent', 'waiting')) as live_status,
           coalesce(bool_or(payment_id = o.payment_id), false) as has_its_payment
    from sugang.payment_attempts where order_id = o.id) t
cross join lateral (select case
    when (o.status = 'paid') <> (t.captured > 0) then 'is paid without a capture, or the reverse'
    when o.status = 'refund_due' and t.surplus = 0 then 'owes a refund of no money'
    when o.status in ('paid', 'refund_due') and not t.has_its_payment then 'has the payment of no attempt'
    -- A seat is never freed while an outcome is unknown.
    when o.status in ('expired', 'cancelled') and t.live > 0 then 'has ended with a live attempt'
    when o.status in ('paid', 'refund_due') and t.live_status = 'open' then 'has ended with an open attempt'
    when t.live_status <> case o.status when 'held' then 'open' when 'approving' then 'sent'
                                        when 'awaiting_deposit' then 'waiting' end
        then 'has an attempt in another state'
    when o.status in ('held', 'approving', 'awaiting_deposit') and t.live = 0 then 'has no live attempt'
end as reason) w
where w.reason is not null
$query$),
(53::bigint, 'payment_of_attempt', null::text,
'The payment that an attempt has brought is gone, or has another amount. Compare with the history, a backup and the gateway''s books.',
$query$
select t.id::text from sugang.payment_attempts t
left join payments p on p.id = t.payment_id
where t.status in ('captured', 'surplus')
  and case when p.id is null
           then not exists (select from sugang.audit_log h
                            where h.subject = 'payment' and h.subject_id = t.payment_id and h.status = 'deleted')
           else p.amount is distinct from t.captured
                and not exists (select from sugang.audit_log h
                                where h.subject = 'payment' and h.subject_id = p.id and h.entry > 1) end
$query$),
(54::bigint, 'surplus_without_refund', null::text,
'Money was set aside, and nothing is owed back. Write the refund, or find out who has taken it away.',
$query$
select t.id::text from sugang.payment_attempts t
where t.status = 'surplus'
  and coalesce((select sum(amount) from sugang.refunds r
                where r.payment_id = t.payment_id and r.status <> 'refused'), 0) < t.captured
$query$),
(55::bigint, 'paid_order_without_registration', 'course',
'The user has paid, and has no seat. Give it back, or refund the payment.',
$query$
select o.id::text from sugang.orders o join payments p on p.id = o.payment_id
where o.status = 'paid' and o.kind = 'course' and p.status = 'paid'
  and not exists (select from course_registrations r
                  where r.user_id = o.user_id and r.course_id = o.item_id)
  and not exists (select from sugang.audit_log h
                  where h.subject = 'course' and h.subject_id = o.registration_id and h.status in ('deleted', 'moved'))
$query$),
(56::bigint, 'paid_order_without_registration', 'test',
'The user has paid, and has no seat. Give it back, or refund the payment.',
$query$
select o.id::text from sugang.orders o join payments p on p.id = o.payment_id
where o.status = 'paid' and o.kind = 'test' and p.status = 'paid'
  and not exists (select from test_registrations r
                  where r.user_id = o.user_id and r.test_id = o.item_id)
  and not exists (select from sugang.audit_log h
                  where h.subject = 'test' and h.subject_id = o.registration_id and h.status in ('deleted', 'moved'))
$query$),
(57::bigint, 'unpaid_without_reversal', null::text,
'Compare the history of the order (select * from sugang.audit_log where subject = ''order'' and subject_id = <id>) with its attempts and the gateway''s books. If the money is there, restore the order.',
$query$
select o.id::text from sugang.orders o
where o.status <> 'paid'
  and exists (select from sugang.audit_log h where h.subject = 'order' and h.subject_id = o.id and h.status = 'paid')
  and not exists (select from sugang.payment_attempts t join sugang.ledger l
                      on l.source = 'refund' and l.step = 'reversed'
                         and t.facts -> 'taken_back' @> to_jsonb(l.payment_id)
                  where t.order_id = o.id)
$query$),
(58::bigint, 'second_event', null::text,
'An event was stored twice. Delete all but its first row, and create the missing unique index again.',
$query$
select concat(gateway, ' ', event_key) from sugang.gateway_events group by gateway, event_key having count(*) > 1
$query$),
(59::bigint, 'event_never_looked_up', null::text,
'Nothing has looked up what a gateway has told. See that the sweep runs, and that the gateway can be reached.',
$query$
select id::text from sugang.gateway_events
where status = 'due'
  and lease_until not between clock_timestamp() - interval '1 day' and clock_timestamp() + interval '1 day'
$query$),
(60::bigint, 'second_active_payment', null::text,
'The user has paid twice. Give one payment back and set its status to ''refunded''.',
$query$
select string_agg(id::text, '+' order by id) from payments where status = 'paid'
group by user_id, content_type_id, object_id having count(*) > 1
$query$),
(61::bigint, 'active_payment_without_active_registration', 'course',
'The user has paid and holds nothing. Give the money back, or let the user register again, which costs nothing.',
$query$
select p.id::text from payments p
where p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
  and p.status = 'paid'
  and not exists (select from course_registrations r
                  where r.user_id = p.user_id and r.course_id = p.object_id and r.status <> 'cancelled')
  -- An operator may cancel a registration and keep the money.
  and not p.refund_refused
$query$),
(62::bigint, 'active_payment_without_active_registration', 'test',
'The user has paid and holds nothing. Give the money back, or let the user register again, which costs nothing.',
$query$
select p.id::text from payments p
where p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
  and p.status = 'paid'
  and not exists (select from test_registrations r
                  where r.user_id = p.user_id and r.test_id = p.object_id and r.status <> 'cancelled')
  -- An operator may cancel a registration and keep the money.
  and not p.refund_refused
$query$),
(63::bigint, 'payment_of_unknown_kind', null::text,
'Set the payment type to the kind of the content type: select * from sugang.kinds;',
$query$
select p.id::text from payments p left join sugang.kinds k using (content_type_id)
where k.kind is distinct from p.payment_type
$query$),
(64::bigint, 'payment_without_user', null::text,
'Restore the user from a backup; the history has the id.',
$query$
select p.id::text from payments p where not exists (select from users u where u.id = p.user_id)
$query$),
(65::bigint, 'payment_value_unknown', null::text,
'Set a status that is known, and the amount and the method that the history and the gateway have.',
$query$
select id::text from payments
where status not in ('paid', 'cancelled', 'refunded')
   or (amount > 0 and payment_method <> 'free' or amount = 0 and payment_method = 'free') is not true
$query$),
(66::bigint, 'payment_points_to_another_registration', 'course',
'Set registration_id to the registration of the payment''s user and item.',
$query$
select p.id::text from payments p join course_registrations r on r.id = p.registration_id
where p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
  and (r.user_id, r.course_id) <> (p.user_id, p.object_id)
$query$),
(67::bigint, 'payment_points_to_another_registration', 'test',
'Set registration_id to the registration of the payment''s user and item.',
$query$
select p.id::text from payments p join test_registrations r on r.id = p.registration_id
where p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
  and (r.user_id, r.test_id) <> (p.user_id, p.object_id)
$query$),
(68::bigint, 'payment_points_to_no_registration', 'course',
'Set registration_id to the registration of the payment''s user and item, or restore the registration.',
$query$
select p.id::text from payments p
where p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
  and p.registration_id is not null
  and not exists (select from course_registrations r where r.id = p.registration_id)
  and not exists (select from sugang.audit_log h
                  where h.subject = 'course' and h.subject_id = p.registration_id and h.status = 'deleted'
                    and h.user_id = p.user_id and h.item_id = p.object_id)
$query$),
(69::bigint, 'payment_points_to_no_registration', 'test',
'Set registration_id to the registration of the payment''s user and item, or restore the registration.',
$query$
select p.id::text from payments p
where p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
  and p.registration_id is not null
  and not exists (select from test_registrations r where r.id = p.registration_id)
  and not exists (select from sugang.audit_log h
                  where h.subject = 'test' and h.subject_id = p.registration_id and h.status = 'deleted'
                    and h.user_id = p.user_id and h.item_id = p.object_id)
$query$),
(70::bigint, 'external_id_twice', null::text,
'Compare both payments with the gateway''s books; one of them is not what was paid.',
$query$
select string_agg(id::text, '+' order by id) from payments
where starts_with(external_transaction_id, 'sugang_') group by external_transaction_id having count(*) > 1
$query$),
(71::bigint, 'payment_time_against_status', null::text,
'Decide by the history which of the two is right, and correct the other.',
$query$
select id::text from payments
where status = 'paid' and cancelled_at is not null or status = 'cancelled' and cancelled_at is null
$query$),
(72::bigint, 'payment_times_out_of_order', null::text,
'Correct the times by the history, whose times this database''s clock has written.',
$query$
select p.id::text from payments p
where (p.cancelled_at < p.paid_at - interval '5 minutes'
       or p.paid_at > now() + interval '1 day' and isfinite(p.paid_at)
       or p.cancelled_at > now() + interval '1 day' and isfinite(p.cancelled_at))
  and not exists (select from sugang.audit_log h
                  where h.subject = 'payment' and h.subject_id = p.id and h.entry = p.history_entries
                    and h.at in (select applied_at from sugang.migrations where script ~ '^V\d+__history_chain'))
$query$),
(73::bigint, 'second_registration', 'course',
'Decide by the history which of them remains, and delete the other. Then create the missing unique index again.',
$query$
select string_agg(id::text, '+' order by id) from course_registrations group by user_id, course_id having count(*) > 1
$query$),
(74::bigint, 'second_registration', 'test',
'Decide by the history which of them remains, and delete the other. Then create the missing unique index again.',
$query$
select string_agg(id::text, '+' order by id) from test_registrations group by user_id, test_id having count(*) > 1
$query$),
(75::bigint, 'active_registration_without_active_payment', 'course',
'Nothing was paid for this seat. Cancel the registration, or enter the payment.',
$query$
select r.id::text from course_registrations r
where r.status <> 'cancelled'
  and not exists (select from payments p
                  where p.content_type_id = (select content_type_id from sugang.kinds where kind = 'course')
                    and p.user_id = r.user_id and p.object_id = r.course_id
                    -- An operator may give the money for a completed item back.
                    and (p.status = 'paid' or r.completed_at <= coalesce(p.cancelled_at, 'infinity')
                         or exists (select from sugang.refunds f
                                    where f.payment_id = p.id and f.keeps_registration and f.status <> 'refused'
                                      and f.requested_at >= r.enrolled_at)))
$query$),
(76::bigint, 'active_registration_without_active_payment', 'test',
'Nothing was paid for this seat. Cancel the registration, or enter the payment.',
$query$
select r.id::text from test_registrations r
where r.status <> 'cancelled'
  and not exists (select from payments p
                  where p.content_type_id = (select content_type_id from sugang.kinds where kind = 'test')
                    and p.user_id = r.user_id and p.object_id = r.test_id
                    -- An operator may give the money for a completed item back.
                    and (p.status = 'paid' or r.completed_at <= coalesce(p.cancelled_at, 'infinity')
                         or exists (select from sugang.refunds f
                                    where f.payment_id = p.id and f.keeps_registration and f.status <> 'refused'
                                      and f.requested_at >= r.applied_at)))
$query$),
(77::bigint, 'registration_without_user_or_item', 'course',
'Restore the user or the item from a backup; the history has the ids.',
$query$
select r.id::text from course_registrations r
where not exists (select from users u where u.id = r.user_id)
   or not exists (select from courses i where i.id = r.course_id)
$query$),
(78::bigint, 'registration_without_user_or_item', 'test',
'Restore the user or the item from a backup; the history has the ids.',
$query$
select r.id::text from test_registrations r
where not exists (select from users u where u.id = r.user_id)
   or not exists (select from tests i where i.id = r.test_id)
$query$),
(79::bigint, 'registration_status_unknown', 'course',
'Set the status that the history has.',
$query$
select id::text from course_registrations where status not in ('enrolled', 'completed', 'cancelled')
$query$),
(80::bigint, 'registration_status_unknown', 'test',
'Set the status that the history has.',
$query$
select id::text from test_registrations where status not in ('applied', 'completed', 'cancelled')
$query$),
(81::bigint, 'registration_time_against_status', 'course',
'Decide by the history which of the two is right, and correct the other.',
$query$
select id::text from course_registrations
where (status = 'completed') <> (completed_at is not null) or (status = 'cancelled') <> (cancelled_at is not null)
$query$),
(82::bigint, 'registration_time_against_status', 'test',
'Decide by the history which of the two is right, and correct the other.',
$query$
select id::text from test_registrations
where (status = 'completed') <> (completed_at is not null) or (status = 'cancelled') <> (cancelled_at is not null)
$query$),
(83::bigint, 'registration_times_out_of_order', 'course',
'Correct the times by the history, whose times this database''s clock has written.',
$query$
select r.id::text from course_registrations r
where (coalesce(r.completed_at, r.cancelled_at) < r.enrolled_at - interval '5 minutes'
       or r.enrolled_at > now() + interval '1 day' and isfinite(r.enrolled_at)
       or coalesce(r.completed_at, r.cancelled_at) > now() + interval '1 day'
          and isfinite(coalesce(r.completed_at, r.cancelled_at)))
  and not exists (select from sugang.audit_log h
                  where h.subject = 'course' and h.subject_id = r.id and h.entry = r.history_entries
                    and h.at in (select applied_at from sugang.migrations where script ~ '^V\d+__history_chain'))
$query$),
(84::bigint, 'registration_times_out_of_order', 'test',
'Correct the times by the history, whose times this database''s clock has written.',
$query$
select r.id::text from test_registrations r
where (coalesce(r.completed_at, r.cancelled_at) < r.applied_at - interval '5 minutes'
       or r.applied_at > now() + interval '1 day' and isfinite(r.applied_at)
       or coalesce(r.completed_at, r.cancelled_at) > now() + interval '1 day'
          and isfinite(coalesce(r.completed_at, r.cancelled_at)))
  and not exists (select from sugang.audit_log h
                  where h.subject = 'test' and h.subject_id = r.id and h.entry = r.history_entries
                    and h.at in (select applied_at from sugang.migrations where script ~ '^V\d+__history_chain'))
$query$),
(85::bigint, 'registration_count', 'course',
'select sugang.recount_course(); counts again. Where it comes back, look for a trigger that counts as well: `migrate --check` names it.',
$query$
select i.id::text from courses i
left join (select course_id as id, count(*) as n from course_registrations where status <> 'cancelled' group by 1) r
    using (id)
where i.registration_count is distinct from coalesce(r.n, 0)
$query$),
(86::bigint, 'registration_count', 'test',
'select sugang.recount_test(); counts again. Where it comes back, look for a trigger that counts as well: `migrate --check` names it.',
$query$
select i.id::text from tests i
left join (select test_id as id, count(*) as n from test_registrations where status <> 'cancelled' group by 1) r
    using (id)
where i.registration_count is distinct from coalesce(r.n, 0)
$query$),
(87::bigint, 'capacity', 'course',
'More seats were taken than there are. Raise the capacity, or cancel the latest registrations.',
$query$
select i.id::text from courses i
left join (select course_id as id, count(*) as n from course_registrations where status <> 'cancelled' group by 1) r
    using (id)
where i.capacity < greatest(i.registration_count, r.n) + i.held_count
  and exists (select from sugang.audit_log h
              where h.item_kind = 'course' and h.item_id = i.id
                and (h.seats > 0 or (h.subject, h.status, h.entry) = ('order', 'held', 1))
                and h.at > coalesce(i.capacity_changed_at, '-infinity')
                -- A seat that an order has held before.
                and not exists (select from sugang.audit_log o
                                where h.seats > 0 and o.subject = 'order' and o.status <> 'held'
                                  and (o.request_id, o.user_id, o.item_kind, o.item_id)
                                      = (h.request_id, h.user_id, h.item_kind, h.item_id)))
$query$),
(88::bigint, 'capacity', 'test',
'More seats were taken than there are. Raise the capacity, or cancel the latest registrations.',
$query$
select i.id::text from tests i
left join (select test_id as id, count(*) as n from test_registrations where status <> 'cancelled' group by 1) r
    using (id)
where i.capacity < greatest(i.registration_count, r.n) + i.held_count
  and exists (select from sugang.audit_log h
              where h.item_kind = 'test' and h.item_id = i.id
                and (h.seats > 0 or (h.subject, h.status, h.entry) = ('order', 'held', 1))
                and h.at > coalesce(i.capacity_changed_at, '-infinity')
                -- A seat that an order has held before.
                and not exists (select from sugang.audit_log o
                                where h.seats > 0 and o.subject = 'order' and o.status <> 'held'
                                  and (o.request_id, o.user_id, o.item_kind, o.item_id)
                                      = (h.request_id, h.user_id, h.item_kind, h.item_id)))
$query$),
(89::bigint, 'search_table', 'course',
'select sugang.recount_course(); lists them again.',
$query$
select coalesce(i.id, s.item_id)::text
from (select id, created_at from courses where not hidden) i
full join sugang.course_search s on s.item_id = i.id
where (i.id, i.created_at) is distinct from (s.item_id, s.created_at)
$query$),
(90::bigint, 'search_table', 'test',
'select sugang.recount_test(); lists them again.',
$query$
select coalesce(i.id, s.item_id)::text
from (select id, created_at from tests where not hidden) i
full join sugang.test_search s on s.item_id = i.id
where (i.id, i.created_at) is distinct from (s.item_id, s.created_at)
$query$),
(91::bigint, 'search_vector', 'course',
'Write the item again, as in: update courses set title = title || '' '' where id = <id>; and back.',
$query$
with looked_at as (
    (select id from courses order by id desc limit 10000)
    union
    select id from courses
    where random() < (select 10000 / greatest(reltuples, 1) from pg_class where oid = 'courses'::regclass)
)
select i.id::text
from looked_at join courses i using (id) left join sugang.course_search s on s.item_id = i.id
where s.item_id is not null and s.search_vector is distinct from sugang.search_vector(i.title, i.description)
   or i.search_vector is null
   -- Another program may have filled in more of a long description.
   or coalesce(length(i.description), 0) <= 120000
      and i.search_vector <> sugang.item_words(i.title, i.description)
$query$),
(92::bigint, 'search_vector', 'test',
'Write the item again, as in: update tests set title = title || '' '' where id = <id>; and back.',
$query$
with looked_at as (
    (select id from tests order by id desc limit 10000)
    union
    select id from tests
    where random() < (select 10000 / greatest(reltuples, 1) from pg_class where oid = 'tests'::regclass)
)
select i.id::text
from looked_at join tests i using (id) left join sugang.test_search s on s.item_id = i.id
where s.item_id is not null and s.search_vector is distinct from sugang.search_vector(i.title, i.description)
   or i.search_vector is null
   -- Another program may have filled in more of a long description.
   or coalesce(length(i.description), 0) <= 120000
      and i.search_vector <> sugang.item_words(i.title, i.description)
$query$),
(93::bigint, 'search_vector_of_payment', null::text,
'Write the title again: update payments set target_title = target_title || '' '' where id = <id>; and back.',
$query$
with looked_at as (
    (select id from payments order by id desc limit 10000)
    union
    select id from payments
    where random() < (select 10000 / greatest(reltuples, 1) from pg_class where oid = 'payments'::regclass)
)
select p.id::text
from looked_at join payments p using (id)
where p.target_title is not null
  and (p.search_vector is distinct from to_tsvector('simple', p.target_title)
       or p.title_vector <> sugang.search_vector(p.target_title, null))
$query$),
(94::bigint, 'outbox_of_change', null::text,
'A change was written while the trigger of the history was off, or its event was removed. The receiver of the webhook does not know of it: compare its data with the registration, order or payment.',
$query$
select concat(h.subject, ' ', h.subject_id, ' entry ', h.entry, ' for ', w.id)
from sugang.webhooks w
join sugang.audit_log h on h.id > w.first_change
where w.status <> 'ended' and (w.types = '{}' or sugang.event_type(h) = any(w.types))
  and not exists (select from sugang.outbox e join sugang.deliveries d on d.event_id = e.id and d.webhook_id = w.id
                  where e.change_id = h.id)
$query$),
(95::bigint, 'outbox_of_refund', null::text,
'A refund was written while its trigger was off, or its event was removed. The receiver of the webhook does not know of it: compare its data with the payment.',
$query$
select concat('refund ', r.id, ' ', r.status, ' for ', w.id)
from sugang.webhooks w
cross join lateral (select at from sugang.audit_log where id > w.first_change order by id limit 1) told
cross join (select at from sugang.outbox order by id limit 1) kept
join sugang.refunds r on r.requested_at > told.at and r.requested_at > kept.at
where w.status <> 'ended' and (w.types = '{}' or 'refund.' || r.status = any(w.types))
  and not exists (select from sugang.outbox e join sugang.deliveries d on d.event_id = e.id and d.webhook_id = w.id
                  where (e.subject, e.subject_id, e.type) = ('refund', r.id, 'refund.' || r.status))
$query$),
(96::bigint, 'event_was_changed', null::text,
'What the receivers are told is not what has happened: compare their data with the row of the history (sugang.outbox.change_id), the refund or the item.',
$query$
select e.id::text from sugang.outbox e left join sugang.audit_log h on h.id = e.change_id
where case
    when e.change_id is not null
        then (e.subject, e.subject_id, e.type, e.data::jsonb)
             is distinct from (h.subject, h.subject_id, sugang.event_type(h), sugang.change_json(h)::jsonb)
    when e.subject = 'ping' then (e.type, e.data ->> 'webhook_id') is distinct from ('ping', e.subject_id::text)
    when e.subject = 'refund'
        then (e.type, e.data ->> 'refund_id') is distinct from ('refund.' || (e.data ->> 'status'), e.subject_id::text)
    else (e.type, e.subject, e.data ->> 'item_id')
         is distinct from ('item.' || (e.data ->> 'status'), (e.data ->> 'item_type') || ' item', e.subject_id::text)
end
$query$),
(97::bigint, 'delivery_without_try', null::text,
'It is said to have been sent, or it never will be. If the receiver does not have it: update sugang.deliveries set status = ''pending'', tries = 0, ended_at = null, next_at = now() where id = <id>;',
$query$
select id::text from sugang.deliveries
where status <> 'pending' and last_at is null
   or status = 'delivered' and (last_status between 200 and 299) is not true
   or status = 'pending' and next_at > clock_timestamp() + interval '2 days'
$query$),
(98::bigint, 'told_twice', null::text,
'One change is told twice: delete what is pending of the later event or delivery, and create the missing unique index again.',
$query$
select concat('change ', change_id) from sugang.outbox
where change_id is not null group by change_id having count(*) > 1
union all
select concat('event ', event_id, ' for ', webhook_id) from sugang.deliveries
group by event_id, webhook_id having count(*) > 1
$query$),
(99::bigint, 'delivery_without_event', null::text,
'It can never be sent: delete it, or restore the event from a backup.',
$query$
select d.id::text from sugang.deliveries d
where d.status = 'pending' and not exists (select from sugang.outbox where id = d.event_id)
$query$)
$$;
