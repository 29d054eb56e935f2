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
