-- finds: Something reads payments.object_id, whose type becomes bigint. PostgreSQL changes no such column.
-- advice: This drops it, and keeps its definition as a comment: create it again after the migration. Look at its grants
-- before, and at the indexes, rules and triggers of a view (`\d+` in psql).

select finding, remedy
from ({dependents}) d
where (tab, col) = ('payments', 'object_id') and exists (
    select from pg_attribute
    where attrelid = to_regclass('public.payments') and attname = 'object_id' and atttypid = 'integer'::regtype)
order by 1;
