-- The count of a search for a frequent word is kept, and corrected by what has changed since: it takes as long as there are
-- changes, and not as there are rows.
--
-- A kept count says which changes it knows, as a snapshot; a change says in which transaction it was made. So whatever the
-- order in which transactions end, each change is counted once. All of it is unlogged: after a crash nothing is known, and
-- the next search counts.

drop table sugang.search_counts;
create unlogged table sugang.search_counts (
    kind       text not null,
    available  boolean not null,
    query      text not null,        -- a hash of it: a long search would not fit into the index
    n          bigint not null,
    moment     timestamptz not null, -- of `available`
    knows      pg_snapshot not null,
    counted_at timestamptz not null,
    home       oid not null,         -- this table, unless it was restored from a dump: then snapshots mean nothing
    primary key (kind, available, query)
);

-- What was written to items, but for what no search looks at. An update is a removal (-1) and an addition (1).
create unlogged table sugang.search_changes (
    kind          text not null,
    xid           xid8 not null default pg_current_xact_id(),
    sign          integer,           -- null: many at once; 0: this one and those before it are forgotten
    search_vector tsvector,
    start_at      timestamptz,
    end_at        timestamptz
);
create index search_changes_xid on sugang.search_changes (kind, xid);

-- For how long a count is kept that nobody asks for.
create function sugang.search_count_kept() returns interval language sql immutable as $$ select interval '1 day' $$;

-- What is known of a search, whatever its age; nulls for nothing. Volatile, so that it sees what was committed before it.
create function sugang.search_known(p_kind text, p_available boolean, p_fingerprint text) returns sugang.search_counts
language plpgsql as $$
declare
    known sugang.search_counts;
begin
    select * into known from sugang.search_counts
        where kind = p_kind and available = p_available and query = p_fingerprint and home = tableoid
          and counted_at > clock_timestamp() - sugang.search_count_kept();
    return known;
end $$;

-- For triggers: TG_ARGV is the kind and the sign. To write down more changes than this would take longer than to count.
create function sugang.search_changed() returns trigger language plpgsql as $$
begin
    if exists (select from changed offset 1000) then
        insert into sugang.search_changes (kind) values (tg_argv[0]);
    else
        insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
            select tg_argv[0], tg_argv[1]::integer, search_vector, start_at, end_at from changed;
    end if;
    return null;
end $$;
create function sugang.search_changed_row() returns trigger language plpgsql as $$
begin
    insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
        values (tg_argv[0], -1, old.search_vector, old.start_at, old.end_at),
               (tg_argv[0], 1, new.search_vector, new.start_at, new.end_at);
    return null;
end $$;
create function sugang.search_truncated() returns trigger language plpgsql as $$
begin
    insert into sugang.search_changes (kind) values (tg_argv[0]);
    return null;
end $$;

-- Forgets counts that nobody asks for (and all but the last 10,000), and the changes that every kept count knows. A count that was under way meanwhile
-- may not know them: what was forgotten last stands for all of them.
create function sugang.search_forget(p_kind text) returns void language plpgsql as $$
declare
    needed xid8;
begin
    -- One at a time; the next time is soon enough for others.
    if not pg_try_advisory_xact_lock(hashtextextended('search_forget ' || p_kind, 0)) then return; end if;
    delete from sugang.search_counts
        where kind = p_kind and (home <> tableoid or counted_at < clock_timestamp() - sugang.search_count_kept()
              or counted_at < (select counted_at from sugang.search_counts where kind = p_kind
                               order by counted_at desc offset 10000 limit 1));
    needed := coalesce((select pg_snapshot_xmin(knows) from sugang.search_counts where kind = p_kind
                        order by 1 limit 1), pg_snapshot_xmin(pg_current_snapshot()));
    with forgotten as (
        -- One that is of the future comes from a dump.
        delete from sugang.search_changes
            where kind = p_kind and (xid < needed or xid >= pg_snapshot_xmax(pg_current_snapshot())) returning xid)
    insert into sugang.search_changes (kind, xid, sign)
        select p_kind, xid, 0 from forgotten where xid < needed order by xid desc limit 1;
end $$;

call sugang.define('search_changes', $template$
    create trigger sugang_search_insert after insert on {items} referencing new table as changed
        for each statement execute function sugang.search_changed('{kind}', '1');
    create trigger sugang_search_delete after delete on {items} referencing old table as changed
        for each statement execute function sugang.search_changed('{kind}', '-1');
    create trigger sugang_search_update after update of title, description, search_vector, start_at, end_at on {items}
        for each row when ((old.search_vector, old.start_at, old.end_at)
                           is distinct from (new.search_vector, new.start_at, new.end_at))
        execute function sugang.search_changed_row('{kind}');
    create trigger sugang_search_truncate after truncate on {items}
        for each statement execute function sugang.search_truncated('{kind}');

    -- The count that is known, corrected to p_moment, and the snapshot of which it now knows. Nulls where it cannot be
    -- corrected. Comparing with `is true` keeps the index of the words out of it: the periods are the fewer.
    create or replace function sugang.{kind}_search_corrected(p_known sugang.search_counts, p_query tsquery,
                                                              p_moment timestamptz, out n bigint, out knows pg_snapshot)
    language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
    set max_parallel_workers_per_gather = 0 as $f$
    begin
        select p_known.n
            + coalesce(sum(c.sign) filter (
                where c.search_vector @@ p_query and (not p_known.available
                    or (c.start_at <= p_known.moment and c.end_at >= p_known.moment))), 0)
            + case when p_known.available then
                (select count(*) from {items}
                 where start_at > p_known.moment and start_at <= p_moment and start_at <= end_at
                   and (search_vector @@ p_query) is true)
              - (select count(*) from {items}
                 where end_at >= p_known.moment and end_at < p_moment and start_at <= end_at
                   and (search_vector @@ p_query) is true)
              else 0 end,
            pg_current_snapshot()
            into n, knows
            from sugang.search_changes c
            where c.kind = '{kind}' and c.xid >= pg_snapshot_xmin(p_known.knows)
              and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, p_known.knows))
            having coalesce(bool_and(c.sign <> 0), true) and count(*) = count(c.sign);
    end $f$;

    -- On a long table a statement that reads a few rows is planned as if it read many, and worth compiling, or worth two
    -- more processes: either takes longer than the rows.
    alter function sugang.{kind}_available_anew(timestamptz) set jit = off;
    alter function sugang.{kind}_available_anew(timestamptz) set max_parallel_workers_per_gather = 0;
    alter function sugang.{kind}_newest(boolean, tsquery, bigint, bigint, timestamptz)
        set max_parallel_workers_per_gather = 0;
    alter function sugang.{kind}_popular(boolean, tsquery, bigint, bigint, timestamptz)
        set max_parallel_workers_per_gather = 0;
    alter function sugang.{kind}_matching(boolean, tsquery, boolean, bigint, timestamptz)
        set max_parallel_workers_per_gather = 0;
$template$);

call sugang.define('search_count', $template$
    -- As in V10, but that a count which is too old is corrected, and counted anew only where that cannot be.
    create or replace function sugang.{kind}_search_count(p_available boolean, p_query tsquery, p_now timestamptz)
    returns bigint language plpgsql
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '32MB' set jit = off as $f$
    declare
        fingerprint text := md5(p_query::text);
        lock_key bigint := hashtextextended('{kind} ' || p_available || ' ' || p_query::text, 0);
        left_out tsquery := sugang.left_out(p_query);
        known sugang.search_counts;
        begun timestamptz;
        found_n bigint;
        knows_now pg_snapshot;
    begin
        if left_out is not null then
            found_n := case when p_available then sugang.{kind}_available(p_now) else sugang.tally_total('{kind}') end
                - (select count(*) from {items} where search_vector is null
                   and (not p_available or (start_at <= p_now and end_at >= p_now)))
                - sugang.{kind}_search_count(p_available, left_out, p_now);
            if found_n > sugang.search_exact() then return found_n; end if;
        end if;
        known := sugang.search_known('{kind}', p_available, fingerprint);
        -- One request counts before the count is too old to be shown, and nobody waits for it. Those who have nothing to
        -- show wait for the one who counts, and find what it found.
        if known.counted_at > clock_timestamp() - sugang.search_count_age() / 2 then return known.n; end if;
        if not pg_try_advisory_xact_lock(lock_key) then
            if known.counted_at > clock_timestamp() - sugang.search_count_age() then return known.n; end if;
            perform pg_advisory_xact_lock_shared(lock_key);
            known := sugang.search_known('{kind}', p_available, fingerprint);
            if known.counted_at > clock_timestamp() - sugang.search_count_age() then return known.n; end if;
        end if;
        begun := clock_timestamp();
        if known.n is not null then
            p_now := greatest(p_now, known.moment);
            select n, knows into found_n, knows_now from sugang.{kind}_search_corrected(known, p_query, p_now);
        -- A few are counted with a plan that is there already. (Where no word has to be there, looking for a few costs as
        -- much as counting all.)
        elsif querytree(p_query) <> 'T' then
            select count(*) into found_n from (
                select from {items}
                where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now))
                limit sugang.search_exact() + 1) probe;
            if found_n <= sugang.search_exact() then return found_n; end if;
        end if;
        if knows_now is null then
            -- Planned for these very words: to read the whole table at once is faster for some.
            perform set_config('enable_seqscan', 'on', true);
            execute 'select count(*), pg_current_snapshot() from {items}
                     where search_vector @@ $1 and (not $2 or (start_at <= $3 and end_at >= $3))'
                into found_n, knows_now using p_query, p_available, p_now;
        end if;
        -- Its own changes a transaction sees, and no snapshot tells.
        if pg_current_xact_id_if_assigned() is not null then return found_n; end if;
        if found_n > sugang.search_exact() then
            insert into sugang.search_counts (kind, available, query, n, moment, knows, counted_at, home)
                values ('{kind}', p_available, fingerprint, found_n, p_now, knows_now, begun,
                        'sugang.search_counts'::regclass)
                on conflict (kind, available, query) do update
                set n = excluded.n, moment = excluded.moment, knows = excluded.knows, counted_at = excluded.counted_at,
                    home = excluded.home;
        elsif known.n is not null then
            delete from sugang.search_counts
                where kind = '{kind}' and available = p_available and query = fingerprint;
        end if;
        if known.n is null or random() < 0.1 then perform sugang.search_forget('{kind}'); end if;
        return found_n;
    end $f$;
$template$);

alter function sugang.list_payments(bigint, bigint, text, text, text, text, text) set max_parallel_workers_per_gather = 0;
