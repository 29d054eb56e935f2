-- Accounts. Passwords are hashed and verified by the API; this keeps the hashes.

create function sugang.user_json(users) returns text language sql stable as $$
    select json_build_object('id', $1.id, 'email', $1.email, 'username', $1.username)::text
$$;

create function sugang.signup(p_email text, p_username text, p_password text) returns sugang.answer
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.answer;
    created users;
begin
    -- No check before it: the unique indexes decide, also between two requests at the same moment.
    insert into users (email, username, password) values (p_email, p_username, p_password)
        on conflict do nothing returning * into created;
    if found then
        a.outcome := 'ok';
        a.body := sugang.user_json(created);
    else
        a.outcome := 'taken';
        a.body := (select coalesce(json_agg(field), '[]') from (
            select 'email' as field where exists (select from users where lower(email) = lower(p_email))
            union all
            select 'username' where exists (select from users where username = p_username)) taken)::text;
    end if;
    return a;
end $$;

-- What a login is checked against. Nobody and an inactive user are one outcome: they must look alike.
create function sugang.credentials(p_email text) returns sugang.answer language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.answer;
begin
    select 'ok', json_build_object('id', id, 'email', email, 'username', username, 'password', password)::text
        into a.outcome, a.body from users where lower(email) = lower(p_email) and is_active;
    a.outcome := coalesce(a.outcome, 'unknown');
    return a;
end $$;

-- Notes a login. A hash that the Django service wrote is replaced, unless the password was changed meanwhile.
create function sugang.logged_in(p_user bigint, p_old_password text, p_new_password text) returns sugang.answer
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.answer;
begin
    update users
        set last_login = now(),
            password = case when password = p_old_password then coalesce(p_new_password, password) else password end
        where id = p_user and is_active;
    a.outcome := case when found then 'ok' else 'unknown' end;
    return a;
end $$;

-- Refresh tokens that are over before their time: the ones that rotation has used, and whole families. A family is all
-- that descends from one login: a token names it, or is the first of its own.
create table sugang.ended_tokens (
    name       text primary key,  -- 'token <jti>' or 'family <jti of the first>'
    user_id    bigint not null references users (id) on delete cascade,
    expires_at timestamptz not null
);
create index ended_tokens_expires on sugang.ended_tokens (expires_at);

-- False: it had ended before. Removes a few rows that no token can outlive, so that no job has to.
create function sugang.end_token(p_name text, p_user bigint, p_keep_seconds bigint) returns boolean
language plpgsql as $$
begin
    delete from sugang.ended_tokens where ctid = any (array(
        select ctid from sugang.ended_tokens where expires_at < now() order by expires_at limit 10 for update skip locked));
    insert into sugang.ended_tokens values (p_name, p_user, now() + make_interval(secs => p_keep_seconds))
        on conflict do nothing;
    return found;
end $$;

-- Uses a refresh token. With rotation each is used once: one that comes again was stolen, or its successor was, and
-- nobody can tell which, so the whole family ends. p_keep_seconds: the longest that any token of the family may live.
create function sugang.refresh(p_user bigint, p_jti text, p_family text, p_keep_seconds bigint, p_rotate boolean)
returns sugang.answer language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.answer;
begin
    a.outcome := sugang.refusal(p_user);
    if a.outcome is not null then return a; end if;
    if exists (select from sugang.ended_tokens where name = 'family ' || p_family) then
        a.outcome := 'token_ended';
        return a;
    end if;
    if p_rotate and not sugang.end_token('token ' || p_jti, p_user, p_keep_seconds) then
        perform sugang.end_token('family ' || p_family, p_user, p_keep_seconds);
        a.outcome := 'token_reused';
        return a;
    end if;
    a.outcome := 'ok';
    select sugang.user_json(u) into a.body from users u where id = p_user;
    return a;
end $$;

create function sugang.logout(p_user bigint, p_family text, p_keep_seconds bigint) returns sugang.answer
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.answer;
begin
    a.outcome := sugang.refusal(p_user);
    if a.outcome is not null then return a; end if;
    perform sugang.end_token('family ' || p_family, p_user, p_keep_seconds);
    a.outcome := 'ok';
    return a;
end $$;
