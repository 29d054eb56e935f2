-- Keeps and reads sugang.bucket_counts.

-- Adds the sign of each given item to its buckets, deletes buckets that are empty then, and invalidates the available
-- count, in the transaction of the change. Buckets are always locked in the same order, so two writers never deadlock
-- on them.
create or replace function sugang.add_to_bucket_counts(p_kind text, p_sign integer[], p_created timestamptz[],
                                                       p_start timestamptz[], p_end timestamptz[])
returns void language sql as $$
    with edges as (
        select 'created' as edge, at, sign from unnest(p_created, p_sign) s (at, sign)
        union all
        select e.edge, e.at, sign from unnest(p_start, p_end, p_sign) s (start_at, end_at, sign)
            cross join lateral (values ('start', s.start_at), ('end', s.end_at)) e (edge, at)
            where s.start_at <= s.end_at
    ), hours as (
        select edge, date_trunc('hour', sugang.readable_time(at), 'UTC') as bucket, sum(sign) as n from edges group by 1, 2
    )
    insert into sugang.bucket_counts (kind, edge, level, bucket, n)
        select p_kind, edge, level, date_trunc(level, bucket, 'UTC'), sum(n)
        from hours cross join (values ('month'), ('day'), ('hour')) l (level)
        group by 1, 2, 3, 4 having sum(n) <> 0 order by 2, 3, 4
    on conflict (kind, edge, level, bucket) do update set n = bucket_counts.n + excluded.n;
    -- Their rows are locked since the statement above. Without this, a period that moves leaves a row in each hour.
    delete from sugang.bucket_counts
        where -1 = any (p_sign) and kind = p_kind and n = 0
          and bucket = any (array(
              select distinct date_trunc(level, sugang.readable_time(at), 'UTC')
              from unnest(p_created || p_start || p_end, p_sign || p_sign || p_sign) s (at, sign)
              cross join (values ('month'), ('day'), ('hour')) l (level) where sign < 0));
    update sugang.available_counts set valid_from = 'infinity' where kind = p_kind;
$$;

-- For triggers. The first argument is the kind; the second one, after a statement, is the sign.
create or replace function sugang.bucket_counts_after_statement() returns trigger language plpgsql as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array_agg(tg_argv[1]::integer), array_agg(created_at),
                                        array_agg(start_at), array_agg(end_at)) from changed having count(*) > 0;
    return null;
end $$;
create or replace function sugang.bucket_counts_after_row() returns trigger language plpgsql as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array[-1, 1], array[old.created_at, new.created_at],
                                        array[old.start_at, new.start_at], array[old.end_at, new.end_at]);
    return null;
end $$;
create or replace function sugang.bucket_counts_after_truncate() returns trigger language plpgsql as $$
begin
    delete from sugang.bucket_counts where kind = tg_argv[0];
    update sugang.available_counts set valid_from = 'infinity' where kind = tg_argv[0];
    return null;
end $$;

-- The number of items whose edge is before the hour of p_at.
create or replace function sugang.count_before_hour(p_kind text, p_edge text, p_at timestamptz) returns bigint
language plpgsql stable as $$
declare
    this_month timestamptz := date_trunc('month', p_at, 'UTC');
    this_day   timestamptz := date_trunc('day', p_at, 'UTC');
    this_hour  timestamptz := date_trunc('hour', p_at, 'UTC');
begin
    return (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'month' and bucket < this_month)
         + (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'day' and bucket >= this_month and bucket < this_day)
         + (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'hour' and bucket >= this_day and bucket < this_hour);
end $$;

-- The number of all items.
create or replace function sugang.total_count(p_kind text) returns bigint language plpgsql stable as $$
begin
    return (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = 'created' and level = 'month');
end $$;

-- Finds the item at p_offset in newest-first order: it was created no later than created_until, after `skip` other
-- items of that hour. Nulls when there are fewer items.
create or replace function sugang.seek_newest(p_kind text, p_offset bigint, out created_until timestamptz,
                                              out skip bigint)
language plpgsql stable as $$
declare
    finer text;
    begins timestamptz := '-infinity'::timestamptz;
    created_before timestamptz := 'infinity'::timestamptz;
begin
    skip := p_offset;
    foreach finer in array array['month', 'day', 'hour'] loop
        select t.bucket, skip - (t.upto - t.n) into begins, skip from (
            select bucket, n, sum(n) over (order by bucket desc) as upto from sugang.bucket_counts
            where kind = p_kind and edge = 'created' and level = finer
              and bucket >= begins and bucket < created_before) t
        where t.upto > skip order by t.bucket desc limit 1;
        created_before := (begins at time zone 'UTC' + ('1 ' || finer)::interval) at time zone 'UTC';
    end loop;
    created_until := created_before - interval '1 microsecond';
    -- The last hour has all later times as well.
    if created_until >= sugang.readable_time('infinity') then created_until := 'infinity'; end if;
end $$;
