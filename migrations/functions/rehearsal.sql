-- A rehearsal: requests are served once, for a user and items of its own, and all of it is rolled back. The triggers,
-- rules, constraints and indexes of another program take part in what the service writes, with the rights of its role.
-- Whether they let it pass, no look at the catalog tells; to write does. Each migration ends with it.

-- The innermost function of another program in the context of an error, with its line.
create or replace function sugang.foreign_function(p_context text) returns text language sql stable as $$
    select regexp_replace(line, ' at [A-Za-z ]+$', '')
    from string_to_table(p_context, E'\n') with ordinality l (line, n)
    where line ~ '^(PL/pgSQL|SQL) function ' and line !~ '^PL/pgSQL function sugang[.]'
      -- Of a function in SQL, a context has no schema.
      and not exists (select from pg_proc where pronamespace = 'sugang'::regnamespace
                      and proname = substring(line from '^SQL function "(.*?)"'))
    order by n limit 1
$$;

-- What helps. p_function: the function that failed, as PostgreSQL names it in a context.
create or replace function sugang.rehearsal_hint(p_state text, p_function text, p_table text, p_column text,
                                                 p_constraint text)
returns text language sql stable as $$
    select case
        when p_state = '42501' and p_function is not null then
            coalesce('`alter function ' || to_regprocedure(substring(p_function from 'function (.*) line'))
                     || ' security definer set search_path = public, pg_temp` lets the trigger work with the rights of '
                        'its owner. Or grant', 'Grant') || ' the role that serves what it needs there.'
        when p_state = '42501' then 'Grant the role that serves the right that is missing.'
        when p_state = '23502' then
            format('Give the column a default, or let it be empty: `alter table %s alter column %I set default …` or '
                   '`drop not null`.', p_table, p_column)
        when p_state like '23%' then
            format('This service writes what the constraint refuses. Drop it, or let it accept such a row: '
                   '`alter table %s drop constraint %I` (`drop index %2$I` for an index).', p_table, p_constraint)
        when p_state = '22001' then 'Make the column as long as this service''s: see `sugang.alter_table`.'
        when p_state in ('0A000', '55000', '42P10') then
            'Drop the rule (`drop rule … on …`), or make the unique constraint again without `deferrable`.'
        else 'A trigger, rule or constraint of another program takes part in this write: change or drop it.'
    end
$$;

-- Sends one request, and adds what is wrong to the findings. p_statement returns an outcome and a body; the body of a
-- request that succeeded has p_keys, since a trigger may keep a row from being written without an error. Null in place
-- of the body means that what depends on it cannot be rehearsed. As in the API, a sequence that lags behind is advanced
-- once. What only the role may not do is done by the caller instead, so that all findings come at once.
create or replace function sugang.rehearse_step(p_role name, p_step text, p_statement text, p_keys text[],
                                                inout findings jsonb, out body jsonb)
language plpgsql as $$
declare
    own_role constant text := current_setting('role');
    acting_role text := coalesce(p_role, own_role);
    outcome text;
    answer text;
    problem text;
    state text;
    message text;
    context text;
    found_constraint text;
    found_table text;
    found_column text;
    is_advanced boolean := false;
begin
    loop
        problem := null;
        state := null;
        begin
            perform set_config(name, '', true)
                from unnest(array['sugang.actor', 'sugang.request', 'sugang.rehashed_user', 'sugang.taken_hold']) name;
            perform set_config('role', acting_role, true);
            -- The statements are those of this file and of rehearsal_of_kind.sql.
            -- @plpgsql_check_options: security_warnings = false
            execute p_statement into outcome, answer;
            -- What would run at the commit.
            set constraints all immediate;
            set constraints all deferred;
            perform set_config('role', own_role, true);
            if outcome is distinct from 'ok' then
                problem := format('answers %s in place of ok', coalesce(outcome, 'nothing'));
            else
                body := coalesce(answer, '{}')::jsonb;
                problem := (select format('writes no row: %s is null', key) from unnest(p_keys) key
                            where body ->> key is null limit 1);
            end if;
            -- What it has written is not in the way of the next step.
            if problem is not null then raise sqlstate 'SG003'; end if;
        exception
            when lock_not_available or deadlock_detected then raise;
            when sqlstate 'SG003' then null;
            when others then
                get stacked diagnostics state = returned_sqlstate, message = message_text,
                    context = pg_exception_context, found_constraint = constraint_name, found_table = table_name,
                    found_column = column_name;
                context := sugang.foreign_function(context);
                problem := format('fails: %s %s', state, message)
                    || case when strpos(message, found_constraint) = 0 then format(' [constraint %s]', found_constraint)
                       else '' end
                    || coalesce(' (' || context || ')', '');
        end;
        exit when problem is null;
        body := null;
        if state = '23505' and not is_advanced then
            is_advanced := true;
            perform sugang.advance_sequences('advance_sequences');
            continue;
        end if;
        -- Not a second finding for what fails for the caller as well.
        if acting_role = coalesce(p_role, own_role) then
            findings := findings || jsonb_build_object(
                'step', p_step, 'problem', problem,
                'hint', sugang.rehearsal_hint(state, context, found_table, found_column, found_constraint));
        end if;
        exit when state is distinct from '42501' or acting_role = own_role;
        acting_role := own_role;
    end loop;
end $$;

-- What concerns a user, and then each kind.
create or replace function sugang.rehearse_requests(p_role name, inout findings jsonb) language plpgsql as $$
declare
    unique_part constant text := replace(gen_random_uuid()::text, '-', '');
    -- As most users have them: that a length is too short, the preflight sees.
    email constant text := 'rehearsal-' || unique_part || '@example.com';
    username constant text := 'rehearsal' || unique_part;
    password constant text := rpad('$argon2id$v=19$m=19456,t=2,p=1$', 97, 'A');
    expires constant bigint := extract(epoch from now())::bigint + 604800;
    account bigint;
    body jsonb;
    kind text;
begin
    select * into findings, body from sugang.rehearse_step(p_role, 'sign-up', format(
        'select outcome, body from sugang.signup(''signup'', %L, null, %L, %L)', email, username, password),
        array['id'], findings);
    account := cast(body ->> 'id' as bigint);
    if account is null then return; end if;
    select * into findings, body from sugang.rehearse_step(p_role, 'login of a new user', format(
        'select outcome, body from sugang.credentials(''credentials'', %L, %1$L, null)', email), array['id'], findings);
    if body is null then return; end if;
    select s.findings into findings from sugang.rehearse_step(p_role, 'login', format(
        'select outcome, null from sugang.logged_in(''logged_in'', %s, %L, %L, ''rehearsal'', 0)',
        account, password, overlay(password placing 'B' from 97)), '{}', findings) s;
    select s.findings into findings from sugang.rehearse_step(p_role, 'token refresh', format(
        'select outcome, body from sugang.refresh(''refresh'', %s, %L, %2$L, %s, 604800, true, 10, %L, %s)',
        account, unique_part, expires, unique_part || '-2', expires - 604800), array['id'], findings) s;
    select s.findings into findings from sugang.rehearse_step(p_role, 'logout', format(
        'select outcome, null from sugang.logout(''logout'', %s, %L, %s, 604800)', account, unique_part, expires),
        '{}', findings) s;
    -- No request makes one, so it is no failure if a trigger refuses that.
    select s.body into body from sugang.rehearse_step(p_role, 'making an operator', format(
        'update users set is_staff = true where id = %s returning ''ok'', json_build_object(''id'', id)::text',
        account), array['id'], '[]') s;
    if body is not null then
        for kind in select k.kind from sugang.kinds k order by 1 loop
            execute format('select sugang.%I($1, $2, $3)', 'rehearse_' || kind) into findings
                using p_role, account, findings;
        end loop;
    end if;
    select s.findings into findings from sugang.rehearse_step(p_role, 'logout everywhere', format(
        'select outcome, null from sugang.logout_all(''logout_all'', %s, null)', account), '{}', findings) s;
end $$;

-- The role that the rehearsal acts as. A role that migrates and may create roles is no member of those that it made; it
-- becomes one until the rehearsal is rolled back. Null if it may not.
create or replace function sugang.rehearsal_role(p_role name) returns name language plpgsql as $$
declare
    own_role constant text := current_setting('role');
begin
    begin
        perform set_config('role', p_role, true), set_config('role', own_role, true);
    exception when insufficient_privilege then
        begin
            -- @plpgsql_check_options: security_warnings = false
            execute format('grant %I to current_user', p_role);
            perform set_config('role', p_role, true), set_config('role', own_role, true);
        exception when others then
            return null;
        end;
    end;
    return p_role;
end $$;

-- Whether there is no user whom a refusal would concern, and no trigger or rule of another program. The ids of a new
-- service then begin with 1, since a sequence does not take back what a rehearsal has drawn from it.
create or replace function sugang.needs_no_rehearsal() returns boolean language sql stable as $$
    select not exists (select from users)
        and not exists (
            select from pg_trigger join pg_proc on pg_proc.oid = tgfoid
            where tgrelid in (select relation from sugang.guarded_tables()) and not tgisinternal
              and pronamespace <> 'sugang'::regnamespace)
        and not exists (select from pg_rewrite where ev_class in (select relation from sugang.guarded_tables()))
$$;

-- The findings of a rehearsal as p_role, or as the caller if that is null. Of those that are no failure, requests know
-- nothing. Nothing is left behind but gaps in sequences, nothing is sent to a webhook, and a database that takes no
-- changes is left alone.
create or replace function sugang.rehearse(p_role name)
returns table (finding text, hint text, is_failure boolean) language plpgsql as $$
declare
    findings jsonb := '[]'::jsonb;
    acting_role name;
begin
    if current_setting('transaction_read_only')::boolean then return; end if;
    if p_role is not null and not has_database_privilege(p_role, current_database(), 'connect') then
        return query select format('the role %I may not connect to the database', p_role),
            format('`grant connect on database %I to %I`, as the owner of the database or a superuser.',
                   current_database(), p_role), false;
    end if;
    if sugang.needs_no_rehearsal() then return; end if;
    begin
        if p_role is not null then acting_role := sugang.rehearsal_role(p_role); end if;
        findings := sugang.rehearse_requests(acting_role, findings);
        raise sqlstate 'SG002';
    exception when sqlstate 'SG002' then
        null;
    end;
    if p_role is not null and acting_role is null then
        return query select format('not rehearsed as the role %I, which %I may not act as', p_role, current_user),
            format('`grant %I to %I` allows it.', p_role, current_user), false;
    end if;
    -- One finding for what has one cause.
    return query
        select concat(steps[1], case when cardinality(steps) > 1 then format(' (and %s more: %s%s)',
                   cardinality(steps) - 1, array_to_string(steps[2:4], ', '),
                   case when cardinality(steps) > 4 then ', …' end) end, ' ', f.problem),
               f.hint, true
        from (select array_agg(r.step order by n) as steps, r.problem, r.hint, min(n) as place
              from rows from (jsonb_to_recordset(findings) as (step text, problem text, hint text))
                  with ordinality r (step, problem, hint, n)
              group by r.problem, r.hint) f
        order by place;
end $$;
