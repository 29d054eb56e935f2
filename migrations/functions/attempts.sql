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
