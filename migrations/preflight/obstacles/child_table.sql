-- finds: A table inherits from a table of this service, which therefore has its rows as well: its keys do not hold.
-- advice: This takes the rows of that table out of this service, and keeps them in that table.

select format('%s inherits from %s', i.inhrelid::regclass, c.oid::regclass) as finding,
       format('alter table %s no inherit %s;', i.inhrelid::regclass, c.oid::regclass) as remedy
from pg_inherits i
join pg_class c on c.oid = i.inhparent
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
  and c.relname in ('users', 'payments', 'django_content_type')
order by 1;
