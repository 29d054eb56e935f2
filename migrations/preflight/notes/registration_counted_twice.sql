-- finds: A trigger of the database itself seems to count registrations: its function names {items} and
-- registration_count.
-- advice: This service counts every registration, whichever program writes it. Such a trigger counts it once more, so
-- that an item is full while half of its seats are free. Read the function before you drop its trigger. After that,
-- `select sugang.recount_{kind}()` corrects what was counted since the migration.

select format('trigger %I on {registrations}, by %s', t.tgname, t.tgfoid::regprocedure) as finding,
       format('drop trigger %I on {registrations};', t.tgname) as remedy
from pg_trigger t
join pg_proc p on p.oid = t.tgfoid
where t.tgrelid = to_regclass('public.{registrations}') and not t.tgisinternal and t.tgenabled in ('O', 'A')
  and p.pronamespace is distinct from to_regnamespace('sugang')
  and p.prosrc ~* '\m{items}\M' and p.prosrc ~* '\mregistration_count\M'
order by t.tgname;
