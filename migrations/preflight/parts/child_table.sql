-- Looks for tables that inherit from those that the rows name.

with tables (tab) as ({rows})
select format('%s inherits from %s', i.inhrelid::regclass, c.oid::regclass) as finding,
       format('alter table %s no inherit %s;', i.inhrelid::regclass, c.oid::regclass) as remedy
from tables t
join pg_class c on c.oid = to_regclass('public.' || t.tab) and c.relkind = 'r'
join pg_inherits i on i.inhparent = c.oid
order by 1;
