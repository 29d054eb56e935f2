-- finds: An address or a name of users has a collation that is not deterministic. PostgreSQL has no indexes of prefixes
-- with it.
-- advice: This service itself keeps addresses unique without regard to case. A lookup of the Django service that relies
-- on the collation must then ignore case by itself (`email__iexact`).

select format('users.%s has the collation %s', a.attname, a.attcollation::regcollation),
       concat((select string_agg(d.remedy, E'\n' order by d.finding) || E'\n' from ({dependents}) d
               where (d.tab, d.col) = ('users', a.attname::text)),
              format('alter table users alter column %I type %s collate "default";', a.attname,
                     format_type(a.atttypid, a.atttypmod)))
from pg_attribute a
join pg_collation c on c.oid = a.attcollation
where a.attrelid = to_regclass('public.users') and a.attname in ('email', 'username') and not a.attisdropped
  and not c.collisdeterministic
order by a.attname;
