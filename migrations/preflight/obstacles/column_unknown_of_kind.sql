-- finds: A column that this service does not know must be filled, and has no default: no row could be inserted.
-- advice: Give the column a default that suits what it holds.

select format('%I.%I', c.relname, a.attname) as finding,
       format('alter table %I alter column %I %s;', c.relname, a.attname,
              case t.typcategory when 'S' then 'set default ''''' when 'N' then 'set default 0'
                  when 'B' then 'set default false' when 'D' then 'set default now()' else 'drop not null' end)
                  as remedy
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
  and a.attnotnull and not a.atthasdef and a.attidentity = ''
  and c.relname = '{registrations}'
  and a.attname not in ('id', 'user_id', '{item_id}', 'status', '{registered_at}')
order by 1;
