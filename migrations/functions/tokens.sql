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
