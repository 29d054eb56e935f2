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
