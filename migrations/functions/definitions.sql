-- What guards the data, as PostgreSQL writes it: functions, tables, triggers, constraints and unique indexes. The audit
-- compares it with what the last migration wrote down.

create or replace function sugang.guarded_tables() returns table (relation regclass) language sql stable as $$
    select oid::regclass from pg_class where relnamespace = 'sugang'::regnamespace and relkind = 'r'
    union
    select to_regclass(r.relation) from sugang.rights() r where to_regclass(r.relation) is not null
$$;

-- A definition without the parentheses that a restore takes away: `(a, b, c) is distinct from …` is kept as
-- `((a or b) or c)`, but its dump is read as `(a or b or c)`, which means the same.
create or replace function sugang.as_restored(p_definition text) returns text language plpgsql immutable as $$
declare
    -- An operand with its parentheses, which may hold others, three levels deep.
    operand constant text := E'\\((?:[^()]|\\((?:[^()]|\\((?:[^()]|\\([^()]*\\))*\\))*\\))*\\)';
    before text;
begin
    loop
        before := p_definition;
        p_definition := regexp_replace(
            p_definition, format(E'\\((%1$s(?: OR %1$s)+)\\) OR ', operand), E'\\1 OR ', 'g');
        p_definition := regexp_replace(
            p_definition, format(E'\\((%1$s(?: AND %1$s)+)\\) AND ', operand), E'\\1 AND ', 'g');
        exit when p_definition = before;
    end loop;
    return p_definition;
end $$;

create or replace function sugang.current_definitions() returns setof sugang.schema_definitions
language sql stable set search_path = public as $$
    with guarded as materialized (select relation from sugang.guarded_tables())
    select 'function', '', oid::regprocedure::text, encode(sha256(convert_to(pg_get_functiondef(oid), 'UTF8')), 'hex')
    from pg_proc
    where pronamespace = 'sugang'::regnamespace and prokind = 'f'
      and not exists (select from pg_depend
                      where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')
    union all
    select 'table', '', relation::text,
           concat_ws(' ', case relpersistence when 'u' then 'unlogged' else 'logged' end,
                     case when relrowsecurity then 'row security' end, case when relhasrules then 'rules' end)
    from guarded join pg_class on oid = relation
    union all
    select 'not null', relation::text, attname, 'not null'
    from guarded join pg_attribute on attrelid = relation
    where attnum > 0 and not attisdropped and attnotnull
    union all
    select 'trigger', relation::text, tgname,
           case tgenabled when 'O' then '' when 'A' then 'always ' when 'R' then 'on replicas only: '
                          else 'disabled: ' end || sugang.as_restored(pg_get_triggerdef(pg_trigger.oid))
    from guarded join pg_trigger on tgrelid = relation join pg_proc on pg_proc.oid = tgfoid
    where not tgisinternal and (pronamespace = 'sugang'::regnamespace or relation::text like 'sugang.%')
    union all
    -- A foreign key by what it says: Django names it in its own way, and an operator may let it cascade.
    select 'foreign key', relation::text,
           substring(pg_get_constraintdef(pg_constraint.oid) from E'^.*?\\)(?= ON | DEF| NOT|$)'),
           case when convalidated then 'validated' else 'not validated' end
    from guarded join pg_constraint on conrelid = relation
    where contype = 'f'
    union all
    select 'constraint', relation::text, conname, sugang.as_restored(pg_get_constraintdef(pg_constraint.oid))
    from guarded join pg_constraint on conrelid = relation
    where contype in ('c', 'p', 'u', 'x')
    union all
    select 'index', indrelid::regclass::text, indexrelid::regclass::text,
           sugang.as_restored(pg_get_indexdef(indexrelid))
           || case when indisvalid and indisready and indislive then '' else ' invalid' end
    from guarded join pg_index on indrelid = relation
    where indisunique
      and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u', 'x'))
$$;

-- Another version of PostgreSQL may write the same definition in another way.
create or replace function sugang.server_major() returns text language sql stable as $$
    select (current_setting('server_version_num')::integer / 10000)::text
$$;
