-- Looks for the tables that the rows name, and for what may be one of them under another name or in another schema.

with expected (name, like_name) as ({rows})
select format('%s%s', e.name, ', there is ' || other.oid::regclass) as finding,
       case when other.relnamespace = 'public'::regnamespace
           then format('alter table %s rename to %I;', other.oid::regclass, e.name)
           else format('alter table %s set schema public;', other.oid::regclass) end as remedy
from expected e
left join lateral (
    select c.oid, c.relnamespace from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname not like 'pg\_%' and n.nspname not in ('information_schema', 'sugang')
      and (c.relname = e.name or n.nspname = 'public' and c.relname like e.like_name)
    order by c.relname = e.name desc, c.relname limit 1) other on true
where to_regclass('public.' || e.name) is null
order by 1;
