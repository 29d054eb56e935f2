-- finds: This role lacks a right that the migration needs.
-- advice: Run this as the owner of the database, or migrate as that role.

select format('%I may not create a schema in this database', current_user) as finding,
       format('grant create on database %I to %I;', current_database(), current_user) as remedy
where to_regnamespace('sugang') is null and not has_database_privilege(current_database(), 'CREATE')
union all
select format('%I may not create objects in the schema %I', current_user, nspname),
       format('grant usage, create on schema %I to %I;', nspname, current_user)
from pg_namespace where nspname in ('public', 'sugang')
    and not (has_schema_privilege(oid, 'USAGE') and has_schema_privilege(oid, 'CREATE'))
union all
select format('%I does not own the schema sugang', current_user),
       format('alter schema sugang owner to %I;', current_user)
from pg_namespace where nspname = 'sugang' and not pg_has_role(nspowner, 'USAGE');
