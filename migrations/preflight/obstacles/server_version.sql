-- finds: PostgreSQL is too old: version 15 or newer is needed.
-- advice: Upgrade the server (pg_upgrade), or restore a dump of this database on a newer one.

select 'PostgreSQL ' || current_setting('server_version')
where current_setting('server_version_num')::integer < 150000;
