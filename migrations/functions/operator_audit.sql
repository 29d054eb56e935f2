-- The audit, for operators: a check a request.

-- Number 0 is no check, but begins an audit: its answer waits for no check. However many operators ask, a database
-- runs one check at a time, on one processor. No audit begins while a check of another one runs. One that has begun
-- waits, and is finished.
create or replace function sugang.run_audit_check(p_function text, p_user bigint, p_number bigint,
                                                  p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set jit = off
set work_mem = '64MB' set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    wanted record;
    lock_key bigint := hashtextextended('sugang.audit', 0);
begin
    if p_function is distinct from 'run_audit_check' then
        perform sugang.misrouted(p_function, 'run_audit_check');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    if p_number = 0 then
        a.outcome := case when pg_try_advisory_xact_lock(lock_key) then 'ok' else 'busy' end;
        a.body := E'1\n';
        return a;
    end if;
    perform set_config('lock_timeout', '0', true);
    perform pg_advisory_xact_lock(lock_key);
    select c.*, (select max(number) from sugang.audit_checks()) as last into strict wanted
        from sugang.audit_checks() c where number = p_number;
    -- The queries are those of the migration, which no caller gives. The next line is for the check of the functions.
    -- @plpgsql_check_options: security_warnings = false
    execute format($query$
        select concat(case when $1 < $2 then $1 + 1 end, E'\n', json_build_object(
            'check', $3::text, 'kind', $4::text, 'number', $1, 'checks', $2, 'count', coalesce(max(n), 0),
            'ids', coalesce(json_agg(id), '[]'), 'advice', case when count(*) > 0 then $5::text end), E'\n')
        from (select id, count(*) over () as n from (%s) found (id) limit 100) found
    $query$, wanted.query)
        into a.body
        using p_number, wanted.last, wanted.name, wanted.kind, wanted.advice;
    a.outcome := 'ok';
    return a;
end $$;
