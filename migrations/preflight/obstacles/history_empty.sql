-- finds: The table sugang.migrations is empty, although this service has used the database.
-- advice: It says which files have run, and nothing else does. Restore its rows from a backup, for example with
-- `pg_restore --data-only --table migrations`, or restore the whole database. Do not delete the schema sugang: it has
-- the history of payments.

select 'there is sugang.audit_log' as finding
where to_regclass('sugang.audit_log') is not null and not exists (select from sugang.migrations where script like 'V%');
