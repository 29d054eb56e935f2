-- A time as the Django service writes it: ISO 8601 in UTC, with microseconds only where they are not zero.
create or replace function sugang.iso(timestamptz) returns text language sql stable parallel safe as $$
    select replace(to_char($1 at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z'
$$;
