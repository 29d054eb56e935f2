-- One kind: the number of items that are available now, kept in sugang.available_counts.

create or replace function sugang.{kind}_available_count(p_now timestamptz) returns bigint
language plpgsql stable as $$
declare
    known bigint;
begin
    select n into known from sugang.available_counts
        where kind = '{kind}' and valid_from <= p_now and p_now < valid_until
          and not exists (select from sugang.bucket_changes where kind = '{kind}');
    return coalesce(known, sugang.{kind}_count_available(p_now));
end $$;

-- Counts the items that have started less those that have ended, and keeps the result until the next one starts or
-- ends. Volatile, so that each statement sees what was committed before it. On a large table the planner expects a
-- statement that reads a few rows to read many; compiling it or starting parallel workers would take longer than the
-- rows.
create or replace function sugang.{kind}_count_available(p_now timestamptz) returns bigint
language plpgsql set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    this_hour timestamptz := date_trunc('hour', p_now, 'UTC');
    counted bigint;
    keeps boolean := false;
    is_folded boolean;
begin
    -- While this row is locked, no change is folded, so the count belongs to the buckets as they are until then. Without
    -- the lock nothing is kept: another request counts, or changes are being folded.
    if sugang.keeps_counts() then
        perform from sugang.available_counts where kind = '{kind}' for update skip locked;
        keeps := found;
    end if;
    if keeps then perform sugang.fold_bucket_changes('{kind}'); end if;
    select sugang.count_before_hour('{kind}', 'start', p_now) - sugang.count_before_hour('{kind}', 'end', p_now)
        + (select count(*) from {items}
           where not hidden and start_at >= this_hour and start_at <= p_now and start_at <= end_at)
        - (select count(*) from {items}
           where not hidden and end_at >= this_hour and end_at < p_now and start_at <= end_at),
        not exists (select from sugang.bucket_changes where kind = '{kind}')
        into counted, is_folded;
    -- The count is kept until any item starts: looking for one that is shown might pass by many that are hidden.
    if keeps and is_folded then
        update sugang.available_counts
            set n = counted,
                valid_from = greatest('-infinity',
                                      (select max(start_at) from {items} where start_at <= p_now),
                                      (select max(end_at) from {items} where not hidden and end_at < p_now)
                                          + interval '1 microsecond'),
                valid_until = least((select min(start_at) from {items} where start_at > p_now),
                                    sugang.readable_time((select min(end_at) from {items}
                                                          where not hidden and end_at >= p_now))
                                        + interval '1 microsecond', 'infinity')
            where kind = '{kind}';
        -- A count that is lost in a crash is taken again.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    return counted;
end $$;
