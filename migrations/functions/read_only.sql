-- Whether the database takes no changes: a standby, or a primary that an operator has set so. Functions that only keep
-- something for later requests then leave that out; every other change is refused by PostgreSQL.
create or replace function sugang.is_read_only() returns boolean language sql stable as $$
    select current_setting('transaction_read_only') = 'on'
$$;

-- Whether this transaction keeps what it counts, for others. One that sees an old snapshot does not: PostgreSQL would
-- end it because of what others have kept since.
create or replace function sugang.keeps_counts() returns boolean language sql stable as $$
    select not sugang.is_read_only() and current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
$$;
