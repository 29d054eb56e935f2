-- finds: The server does not accept changes: it is a standby, or the database is set to read-only.
-- advice: Migrate on the primary.

select 'the server is a standby' where pg_is_in_recovery()
union all
select 'transactions are read-only' where not pg_is_in_recovery() and current_setting('transaction_read_only') = 'on';
