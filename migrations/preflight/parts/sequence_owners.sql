-- Looks for sequences that number the ids of the tables that the rows name, and belong to no column.

with numbered (tab) as ({rows})
select format('%s is not owned by %I.id', s.oid::regclass, n.tab) as finding,
       format('alter sequence %s owned by %I.id;', s.oid::regclass, n.tab) as remedy
from numbered n
join pg_class c on c.oid = to_regclass('public.' || n.tab)
join pg_attribute a on a.attrelid = c.oid and a.attname = 'id'
join pg_attrdef f on f.adrelid = c.oid and f.adnum = a.attnum
join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refclassid = 'pg_class'::regclass
-- PostgreSQL lets a sequence be owned by a table of the same owner and schema.
join pg_class s
    on s.oid = d.refobjid and s.relkind = 'S' and (s.relowner, s.relnamespace) = (c.relowner, c.relnamespace)
where not exists (
    select from pg_depend o
    where o.classid = 'pg_class'::regclass and o.objid = s.oid and o.refclassid = 'pg_class'::regclass
      and o.deptype in ('a', 'i'))
order by 1;
