-- finds: The Django service made this database, but a table is missing under its name.
-- advice: Rename the table that holds these rows. Without it the migration would begin with an empty one.

select format('%s%s', expected.name, ', there is ' || other.oid::regclass) as finding,
       case when other.relnamespace = 'public'::regnamespace
           then format('alter table %s rename to %I;', other.oid::regclass, expected.name)
           else format('alter table %s set schema public;', other.oid::regclass) end as remedy
from (values ('users', '%\_user'), ('payments', '%\_payment'), ('django_content_type', '')) expected (name, like_name)
left join lateral (
    select c.oid, c.relnamespace from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname not like 'pg\_%' and n.nspname not in ('information_schema', 'sugang')
      and (c.relname = expected.name or n.nspname = 'public' and c.relname like expected.like_name)
    order by c.relname = expected.name desc, c.relname limit 1) other on true
where to_regclass('public.' || expected.name) is null
  and exists (select from pg_class where relname = 'django_migrations' and relkind = 'r')
order by 1;
