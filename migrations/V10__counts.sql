-- Counts that cost little however long the tables get.

-- How many items are available is asked much more often than it changes. Between two moments at which a period begins or
-- ends it stays the same, unless somebody writes an item. So it is kept until the next such moment.

create table sugang.available_counts (
    kind        text primary key,
    n           bigint,
    valid_from  timestamptz not null default 'infinity',
    valid_until timestamptz not null default 'infinity'  -- without this moment
);

-- Whoever changes a period forgets the count, in the transaction of the change. (As in V7 otherwise.)
create or replace function sugang.tally_add(p_kind text, p_sign integer[], p_created timestamptz[],
                                            p_start timestamptz[], p_end timestamptz[]) returns void language sql as $$
    with edges as (
        select 'created' as edge, at, sign from unnest(p_created, p_sign) s (at, sign)
        union all
        select e.edge, e.at, sign from unnest(p_start, p_end, p_sign) s (start_at, end_at, sign)
            cross join lateral (values ('start', s.start_at), ('end', s.end_at)) e (edge, at)
            where s.start_at <= s.end_at
    ), hours as (
        select edge, date_trunc('hour', at, 'UTC') as bucket, sum(sign) as n from edges group by 1, 2
    )
    insert into sugang.tally (kind, edge, level, bucket, n)
        select p_kind, edge, level, date_trunc(level, bucket, 'UTC'), sum(n)
        from hours cross join (values ('month'), ('day'), ('hour')) l (level)
        group by 1, 2, 3, 4 having sum(n) <> 0 order by 2, 3, 4
    on conflict (kind, edge, level, bucket) do update set n = tally.n + excluded.n;
    update sugang.available_counts set valid_from = 'infinity' where kind = p_kind;
$$;
create or replace function sugang.tally_truncate() returns trigger language plpgsql as $$
begin
    delete from sugang.tally where kind = tg_argv[0];
    update sugang.available_counts set valid_from = 'infinity' where kind = tg_argv[0];
    return null;
end $$;

call sugang.define('available', $template$
    insert into sugang.available_counts (kind) values ('{kind}') on conflict do nothing;

    create or replace function sugang.{kind}_available(p_now timestamptz) returns bigint language plpgsql stable as $f$
    declare
        known bigint;
    begin
        select n into known from sugang.available_counts
            where kind = '{kind}' and valid_from <= p_now and p_now < valid_until;
        return coalesce(known, sugang.{kind}_available_anew(p_now));
    end $f$;

    -- Those that have started less those that have ended; kept until the next one does. Volatile, so that each statement
    -- sees what was committed before it.
    create or replace function sugang.{kind}_available_anew(p_now timestamptz) returns bigint language plpgsql as $f$
    declare
        this_hour timestamptz := date_trunc('hour', p_now, 'UTC');
        counted bigint;
        keeps boolean;
    begin
        -- Under the lock of the row nobody has forgotten the count who would not do so after it is kept. Whoever does not
        -- get the lock at once keeps nothing: another one does, or a writer is at work.
        perform from sugang.available_counts where kind = '{kind}' for update skip locked;
        keeps := found;
        counted := sugang.tally_before_hour('{kind}', 'start', p_now) - sugang.tally_before_hour('{kind}', 'end', p_now)
            + (select count(*) from {items} where start_at >= this_hour and start_at <= p_now and start_at <= end_at)
            - (select count(*) from {items} where end_at >= this_hour and end_at < p_now and start_at <= end_at);
        if keeps then
            update sugang.available_counts
                set n = counted,
                    valid_from = greatest('-infinity', (select max(start_at) from {items} where start_at <= p_now),
                                          (select max(end_at) from {items} where end_at < p_now)
                                              + interval '1 microsecond'),
                    valid_until = least((select min(start_at) from {items} where start_at > p_now),
                                        (select min(end_at) from {items} where end_at >= p_now)
                                            + interval '1 microsecond', 'infinity')
                where kind = '{kind}';
            -- What is lost with a crash is counted anew.
            perform set_config('synchronous_commit', 'off', true);
        end if;
        return counted;
    end $f$;
$template$);

call sugang.define('search_count', $template$
    -- As in V7, but for who waits: of many who ask for the same words at once, one counts, and none looks for a few before.
    create or replace function sugang.{kind}_search_count(p_available boolean, p_query tsquery, p_now timestamptz)
    returns bigint language plpgsql
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '32MB' as $f$
    declare
        fingerprint text := md5(p_query::text);
        lock_key bigint := hashtextextended('{kind} ' || p_available || ' ' || p_query::text, 0);
        left_out tsquery := sugang.left_out(p_query);
        found_n bigint;
        found_at timestamptz;
    begin
        if left_out is not null then
            found_n := case when p_available then sugang.{kind}_available(p_now) else sugang.tally_total('{kind}') end
                - (select count(*) from {items} where search_vector is null
                   and (not p_available or (start_at <= p_now and end_at >= p_now)))
                - sugang.{kind}_search_count(p_available, left_out, p_now);
            if found_n > sugang.search_exact() then return found_n; end if;
        end if;
        select n, counted_at into found_n, found_at from sugang.search_counts
            where kind = '{kind}' and available = p_available and query = fingerprint
              and counted_at > clock_timestamp() - sugang.search_count_age();
        -- One request counts anew before the count is too old to be shown; nobody waits for it.
        if found and (found_at > clock_timestamp() - sugang.search_count_age() / 2
                      or not pg_try_advisory_xact_lock(lock_key)) then
            return found_n;
        end if;
        if not found then
            -- One counts; those who ask for the same meanwhile wait and find what it found.
            if not pg_try_advisory_xact_lock(lock_key) then
                perform pg_advisory_xact_lock_shared(lock_key);
                select n into found_n from sugang.search_counts
                    where kind = '{kind}' and available = p_available and query = fingerprint
                      and counted_at > clock_timestamp() - sugang.search_count_age();
                if found then return found_n; end if;
            end if;
            -- A few are counted with a plan that is there already. (Where no word has to be there, looking for a few costs
            -- as much as counting all.)
            if querytree(p_query) <> 'T' then
                select count(*) into found_n from (
                    select from {items}
                    where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now))
                    limit sugang.search_exact() + 1) probe;
                if found_n <= sugang.search_exact() then return found_n; end if;
            end if;
        end if;
        -- Planned for these very words: to read the whole table at once is faster for some.
        perform set_config('enable_seqscan', 'on', true);
        execute 'select count(*) from {items}
                 where search_vector @@ $1 and (not $2 or (start_at <= $3 and end_at >= $3))'
            into found_n using p_query, p_available, p_now;
        if found_n <= sugang.search_exact() then return found_n; end if;
        delete from sugang.search_counts where counted_at < clock_timestamp() - sugang.search_count_age();
        insert into sugang.search_counts (kind, available, query, n)
            values ('{kind}', p_available, fingerprint, found_n)
            on conflict (kind, available, query) do update set n = excluded.n, counted_at = excluded.counted_at;
        return found_n;
    end $f$;
$template$);

-- Days are UTC days, and both belong. As in V9, but that a long history costs no more than a short one: a page is read
-- along the index in the order of the list, never all and sorted, and the count of all reads nothing but the index.
create or replace function sugang.list_payments(p_user bigint, p_page bigint, p_status text, p_type text, p_from text, p_to text,
                                     p_search text)
returns sugang.answer language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning set enable_bitmapscan = off set enable_sort = off as $$
declare
    a sugang.answer;
    found_n bigint;
    query tsquery;
    not_before timestamptz := (p_from || ' 00:00:00+00')::timestamptz;
    before timestamptz := (p_to || ' 00:00:00+00')::timestamptz + interval '24 hours';
    refused text := sugang.refusal(p_user);
begin
    if refused is not null then
        a.outcome := refused;
        return a;
    end if;
    if btrim(p_search) <> '' then query := websearch_to_tsquery('simple', p_search); end if;
    if coalesce(p_status, p_type, p_from, p_to, query::text) is null then
        select count(*) into found_n from payments where user_id = p_user;
    else
        select count(*) into found_n from payments
            where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or payment_type = p_type)
              and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
              and (query is null or search_vector @@ query);
    end if;
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(object, ',' order by paid_at desc, id desc) from (
        select * from payments
        where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or payment_type = p_type)
          and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
          and (query is null or search_vector @@ query)
        order by paid_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) p, sugang.payment_object(p)), '') || ']';
    return a;
end $$;
