-- Accounts. The API hashes and verifies passwords; the database stores the hashes.

create or replace function sugang.user_json(users) returns text language sql stable as $$
    select json_build_object('id', $1.id, 'email', $1.email, 'username', $1.username)::text
$$;

create or replace function sugang.signup(p_function text, p_email text, p_username text, p_password text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    created users;
begin
    if p_function is distinct from 'signup' then perform sugang.misrouted(p_function, 'signup'); end if;
    -- Without a check first: the unique indexes decide, between concurrent requests as well.
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

-- The stored hash that a login is verified against. An unknown and an inactive user give the same outcome, so that a
-- client cannot tell them apart.
create or replace function sugang.credentials(p_function text, p_email text) returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'credentials' then perform sugang.misrouted(p_function, 'credentials'); end if;
    select 'ok', json_build_object('id', id, 'email', email, 'username', username, 'password', password)::text
        into a.outcome, a.body from users where lower(email) = lower(p_email) and is_active;
    a.outcome := coalesce(a.outcome, 'unknown');
    return a;
end $$;

-- Records a login, and replaces a hash of the Django service, unless the password has changed in the meantime.
create or replace function sugang.logged_in(p_function text, p_user bigint, p_old_password text, p_new_password text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'logged_in' then perform sugang.misrouted(p_function, 'logged_in'); end if;
    update users
        set last_login = now(),
            password = case when password = p_old_password then coalesce(p_new_password, password) else password end
        where id = p_user and is_active;
    a.outcome := case when found then 'ok' else 'unknown' end;
    return a;
end $$;
