-- Looks for the tables that the rows name and that are partitioned.

with tables (tab) as ({rows})
select c.oid::regclass::text as finding
from tables t join pg_class c on c.oid = to_regclass('public.' || t.tab) and c.relkind = 'p'
order by 1;
