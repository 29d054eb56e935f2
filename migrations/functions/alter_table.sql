-- How the type of a column changes that a trigger of ours names, such as tests.title: PostgreSQL refuses it as long as
-- the trigger is there. A trigger that named no column would run for each registration as well.

-- Runs `alter table <p_table> <p_change>` without our triggers and makes them again, in one transaction under the lock
-- that the change needs: no write gets past them. As the role that migrates.
create or replace function sugang.alter_table(p_table regclass, p_change text) returns void language plpgsql
set search_path = public as $$
declare
    t record;
    triggers jsonb;
    unchanged text[];
begin
    -- The caller gives the statement, and has no other rights in it.
    -- @plpgsql_check_options: security_warnings = false
    execute format('lock table %s in access exclusive mode', p_table);
    triggers := (select jsonb_agg(jsonb_build_object('name', tgname, 'made_by', pg_get_triggerdef(pg_trigger.oid),
                                                     'enabled', tgenabled) order by tgname)
                 from pg_trigger join pg_proc on pg_proc.oid = tgfoid
                 where tgrelid = p_table and pronamespace = 'sugang'::regnamespace and not tgisinternal);
    unchanged := array(select name from sugang.current_definitions() join sugang.schema_definitions d
                       using (kind, relation, name, definition) where kind = 'trigger' and relation = p_table::text);
    for t in select * from jsonb_to_recordset(triggers) as (name text, made_by text, enabled text) loop
        execute format('drop trigger %I on %s', t.name, p_table);
    end loop;
    execute format('alter table %s %s', p_table, p_change);
    for t in select * from jsonb_to_recordset(triggers) as (name text, made_by text, enabled text) loop
        execute t.made_by;
        if t.enabled <> 'O' then
            execute format('alter table %s %s trigger %I', p_table, case t.enabled
                when 'A' then 'enable always' when 'R' then 'enable replica' else 'disable' end, t.name);
        end if;
    end loop;
    -- A condition compares another type now. What the audit would have named before, it still does.
    update sugang.schema_definitions d set definition = c.definition
        from sugang.current_definitions() c
        where (c.kind, c.relation, c.name) = (d.kind, d.relation, d.name)
          and d.kind = 'trigger' and d.relation = p_table::text and d.name = any (unchanged);
end $$;
