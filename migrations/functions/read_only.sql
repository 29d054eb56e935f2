-- Whether the database takes no changes: a standby, or a primary that an operator has set so. Functions that only keep
-- something for later requests then leave that out; every other change is refused by PostgreSQL.
create or replace function sugang.is_read_only() returns boolean language sql stable as $$
    select current_setting('transaction_read_only') = 'on'
$$;
