-- The columns that a new row needs and that neither a request nor a default fills. What a request fills is what the
-- role may insert, so sugang.rights() is the list. Django gives a new column a default only while it adds it.
create or replace function sugang.required_columns() returns table (relation regclass, attribute name)
language sql stable set search_path = public as $$
    select attrelid::regclass, attname
    from (select to_regclass(r.relation) as relation, string_agg(r.columns, ',') as columns from sugang.rights() r
          where r.privilege = 'insert' group by 1) filled
    join pg_attribute on attrelid = filled.relation and attnum > 0 and not attisdropped
    join pg_type on pg_type.oid = atttypid
    where attnotnull and not atthasdef and attidentity = '' and attgenerated = '' and typdefault is null
      and attname <> all (string_to_array(columns, ','))
      -- A trigger of another program may fill it.
      and not exists (
          select from pg_trigger join pg_proc on pg_proc.oid = tgfoid
          where tgrelid = attrelid and not tgisinternal and tgenabled in ('O', 'A')
            -- Before each row that is inserted.
            and tgtype & 7 = 7 and pronamespace <> 'sugang'::regnamespace
            -- That of Django's search fills its vector alone.
            and prosrc !~ '(search_vector|tsvector_update_trigger)')
$$;
