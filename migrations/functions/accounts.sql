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
