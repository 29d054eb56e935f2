-- Compares the columns that the rows name with those that are there.

with expected (tab, col, family, shown, definition, is_written_null) as ({rows}), actual as (
    select c.relname::text as tab, a.attname::text as col, t.typname, t.typcategory, a.atttypid, a.atttypmod,
           a.attgenerated, a.attnotnull, f.oid as default_oid, format_type(a.atttypid, a.atttypmod) as shown
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef f on f.adrelid = c.oid and f.adnum = a.attnum and a.attgenerated = ''
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
), unnamed as (
    -- A column that has another name is recognized where it is the only one of its type.
    select tab, shown, min(col) as col from actual
    where (tab, col) not in (select tab, col from expected) group by 1, 2 having count(*) = 1
), dependents as materialized (
{dependents}
)
select format('%I.%I is missing%s', e.tab, e.col, ', there is ' || quote_ident(u.col)) as finding,
       case when u.col is null then format('alter table %I add column %I %s;', e.tab, e.col, e.definition)
            else format('alter table %I rename column %I to %I;', e.tab, u.col, e.col) end as remedy
from expected e
left join unnamed u on u.tab = e.tab and u.shown = e.shown
    and (select count(*) from expected o where o.tab = e.tab and o.shown = e.shown
         and not exists (select from actual a where (a.tab, a.col) = (o.tab, o.col))) = 1
where exists (select from actual a where a.tab = e.tab)
  and not exists (select from actual a where (a.tab, a.col) = (e.tab, e.col))
union all
select format('%I.%I is %s, not %s', e.tab, e.col, a.shown, e.shown),
       concat((select string_agg(d.remedy, E'\n' order by d.finding) || E'\n' from dependents d
               where (d.tab, d.col) = (e.tab, e.col)),
              format('alter table %I ', e.tab),
              -- What a default gives is cast as in an assignment; to a text, that works from every type.
              case when a.default_oid is not null and e.family <> 'text' and not exists (
                       select from pg_cast where castsource = a.atttypid and casttarget = to_regtype(e.shown)::oid
                           and castcontext in ('a', 'i'))
                   then format('alter column %I drop default, ', e.col) end,
              format('alter column %I type %s using %s;', e.col, e.shown,
                     case when a.typname = 'timestamp' then format('%I at time zone ''UTC''', e.col)
                          else format('%I::%s', e.col, e.shown) end),
              case when e.family = 'int8' then (
                  select string_agg(format(' alter sequence %s as bigint no maxvalue;', s.seqrelid::regclass), '')
                  from pg_depend d
                  join pg_sequence s on s.seqrelid = d.refobjid and s.seqtypid <> 'bigint'::regtype
                  where d.classid = 'pg_attrdef'::regclass and d.objid = a.default_oid
                      and d.refclassid = 'pg_class'::regclass) end)
from expected e join actual a using (tab, col)
where case e.family
    when 'text' then a.typcategory = 'S' and a.typname not in ('bpchar', 'name')
        and (a.atttypmod = -1 or a.atttypmod - 4 >= substring(e.shown, '\d+')::integer)
    when 'integer' then a.typname in ('int4', 'int8')
    when 'money' then a.typname = 'numeric' and a.atttypmod <> -1 and (a.atttypmod - 4) & 2047 = 2
        and (a.atttypmod - 4) >> 16 >= substring(e.shown, '\d+')::integer
    else a.typname = e.family end is not true
union all
select format('%I.%I is never null, and this service writes null', e.tab, e.col),
       format('alter table %I alter column %I drop not null;', e.tab, e.col)
from expected e join actual a using (tab, col) where e.is_written_null and a.attnotnull
union all
select format('%I.%I is a generated column', e.tab, e.col),
       -- Its values would stay as they were generated. A repair fills in the vectors that are missing.
       format('alter table %I alter column %I drop expression;', e.tab, e.col)
           || case when e.family = 'tsvector'
                   then format(' alter table %I alter column %I drop not null; update %I set %I = null;', e.tab, e.col,
                               e.tab, e.col) else '' end
from expected e join actual a using (tab, col) where a.attgenerated <> ''
order by 1;
