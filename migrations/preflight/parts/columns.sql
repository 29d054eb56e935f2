-- Compares the columns that the rows name with those that are there.

with expected (tab, col, family, shown, definition) as ({rows}), actual as (
    select c.relname::text as tab, a.attname::text as col, t.typname, t.typcategory, a.atttypmod, a.attgenerated,
           format_type(a.atttypid, a.atttypmod) as shown
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
), unnamed as (
    -- A column that has another name is recognized where it is the only one of its type.
    select tab, shown, min(col) as col from actual
    where (tab, col) not in (select tab, col from expected) group by 1, 2 having count(*) = 1
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
       format('alter table %I alter column %I drop default, alter column %I type %s using %s;', e.tab, e.col, e.col,
              e.shown, case when a.typname = 'timestamp' then format('%I at time zone ''UTC''', e.col)
                            else format('%I::%s', e.col, e.shown) end)
from expected e join actual a using (tab, col)
where not case e.family
    when 'text' then a.typcategory = 'S'
    when 'integer' then a.typname in ('int4', 'int8')
    when 'money' then a.typname = 'numeric' and a.atttypmod <> -1 and (a.atttypmod - 4) & 2047 = 2
    else a.typname = e.family end
union all
select format('%I.%I is a generated column', e.tab, e.col),
       -- Its values would stay as they were generated. A repair fills in the vectors that are missing.
       format('alter table %I alter column %I drop expression;', e.tab, e.col)
           || case when e.family = 'tsvector' then format(' update %I set %I = null;', e.tab, e.col) else '' end
from expected e join actual a using (tab, col) where a.attgenerated <> ''
order by 1;
