-- Refresh tokens: use, rotation and logout.

-- Returns false for a token or family that is revoked already. Deletes a few rows that no token can outlive, so no
-- scheduled job is needed.
create or replace function sugang.revoke_token(p_name text, p_user bigint, p_keep_seconds bigint) returns boolean
language plpgsql as $$
begin
    delete from sugang.revoked_tokens where ctid = any (array(
        select ctid from sugang.revoked_tokens
        where expires_at < now() order by expires_at limit 10 for update skip locked));
    insert into sugang.revoked_tokens values (p_name, p_user, now() + make_interval(secs => p_keep_seconds))
        on conflict do nothing;
    return found;
end $$;

-- Uses a refresh token. With rotation each token is used once. A token that is used again means that it or its
-- successor was stolen; the two cases cannot be told apart, so the whole family is revoked. p_keep_seconds: the longest
-- lifetime that any token of the family may have.
create or replace function sugang.refresh(p_function text, p_user bigint, p_jti text, p_family text,
                                          p_keep_seconds bigint, p_rotate boolean)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'refresh' then perform sugang.misrouted(p_function, 'refresh'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    if exists (select from sugang.revoked_tokens where name = 'family ' || p_family) then
        a.outcome := 'token_ended';
        return a;
    end if;
    if p_rotate and not sugang.revoke_token('token ' || p_jti, p_user, p_keep_seconds) then
        perform sugang.revoke_token('family ' || p_family, p_user, p_keep_seconds);
        a.outcome := 'token_reused';
        return a;
    end if;
    a.outcome := 'ok';
    select sugang.user_json(u) into a.body from users u where id = p_user;
    return a;
end $$;

create or replace function sugang.logout(p_function text, p_user bigint, p_family text, p_keep_seconds bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'logout' then perform sugang.misrouted(p_function, 'logout'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    perform sugang.revoke_token('family ' || p_family, p_user, p_keep_seconds);
    a.outcome := 'ok';
    return a;
end $$;
