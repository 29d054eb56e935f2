-- finds: A view reads payments.object_id, whose type becomes bigint. PostgreSQL changes no column that a view reads.
-- advice: Keep the view's definition (`\d+ view` in psql), and create the view again after the migration.

select v.oid::regclass::text as finding,
       format('drop %s if exists %s cascade;', case v.relkind when 'm' then 'materialized view' else 'view' end,
              v.oid::regclass) as remedy
from pg_attribute a
join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid and d.refobjsubid = a.attnum
    and d.classid = 'pg_rewrite'::regclass
join pg_rewrite r on r.oid = d.objid
join pg_class v on v.oid = r.ev_class
where a.attrelid = to_regclass('public.payments') and a.attname = 'object_id' and a.atttypid = 'integer'::regtype
group by v.oid, v.relkind order by 1;
