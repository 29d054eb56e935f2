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
