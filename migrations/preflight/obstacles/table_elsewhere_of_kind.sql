-- finds: The Django service has this kind in another schema, together with its table of content types.
-- advice: This moves the table here, with its rows, indexes and sequence.
-- query: table_missing

-- Without that table here, only the tables themselves tell of the kind.
select c.relname::text, ''
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relname in ('{items}', '{registrations}') and n.nspname not like 'pg\_%'
  and n.nspname not in ('public', 'information_schema', 'sugang')
  and to_regclass('public.django_content_type') is null
  and exists (select from pg_class where relname = 'django_migrations' and relkind = 'r')
group by 1;
