-- Looks for columns whose type is that of the tables' rows, as long as a table lacks the column that the row names.

with tables (tab, col) as ({rows})
select format('%s.%I has rows of %I', a.attrelid::regclass, a.attname, t.tab) as finding,
       case c.relkind
           when 'm' then format(E'drop materialized view if exists %s cascade;\n-- It was:\n-- %s', c.oid::regclass,
                                replace(pg_get_viewdef(c.oid), E'\n', E'\n-- '))
           else format('alter table %s alter column %I drop default, alter column %I type jsonb using to_jsonb(%I);',
                       c.oid::regclass, a.attname, a.attname, a.attname) end as remedy
from tables t
join pg_type y on y.typrelid = to_regclass('public.' || t.tab)
join pg_attribute a on a.atttypid in (y.oid, y.typarray) and not a.attisdropped
join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p', 'm')
where not exists (select from pg_attribute o where o.attrelid = y.typrelid and o.attname = t.col)
order by 1;
