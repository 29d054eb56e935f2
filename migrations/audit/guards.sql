-- What guards the data, against what the last migration wrote down. Another version of PostgreSQL may write the same
-- definition in another way: then only what is missing is found.

-- check: guards
-- advice: Run `update sugang.migrations set hash = '' where script = 'functions'` and then `migrate` for functions
-- and triggers. Create the others again as in migrations/expanded/schema.sql.
with recorded as (
    select * from sugang.schema_definitions where kind <> 'server'
), there as (
    select * from sugang.current_definitions()
), comparable as (
    select count(*) > 0 as definitions from sugang.schema_definitions
    where kind = 'server' and definition = sugang.server_major()
)
select concat_ws(' ', r.kind, r.name, 'on ' || nullif(r.relation, ''),
                 case when c.name is null then 'is missing' else 'is not what it was' end)
from recorded r
left join there c using (kind, relation, name)
cross join comparable
where c.name is null
   or c.definition like 'disabled%' or c.definition like 'on replicas%' or c.definition like '% invalid'
   or definitions and c.definition <> r.definition
      and c.definition || ' NOT VALID' <> r.definition and r.definition <> 'not validated'
union all
select concat_ws(' ', 'trigger', c.name, 'on', c.relation, 'is unknown')
from there c left join recorded r using (kind, relation, name)
where c.kind = 'trigger' and c.relation like 'sugang.%' and r.name is null
union all
select concat_ws(' ', o.kind, o.name, 'was not recorded') from sugang.schema_objects o
where o.kind in ('function', 'trigger', 'constraint', 'index')
  and not exists (select from recorded r where (r.kind, r.relation, r.name) = (o.kind, o.relation, o.name))
union all
select concat_ws(' ', 'table', inhrelid::regclass, 'adds rows to', inhparent::regclass)
from pg_inherits join sugang.guarded_tables() g on g.relation = inhparent
where not (select relkind = 'p' from pg_class where oid = inhparent)
union all
select concat_ws(' ', setting, 'is set for', coalesce((select rolname from pg_roles where oid = setrole), 'every role'))
from pg_db_role_setting cross join unnest(setconfig) setting
where setdatabase in (0, (select oid from pg_database where datname = current_database()))
  and setting like 'session\_replication\_role=%' and setting not like '%=origin';

-- Its owner and superusers can change the history, whatever is granted.
-- check: audit_log_rights
-- advice: revoke update, delete, truncate, trigger on sugang.audit_log, sugang.audit_seals, sugang.change_log,
-- sugang.ledger from <role>;
select concat_ws(' ', coalesce(quote_ident(rolname), 'public'), 'may', lower(privilege_type), relation)
from unnest(array['sugang.audit_log', 'sugang.audit_seals', 'sugang.change_log', 'sugang.ledger']) relation
join pg_class c on c.oid = relation::regclass
cross join lateral aclexplode(c.relacl) a
left join pg_roles on pg_roles.oid = a.grantee
where privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
  and a.grantee <> c.relowner and not coalesce(rolsuper, false);
