-- How many seats are neither registered nor held by an order; null for no limit. A capacity that was lowered below what
-- is taken leaves none. PostgreSQL inlines it.
create or replace function sugang.seats_left(p_capacity integer, p_registered integer, p_held integer) returns integer
language sql immutable parallel safe as $$
    select p_capacity - least(p_registered + p_held, p_capacity)
$$;
