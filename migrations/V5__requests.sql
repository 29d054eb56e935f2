-- What every call from the API has in common: its answer, who asks, and the idempotency key.

-- The one row that every function answers. Each of these functions forces plans that do not depend on its parameters:
-- PostgreSQL would plan some statements anew every time, if the first few parameters of a session made that look cheaper,
-- and planning costs several times what the statements do.
create type sugang.answer as (
    outcome  text,    -- 'ok', or why not; the API turns it into a status and a text
    body     text,    -- JSON, ready to send or facts for a message
    count    bigint,  -- lists: how many there are in all
    page     bigint,  -- lists: the page that this is
    pages    bigint,  -- lists: the last page
    replayed boolean  -- the answer of an earlier request with the same idempotency key
);

-- Times as the Django service writes them: ISO 8601 in UTC, microseconds only where there are some.
create function sugang.iso(timestamptz) returns text language sql stable parallel safe as $$
    select replace(to_char($1 at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z'
$$;

create function sugang.page_size() returns integer language sql immutable parallel safe as $$ select 20 $$;

-- Fills count, page, pages of a list; the outcome is null when the page exists. Page 0 asks for the last one. Page 1 of
-- an empty list exists.
create function sugang.paginate(p_count bigint, p_page bigint) returns sugang.answer language plpgsql immutable as $$
declare
    a sugang.answer;
begin
    a.count := p_count;
    a.pages := greatest((p_count + sugang.page_size() - 1) / sugang.page_size(), 1);
    a.page := case p_page when 0 then a.pages else p_page end;
    if a.page not between 1 and a.pages then a.outcome := 'invalid_page'; end if;
    return a;
end $$;

-- Why this user may not ask anything; null: he may.
create function sugang.refusal(p_user bigint) returns text language plpgsql stable as $$
declare
    active boolean;
begin
    select is_active into active from users where id = p_user;
    return case when active then null when not active then 'user_inactive' else 'user_not_found' end;
end $$;

-- The key, and a hash of what was asked with it, in the transaction of the effect: both are there, or neither.
create table sugang.idempotency_keys (
    user_id     bigint not null references users (id) on delete cascade,
    key         text not null,
    fingerprint text not null,
    outcome     text not null,
    body        text,
    created_at  timestamptz not null default clock_timestamp(),
    primary key (user_id, key)
);
create index idempotency_keys_created on sugang.idempotency_keys (created_at);
create function sugang.idempotency_lifetime() returns interval language sql immutable as $$ select interval '24 hours' $$;

-- Begins a state change. The outcome is null when it is to be made; otherwise it is the answer.
create function sugang.begin_change(p_user bigint, p_request_id text, p_key text, p_fingerprint text)
returns sugang.answer language plpgsql as $$
declare
    a sugang.answer;
    stored sugang.idempotency_keys;
begin
    a.outcome := sugang.refusal(p_user);
    if a.outcome is not null then return a; end if;
    perform sugang.set_actor(p_user, p_request_id);
    if p_key is null then return a; end if;
    -- Held until the effect is committed: who does not get it meets the first request while it is still at work.
    -- The prefix keeps a key that reads like an item apart from that item's own lock.
    if not pg_try_advisory_xact_lock(hashtextextended('key ' || p_key, p_user)) then
        a.outcome := 'in_progress';
        return a;
    end if;
    select * into stored from sugang.idempotency_keys where user_id = p_user and key = p_key;
    if stored.created_at > clock_timestamp() - sugang.idempotency_lifetime() then
        if stored.fingerprint = p_fingerprint then
            a.outcome := stored.outcome;
            a.body := stored.body;
            a.replayed := true;
        else
            a.outcome := 'key_reused';
        end if;
    end if;
    return a;
end $$;

-- Ends a state change: keeps its answer under the key, and removes a few keys whose time is over, so that no job has to.
create function sugang.end_change(p_user bigint, p_key text, p_fingerprint text, p_answer sugang.answer)
returns sugang.answer language plpgsql as $$
begin
    -- A 403 is never kept: it says who asks, not what happened.
    if p_key is not null and p_answer.outcome <> 'not_owner' then
        insert into sugang.idempotency_keys (user_id, key, fingerprint, outcome, body)
            values (p_user, p_key, p_fingerprint, p_answer.outcome, p_answer.body)
            on conflict (user_id, key) do update
                set fingerprint = excluded.fingerprint, outcome = excluded.outcome, body = excluded.body,
                    created_at = excluded.created_at;
        delete from sugang.idempotency_keys where ctid = any (array(
            select ctid from sugang.idempotency_keys
            where created_at < clock_timestamp() - sugang.idempotency_lifetime()
            order by created_at limit 10 for update skip locked));
    end if;
    return p_answer;
end $$;

create function sugang.ready() returns sugang.answer language sql stable as $$
    select row('ok', null, null, null, null, null)::sugang.answer
$$;
