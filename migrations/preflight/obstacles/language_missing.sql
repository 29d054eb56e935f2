-- finds: The language of the functions is missing, or this role may not use it.
-- advice: A superuser installs it in this database.

select 'plpgsql' where not exists (
    select from pg_language where lanname = 'plpgsql' and has_language_privilege(oid, 'USAGE'));

-- remedy:
create extension if not exists plpgsql;
grant usage on language plpgsql to public;
