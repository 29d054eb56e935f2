-- The role that serves requests, where it is not the owner of the tables. It calls functions, which work with its own
-- rights, and these are the rights that the functions need. The triggers work with the rights of the owner: the role
-- writes neither history nor counts but through them.

-- The schemas that functions search: public before all others, then those that the database, or a role that serves, is
-- set to search, and temporary tables behind them. What a server or a session is set to does not count.
create or replace function sugang.searched_schemas() returns text[] language sql stable as $$
    with given as (
        select setrole, substring(entry from '^search_path=(.*)$') as path
        from pg_db_role_setting cross join unnest(setconfig) entry
        where setdatabase in (0, (select oid from pg_database where datname = current_database()))
          and (setrole = 0 or has_schema_privilege(setrole, 'sugang', 'usage'))
    ), named as (
        select coalesce(replace(parts[1], '""', '"'), parts[2]) as schema, array[(setrole <> 0)::integer, setrole::bigint, n] as place
        from (select setrole, path from given where path is not null
              union all
              select 0, '"$user"' where not exists (select from given where setrole = 0 and path is not null)) paths
        cross join regexp_matches(path, '"((?:[^"]|"")+)"|([^", ]+)', 'g') with ordinality found (parts, n)
    )
    select 'public'::text || array(
        select schema from named where schema not in ('public', 'pg_temp') group by schema order by min(place)
    ) || 'pg_temp'::text
$$;

create or replace function sugang.own_search_path() returns text language sql stable as $$
    select string_agg(quote_ident(schema), ', ' order by n)
    from unnest(sugang.searched_schemas()) with ordinality searched (schema, n)
$$;

-- Makes every trigger function work as its owner: any program that may write a table can then do so, without a right on
-- what is derived from it. A temporary table cannot come before what they search. The functions that the API calls have
-- a search path of their own as well: that of a session may be another client's of a connection pooler, and lead to
-- tables of the same name elsewhere. Triggers of other programs find there what the database is set to. Functions with
-- the rights of their owner search what no other role may create in.
create or replace function sugang.secure_functions() returns void language plpgsql as $$
declare
    routine regprocedure;
    path constant text := sugang.own_search_path();
begin
    for routine in select oid from pg_proc
            where pronamespace = 'sugang'::regnamespace and prorettype = 'trigger'::regtype loop
        execute format('alter function %s security definer set search_path = public, pg_temp', routine);
    end loop;
    -- A path is no single identifier.
    -- @plpgsql_check_options: security_warnings = false
    for routine in select oid from pg_proc
            where pronamespace = 'sugang'::regnamespace and proargnames[1] = 'p_function' and not prosecdef loop
        execute format('alter function %s set search_path = %s', routine, path);
    end loop;
end $$;

-- The same where the database has been set to another search path since. What the audit would have named before, it
-- still does.
create or replace function sugang.renew_search_paths() returns void language plpgsql as $$
declare
    path constant text := sugang.own_search_path();
    unchanged text[];
begin
    if not exists (
            select from pg_proc
            where pronamespace = 'sugang'::regnamespace and proargnames[1] = 'p_function' and not prosecdef
              and (proconfig @> array['search_path=' || path]) is not true) then
        return;
    end if;
    unchanged := array(select name from sugang.current_definitions() join sugang.schema_definitions d
                       using (kind, relation, name, definition) where kind = 'function');
    perform sugang.secure_functions();
    update sugang.schema_definitions d set definition = c.definition
        from sugang.current_definitions() c
        where (c.kind, c.relation, c.name) = (d.kind, d.relation, d.name)
          and d.kind = 'function' and d.name = any (unchanged);
end $$;

-- Why the rights of a role do not matter: it can change the history whatever it is granted. Null if it cannot.
create or replace function sugang.role_is_unlimited(p_role name) returns text language sql stable as $$
    select case
        when rolsuper then 'it is a superuser'
        when pg_has_role(p_role, relowner, 'member')
            then format('it is, or is a member of, %I, which owns the tables', pg_get_userbyid(relowner))
        when rolcreaterole then 'it may create roles'
        when has_table_privilege(p_role, pg_class.oid, 'insert, update, delete, truncate, trigger')
            or has_table_privilege(p_role, 'sugang.change_log', 'insert, update, delete, truncate, trigger')
            then 'it may write sugang.audit_log or sugang.change_log, as PUBLIC or as a member of another role'
        when has_schema_privilege(p_role, 'public', 'create')
            then 'it may create in the schema public what functions call in place of what they mean; '
                 '`revoke create on schema public from public` helps'
        when exists (select from unnest(sugang.searched_schemas()) schema
                     where has_schema_privilege(p_role, to_regnamespace(quote_ident(schema))::oid, 'create'))
            then 'it may create in a schema that the database is set to search'
    end
    from pg_roles, pg_class where rolname = p_role and pg_class.oid = 'sugang.audit_log'::regclass
$$;

-- Gives a role the rights that requests need, and takes what it has beyond them in the schema sugang: earlier versions
-- may have needed more. It may read whole tables: rows are returned with all columns, those of the Django service
-- included, and the audit reads them.
create or replace function sugang.grant_service(p_role name) returns void language plpgsql as $$
declare
    given record;
begin
    execute format('revoke all on all tables in schema sugang from %I', p_role);
    execute format('grant usage on schema sugang, public to %I', p_role);
    execute format('grant select on all tables in schema sugang to %I', p_role);
    execute format('grant execute on all functions in schema sugang to %I', p_role);
    -- The names are those of sugang.rights(), which no caller gives. The next line is for the check of the functions.
    -- @plpgsql_check_options: security_warnings = false
    for given in
        select format('grant select on %s to %I', relation, p_role) as statement from sugang.rights()
        where privilege = 'select' and relation not like 'sugang.%'
        union all
        select format('grant %s on %s to %I', string_agg(privilege, ', '), relation, p_role)
        from (select relation, privilege || coalesce('(' || columns || ')', '') as privilege from sugang.rights()) r
        group by relation
        union all
        select format('grant usage on sequence %s to %I', sequence, p_role) from sugang.needed_sequences() sequence
    loop
        execute given.statement;
    end loop;
end $$;

-- Hardened servers take the right to connect from PUBLIC. Where only another role may grant it, sugang.rehearse names
-- it.
create or replace function sugang.grant_connect(p_role name) returns void language plpgsql as $$
begin
    if has_database_privilege(p_role, current_database(), 'connect') then return; end if;
    execute format('grant connect on database %I to %I', current_database(), p_role);
exception when insufficient_privilege then
    null;
end $$;

-- Older databases of the Django service number their rows by a sequence, which needs a right of its own. An identity
-- needs none, nor does a default of another kind.
create or replace function sugang.needed_sequences() returns setof regclass language sql stable as $$
    select sequence
    from sugang.rights()
    cross join lateral sugang.id_sequence(to_regclass(relation)) sequence
    where privilege = 'insert' and relation not like 'sugang.%' and sequence is not null
      and exists (select from pg_attribute where attrelid = to_regclass(relation) and attname = 'id'
                  and not attisdropped and atthasdef)
$$;
