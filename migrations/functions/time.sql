-- The times of the API: ISO 8601 in UTC, from year 1 to year 9999. PostgreSQL also knows times before and after, and
-- 'infinity' and '-infinity'. Rows keep them, comparisons and orders follow them, and the API shows the first or the
-- last time that it can write: what never ends is shown to end at 9999-12-31T23:59:59.999999Z.

create or replace function sugang.readable_time(timestamptz) returns timestamptz
language sql immutable parallel safe as $$
    select case when $1 < '0001-01-01 00:00:00+00' then '0001-01-01 00:00:00+00'
                when $1 > '9999-12-31 23:59:59.999999+00' then '9999-12-31 23:59:59.999999+00'
                else $1 end
$$;

-- A time as the Django service writes it, with microseconds only where they are not zero.
create or replace function sugang.iso(timestamptz) returns text language sql stable parallel safe as $$
    select replace(to_char(sugang.readable_time($1) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '')
        || 'Z'
$$;

-- When a day (YYYY-MM-DD) begins and when the next one does. The first and the last day have no such bound, so that
-- they contain all times that are shown as theirs.
create or replace function sugang.day_begin(p_day text) returns timestamptz language sql stable parallel safe as $$
    select (nullif(p_day, '0001-01-01') || ' 00:00:00+00')::timestamptz
$$;
create or replace function sugang.day_end(p_day text) returns timestamptz language sql stable parallel safe as $$
    select (nullif(p_day, '9999-12-31') || ' 00:00:00+00')::timestamptz + interval '24 hours'
$$;
