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
  and (c.relname = 'users' and a.attname not in (
          'id', 'email', 'username', 'password', 'is_active', 'last_login', 'is_superuser', 'is_staff', 'first_name',
          'last_name', 'date_joined')
      or c.relname = 'payments' and a.attname not in (
          'id', 'user_id', 'payment_type', 'content_type_id', 'object_id', 'amount', 'payment_method',
          'external_transaction_id', 'status', 'paid_at', 'search_vector', 'target_title', 'registration_id',
          'registration_time')
      or c.relname = 'django_content_type' and a.attname not in ('id', 'app_label', 'model'))
order by 1;
