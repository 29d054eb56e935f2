-- Keeps and reads sugang.bucket_counts.

-- Records that items come (sign 1) or go (-1) in sugang.bucket_changes, in the transaction of the change. It locks
-- nothing that another writer needs.
create or replace function sugang.add_to_bucket_counts(p_kind text, p_sign integer[], p_created timestamptz[],
                                                       p_start timestamptz[], p_end timestamptz[])
returns void language sql as $$
    -- What comes and goes at the same time cancels out before the hours are computed, which takes longer.
    with edges as materialized (
        select edge, at, sum(sign) as n from (
            select 'created' as edge, at, sign from unnest(p_created, p_sign) s (at, sign)
            union all
            select 'start', start_at, sign from unnest(p_start, p_end, p_sign) s (start_at, end_at, sign)
                where start_at <= end_at
            union all
            select 'end', end_at, sign from unnest(p_start, p_end, p_sign) s (start_at, end_at, sign)
                where start_at <= end_at) changed
        group by 1, 2 having sum(sign) <> 0
    )
    insert into sugang.bucket_changes (kind, edge, bucket, n)
        select p_kind, edge, date_trunc('hour', sugang.readable_time(at), 'UTC'), sum(n) from edges
        group by 2, 3 having sum(n) <> 0
        union all
        -- Also for a period that moves within its hours: what is available changes. The commit follows from this row.
        select p_kind, 'any', '-infinity', 0 where exists (select from edges);
$$;

-- For triggers. The first argument is the kind; the second one, after a statement, is the sign. A statement that leaves
-- all periods as they were records nothing. A hidden item counts as one that is not there.
create or replace function sugang.bucket_counts_after_statement() returns trigger language plpgsql as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array_agg(tg_argv[1]::integer), array_agg(created_at),
                                        array_agg(start_at), array_agg(end_at))
        from changed where not hidden having count(*) > 0;
    return null;
end $$;
create or replace function sugang.bucket_counts_after_update() returns trigger language plpgsql
set work_mem = '64MB' set jit = off as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array_agg(sign), array_agg(created_at), array_agg(start_at),
                                        array_agg(end_at)) from (
        select created_at, start_at, end_at, 1 as sign from added where not hidden
        union all
        select created_at, start_at, end_at, -1 from removed where not hidden) versions
        having count(*) > 0;
    return null;
end $$;
create or replace function sugang.bucket_counts_after_row() returns trigger language plpgsql as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array[old.hidden::integer - 1, 1 - new.hidden::integer],
                                        array[old.created_at, new.created_at], array[old.start_at, new.start_at],
                                        array[old.end_at, new.end_at]);
    return null;
end $$;
-- No item can be written meanwhile, so the changes of all others are visible.
create or replace function sugang.bucket_counts_after_truncate() returns trigger language plpgsql as $$
begin
    insert into sugang.bucket_changes (kind, edge, bucket, n)
        select tg_argv[0], edge, bucket, -sum(n) from (
            select edge, bucket, n from sugang.bucket_counts where kind = tg_argv[0] and level = 'hour'
            union all
            select edge, bucket, n from sugang.bucket_changes where kind = tg_argv[0]) counted
        group by 2, 3 having sum(n) <> 0
        union all
        select tg_argv[0], 'any', '-infinity', 0;
    return null;
end $$;

-- Adds the recorded changes to their buckets, deletes buckets that are empty then, and drops the kept count of
-- available items. It never waits: while another session holds the lock, the changes stay for the next one.
--
-- It works as its owner, as triggers do (roles.sql): readers call it, and may not write counts otherwise.
create or replace function sugang.fold_bucket_changes(p_kind text) returns void language plpgsql
security definer set search_path = public, pg_temp as $$
declare
    edges text[];
    levels text[];
    buckets timestamptz[];
begin
    if not sugang.keeps_counts() or not exists (select from sugang.bucket_changes where kind = p_kind) then
        return;
    end if;
    -- The lock of everything that writes sugang.bucket_counts or sugang.available_counts.
    perform from sugang.available_counts where kind = p_kind for update skip locked;
    if not found then return; end if;
    with changed as (
        delete from sugang.bucket_changes where kind = p_kind returning edge, bucket, n
    ), hours as (
        select edge, bucket, sum(n) as n from changed group by 1, 2 having sum(n) <> 0
    ), kept as (
        insert into sugang.bucket_counts (kind, edge, level, bucket, n)
            select p_kind, edge, level, date_trunc(level, bucket, 'UTC'), sum(n)
            from hours cross join (values ('month'), ('day'), ('hour')) l (level)
            group by 1, 2, 3, 4 having sum(n) <> 0
        on conflict (kind, edge, level, bucket) do update set n = bucket_counts.n + excluded.n
        returning edge, level, bucket, n
    )
    select array_agg(edge), array_agg(level), array_agg(bucket) into edges, levels, buckets from kept where n = 0;
    -- Without this, a period that moves leaves a row in each hour.
    if edges is not null then
        delete from sugang.bucket_counts b using unnest(edges, levels, buckets) e (edge, level, bucket)
            where b.kind = p_kind and (b.edge, b.level, b.bucket) = (e.edge, e.level, e.bucket);
    end if;
    update sugang.available_counts set valid_from = 'infinity' where kind = p_kind;
end $$;

-- At the commit, so that a transaction that stays open holds no lock.
create or replace function sugang.fold_bucket_changes_at_commit() returns trigger language plpgsql as $$
begin
    perform sugang.fold_bucket_changes(new.kind);
    return null;
end $$;
-- PostgreSQL cannot replace a constraint trigger, so it is made once.
do $$
begin
    if not exists (select from pg_trigger where tgrelid = 'sugang.bucket_changes'::regclass and tgname = 'fold') then
        create constraint trigger fold after insert on sugang.bucket_changes deferrable initially deferred
            for each row when (new.edge = 'any') execute function sugang.fold_bucket_changes_at_commit();
    end if;
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
            where kind = p_kind and edge = p_edge and level = 'hour' and bucket >= this_day and bucket < this_hour)
         + (select coalesce(sum(n), 0) from sugang.bucket_changes
            where kind = p_kind and edge = p_edge and bucket < this_hour);
end $$;

-- The number of all items.
create or replace function sugang.total_count(p_kind text) returns bigint language plpgsql stable as $$
declare
    counted bigint;
    changed bigint;
    changes bigint;
begin
    select coalesce(sum(n), 0), count(*) into changed, changes from sugang.bucket_changes
        where kind = p_kind and edge = 'created';
    counted := (select coalesce(sum(n), 0) from sugang.bucket_counts
                where kind = p_kind and edge = 'created' and level = 'month');
    -- They are many after a large change whose commit has met another one.
    if changes > 100 then perform sugang.fold_bucket_changes(p_kind); end if;
    return counted + changed;
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
            select bucket, sum(n) as n, sum(sum(n)) over (order by bucket desc) as upto from (
                select bucket, n from sugang.bucket_counts
                where kind = p_kind and edge = 'created' and level = finer
                  and bucket >= begins and bucket < created_before
                union all
                select date_trunc(finer, bucket, 'UTC'), n from sugang.bucket_changes
                where kind = p_kind and edge = 'created' and bucket >= begins and bucket < created_before) b
            group by bucket) t
        where t.upto > skip order by t.bucket desc limit 1;
        created_before := (begins at time zone 'UTC' + ('1 ' || finer)::interval) at time zone 'UTC';
    end loop;
    created_until := created_before - interval '1 microsecond';
    -- The last hour has all later times as well.
    if created_until >= sugang.readable_time('infinity') then created_until := 'infinity'; end if;
end $$;
