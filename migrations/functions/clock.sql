-- A clock can be wrong for a while: it jumps years ahead or back, and is set right hours later. What is deleted
-- meanwhile because it seems old is lost, so age is measured by a clock that follows a jump ahead two days later.

-- What the clock is known to have done, as of p_moment. A day since the latest look is a jump, or the service was idle:
-- then what is old is kept a little longer, which loses nothing.
create or replace function sugang.clock_at(p_known sugang.clock, p_moment timestamptz) returns sugang.clock
language plpgsql stable as $$
begin
    if p_moment >= p_known.jumped_at + interval '2 days' or p_moment < p_known.jumped_at then
        p_known.jumped_at := null;
        p_known.jumped_by := '0';
    end if;
    if p_moment >= p_known.seen_at + interval '1 day' then
        p_known.jumped_by := p_known.jumped_by + (p_moment - p_known.seen_at);
        p_known.jumped_at := p_moment;
    end if;
    p_known.seen_at := p_moment;
    return p_known;
end $$;

-- The time by which age is measured. Looks at the clock, and notes it once in an hour; no session waits for another
-- one's note.
create or replace function sugang.steady_now() returns timestamptz language plpgsql as $$
declare
    known sugang.clock;
    latest sugang.clock;
    moment timestamptz := clock_timestamp();
begin
    select * into known from sugang.clock;
    -- Nothing to note, and no jump to follow.
    if known.jumped_at is null and moment between known.seen_at and known.seen_at + interval '1 hour' then
        return moment;
    end if;
    latest := sugang.clock_at(known, moment);
    if moment not between known.seen_at and known.seen_at + interval '1 hour' and sugang.keeps_counts() then
        select * into known from sugang.clock for update skip locked;
        if found then
            latest := sugang.clock_at(known, moment);
            update sugang.clock
                set seen_at = latest.seen_at, jumped_at = latest.jumped_at, jumped_by = latest.jumped_by;
        end if;
    end if;
    return moment - latest.jumped_by;
end $$;
