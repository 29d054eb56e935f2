-- finds: This role does not own a table that the migration changes.
-- advice: Run this as the present owner or as a superuser, or migrate as the owner. The Django service's own role keeps
-- its rights only if it is this role, or a member of it, or is granted them.

select format('%s is owned by %I', c.oid::regclass, pg_get_userbyid(c.relowner)) as finding,
       format('alter table %s owner to %I;', c.oid::regclass, current_user) as remedy
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
  and c.relname in ('users', 'payments', 'django_content_type') and not pg_has_role(c.relowner, 'USAGE')
order by 1;
