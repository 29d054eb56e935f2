-- finds: The database uses a name that this service needs for something of its own.
-- advice: Rename what has it. The Django service must then use the new name.

with migrated as (
    select
        exists(select from pg_trigger where tgrelid = to_regclass('public.{items}') and tgname like 'sugang\_%')
            as done,
        exists(select from pg_index where indrelid = to_regclass('public.{items}')
               and pg_get_expr(indpred, indrelid) like '%hidden%') as hides
)
select format('%s has a column %s', attrelid::regclass, attname) as finding,
       format('alter table %s rename column %s to django_%s;', attrelid::regclass, attname, attname) as remedy
from pg_attribute, migrated
where attrelid = to_regclass('public.{items}')
  and (attname = 'capacity' and not done or attname = 'hidden' and not hides)
union all
select format('there is an index %s', c.oid::regclass),
       format('alter index %s rename to %I;', c.oid::regclass, 'django_' || c.relname)
from pg_class c, migrated
where c.relnamespace = 'public'::regnamespace and c.relkind in ('i', 'I') and not done
  and c.relname in ('{items}_newest', '{items}_end', '{items}_hidden', '{items}_unsearchable',
                    '{registrations}_{item_id}')
union all
select format('%s has a constraint %I', conrelid::regclass, conname),
       format('alter table %s rename constraint %I to %I;', conrelid::regclass, conname, 'django_' || conname)
from pg_constraint, migrated
where connamespace = 'public'::regnamespace and not done
  and conname in ('{items}_capacity_positive', '{items}_capacity_kept', '{registrations}_status_known')
order by 1;
