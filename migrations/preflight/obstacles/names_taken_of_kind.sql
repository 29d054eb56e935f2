-- finds: The database uses a name that this service needs for something of its own.
-- advice: Rename what has it. The Django service must then use the new name.

with migrated as (
    select
        exists(select from pg_trigger where tgrelid = to_regclass('public.{items}') and tgname like 'sugang\_%')
            as done,
        exists(select from pg_index where indrelid = to_regclass('public.{items}')
               and pg_get_expr(indpred, indrelid) like '%hidden%') as hides
)
select format('%s has a column %I', attrelid::regclass, attname) as finding,
       format('alter table %s rename column %I to %I;', attrelid::regclass, attname, 'django_' || attname) as remedy
from pg_attribute, migrated
where not attisdropped and (
    attrelid = to_regclass('public.{items}')
    and (attname in ('capacity', 'capacity_changed_at', 'seats_taken', 'held_count') and not done
         or attname = 'hidden' and not hides)
    or attrelid = to_regclass('public.{registrations}') and attname = 'history_entries' and not done)
union all
select format('there is an index %s', c.oid::regclass),
       format('alter index %s rename to %I;', c.oid::regclass, 'django_' || c.relname)
from pg_class c, migrated
where c.relnamespace = 'public'::regnamespace and c.relkind in ('i', 'I') and not done
  and c.relname in ('{items}_newest', '{items}_end', '{items}_hidden', '{items}_unsearchable',
                    '{registrations}_{item_id}')
union all
-- A name of the Django service, for something else than there: the migration changes it or takes it for its own.
select format('the index %s is of %s by %s', c.oid::regclass, x.indrelid::regclass, m.amname),
       format('alter index %s rename to %I;', c.oid::regclass, 'other_' || c.relname)
from pg_index x
join pg_class c on c.oid = x.indexrelid
join pg_am m on m.oid = c.relam
where c.relnamespace = 'public'::regnamespace
  and (c.relname in ('idx_{item_index}_dates', 'idx_{item_index}_created', 'idx_{item_index}_composite',
                     'idx_{item_index}_search', 'idx_{item_index}_popular')
       and (x.indrelid <> to_regclass('public.{items}')::oid
            or c.relname = 'idx_{item_index}_search' and m.amname <> 'gin')
       or c.relname in ('idx_{registration_index}_unique', 'idx_{registration_index}_status',
                        'idx_{registration_index}_user')
       and x.indrelid <> to_regclass('public.{registrations}')::oid)
union all
select format('%s has a constraint %I', conrelid::regclass, conname),
       format('alter table %s rename constraint %I to %I;', conrelid::regclass, conname, 'django_' || conname)
from pg_constraint, migrated
where not done
  and (conrelid = to_regclass('public.{items}') and conname in ('{items}_capacity_positive', '{items}_capacity_kept')
       or conrelid = to_regclass('public.{registrations}') and conname = '{registrations}_status_known')
order by 1;
