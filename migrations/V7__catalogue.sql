-- Lists and details of exams and courses: exact counts without counting, any page without reading those before it, and
-- a search that reads the fewest rows.

-- How many items are created, start and end in each hour, day and month (UTC). Any count "until now" is then a sum over
-- months, over the days of one month, over the hours of one day, and a thin slice of one hour; the same tells in which
-- hour page 25,000 begins. Ten years are 120 months: the sums stay short for as long as the service lives.
-- An item that ends before it starts is never available and counts under 'created' only.
create table sugang.tally (
    kind   text not null,
    edge   text not null,        -- 'created', 'start', 'end'
    level  text not null,        -- 'month', 'day', 'hour'
    bucket timestamptz not null, -- when it begins
    n      bigint not null,
    primary key (kind, edge, level, bucket)
);

-- Adds its sign for each of the given items. Buckets are always taken in the same order, so that two writers who meet
-- in them wait for each other and never form a circle.
create function sugang.tally_add(p_kind text, p_sign integer[], p_created timestamptz[], p_start timestamptz[],
                                 p_end timestamptz[]) returns void language sql as $$
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
    on conflict (kind, edge, level, bucket) do update set n = tally.n + excluded.n
$$;

-- For triggers: TG_ARGV is the kind and the sign.
create function sugang.tally_statement() returns trigger language plpgsql as $$
begin
    perform sugang.tally_add(tg_argv[0], array_agg(tg_argv[1]::integer), array_agg(created_at), array_agg(start_at),
                             array_agg(end_at)) from changed having count(*) > 0;
    return null;
end $$;
create function sugang.tally_row() returns trigger language plpgsql as $$
begin
    perform sugang.tally_add(tg_argv[0], array[-1, 1], array[old.created_at, new.created_at],
                             array[old.start_at, new.start_at], array[old.end_at, new.end_at]);
    return null;
end $$;
create function sugang.tally_truncate() returns trigger language plpgsql as $$
begin
    delete from sugang.tally where kind = tg_argv[0];
    return null;
end $$;

-- How many items have their edge before the hour of p_at.
create function sugang.tally_before_hour(p_kind text, p_edge text, p_at timestamptz) returns bigint
language plpgsql stable as $$
declare
    this_month timestamptz := date_trunc('month', p_at, 'UTC');
    this_day   timestamptz := date_trunc('day', p_at, 'UTC');
    this_hour  timestamptz := date_trunc('hour', p_at, 'UTC');
begin
    return (select coalesce(sum(n), 0) from sugang.tally
            where kind = p_kind and edge = p_edge and level = 'month' and bucket < this_month)
         + (select coalesce(sum(n), 0) from sugang.tally
            where kind = p_kind and edge = p_edge and level = 'day' and bucket >= this_month and bucket < this_day)
         + (select coalesce(sum(n), 0) from sugang.tally
            where kind = p_kind and edge = p_edge and level = 'hour' and bucket >= this_day and bucket < this_hour);
end $$;

create function sugang.tally_total(p_kind text) returns bigint language plpgsql stable as $$
begin
    return (select coalesce(sum(n), 0) from sugang.tally where kind = p_kind and edge = 'created' and level = 'month');
end $$;

-- In newest-first order: the item at p_offset was created before created_before, and skip items of that stretch come
-- before it. Nothing (nulls) when there are fewer items.
create function sugang.tally_seek(p_kind text, p_offset bigint, out created_before timestamptz, out skip bigint)
language plpgsql stable as $$
declare
    finer text;
    begins timestamptz := '-infinity';
begin
    created_before := 'infinity';
    skip := p_offset;
    foreach finer in array array['month', 'day', 'hour'] loop
        select t.bucket, skip - (t.upto - t.n) into begins, skip from (
            select bucket, n, sum(n) over (order by bucket desc) as upto from sugang.tally
            where kind = p_kind and edge = 'created' and level = finer
              and bucket >= begins and bucket < created_before) t
        where t.upto > skip order by t.bucket desc limit 1;
        created_before := (begins at time zone 'UTC' + ('1 ' || finer)::interval) at time zone 'UTC';
    end loop;
end $$;

-- The count of a search is exact up to sugang.search_exact(); above, it may be as old as sugang.search_count_age().
create function sugang.search_exact() returns bigint language sql immutable as $$ select 1000::bigint $$;
create function sugang.search_count_age() returns interval language sql immutable as $$ select interval '30 seconds' $$;
create unlogged table sugang.search_counts (
    kind       text not null,
    available  boolean not null,
    query      text not null, -- a hash of it: a long search would not fit into the index
    n          bigint not null,
    counted_at timestamptz not null default clock_timestamp(),
    primary key (kind, available, query)
);

-- A search that only leaves words out matches nearly everything, and no index helps to count that. What it leaves out is
-- counted instead: this is the search for it. Null for any other search.
create function sugang.left_out(p_query tsquery) returns tsquery language plpgsql immutable as $$
declare
    words text := p_query::text;
begin
    -- 'T': no word has to be there. Blanks are between the operators of a query, and in no word.
    if querytree(p_query) <> 'T' or words not like '!%' or words like '% | %' then return null; end if;
    words := replace(substr(words, 2), ' & !', ' | ');
    return case when words like '% & %' then null else words::tsquery end;
end $$;

call sugang.define('catalogue', $template$
    -- The order of the default list, with all that decides whether a row belongs to it: pages are found without
    -- touching the table.
    create index {items}_newest on {items} (created_at desc, id desc) include (start_at, end_at);
    -- For the slice of the hour that is under way.
    create index {items}_end on {items} (end_at) include (start_at);
    -- As the Django service has it, with the columns that make it enough by itself.
    drop index if exists idx_{item_index}_popular;
    create index idx_{item_index}_popular on {items} (registration_count desc, created_at desc, id desc)
        include (start_at, end_at);

    -- Rows that no search finds: none, unless somebody has switched the trigger off.
    create index {items}_unsearchable on {items} (id) where search_vector is null;

    -- Every search reads the entries that are pending: few enough not to show, and writers still share the work.
    alter index idx_{item_index}_search set (gin_pending_list_limit = 64);

    create trigger sugang_tally_insert after insert on {items} referencing new table as changed
        for each statement execute function sugang.tally_statement('{kind}', '1');
    create trigger sugang_tally_delete after delete on {items} referencing old table as changed
        for each statement execute function sugang.tally_statement('{kind}', '-1');
    -- For each row, because a statement's trigger would run on every change of registration_count.
    create trigger sugang_tally_update after update of created_at, start_at, end_at on {items} for each row
        when ((old.created_at, old.start_at, old.end_at) is distinct from (new.created_at, new.start_at, new.end_at))
        execute function sugang.tally_row('{kind}');
    create trigger sugang_tally_truncate after truncate on {items}
        for each statement execute function sugang.tally_truncate('{kind}');
    select sugang.tally_add('{kind}', array_agg(1), array_agg(created_at), array_agg(start_at), array_agg(end_at))
        from {items} having count(*) > 0;

    -- Those that have started less those that have ended.
    create or replace function sugang.{kind}_available(p_now timestamptz) returns bigint language plpgsql stable as $f$
    declare
        this_hour timestamptz := date_trunc('hour', p_now, 'UTC');
    begin
        return sugang.tally_before_hour('{kind}', 'start', p_now) - sugang.tally_before_hour('{kind}', 'end', p_now)
             + (select count(*) from {items} where start_at >= this_hour and start_at <= p_now and start_at <= end_at)
             - (select count(*) from {items} where end_at >= this_hour and end_at < p_now and start_at <= end_at);
    end $f$;

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
            -- Where no word has to be there, looking for a few costs as much as counting all.
            if querytree(p_query) <> 'T' then
                select count(*) into found_n from (
                    select from {items}
                    where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now))
                    limit sugang.search_exact() + 1) probe;
                if found_n <= sugang.search_exact() then return found_n; end if;
            end if;
            -- One counts; those who asked for the same meanwhile find what it found.
            perform pg_advisory_xact_lock(lock_key);
            select n into found_n from sugang.search_counts
                where kind = '{kind}' and available = p_available and query = fingerprint
                  and counted_at > clock_timestamp() - sugang.search_count_age();
            if found then return found_n; end if;
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

    -- The ids of one page, of p_count items. p_query null: no search, and p_count is exact; then a page in the second
    -- half is reached from the other end.
    create or replace function sugang.{kind}_newest(p_available boolean, p_query tsquery, p_offset bigint,
                                                    p_count bigint, p_now timestamptz)
    returns bigint[] language plpgsql stable
    set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off as $f$
    declare
        created_before timestamptz := 'infinity';
    begin
        if p_query is not null then
            -- Along the order until the page is full: bitmap scans are off because the planner cannot know that the
            -- word is frequent.
            return array(select id from {items}
                where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now))
                order by created_at desc, id desc offset p_offset limit sugang.page_size());
        end if;
        if p_available and p_offset > p_count / 2 then
            return array(select id from (
                select id, created_at from {items}
                where start_at <= p_now and end_at >= p_now
                order by created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
                limit least(p_count - p_offset, sugang.page_size())) page
                order by created_at desc, id desc);
        end if;
        if not p_available and p_offset > 0 then
            select * into created_before, p_offset from sugang.tally_seek('{kind}', p_offset);
        end if;
        return array(select id from {items}
            where created_at < created_before and (not p_available or (start_at <= p_now and end_at >= p_now))
            order by created_at desc, id desc offset p_offset limit sugang.page_size());
    end $f$;

    create or replace function sugang.{kind}_popular(p_available boolean, p_query tsquery, p_offset bigint,
                                                     p_count bigint, p_now timestamptz)
    returns bigint[] language plpgsql stable
    set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off as $f$
    begin
        if p_query is not null then
            return array(select id from {items}
                where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now))
                order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
        end if;
        if p_offset > p_count / 2 then
            return array(select id from (
                select id, created_at, registration_count from {items}
                where not p_available or (start_at <= p_now and end_at >= p_now)
                order by registration_count, created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
                limit least(p_count - p_offset, sugang.page_size())) page
                order by registration_count desc, created_at desc, id desc);
        end if;
        return array(select id from {items}
            where not p_available or (start_at <= p_now and end_at >= p_now)
            order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
    end $f$;

    -- All that match, sorted: for a search with few matches.
    create or replace function sugang.{kind}_matching(p_available boolean, p_query tsquery, p_popular boolean,
                                                      p_offset bigint, p_now timestamptz)
    returns bigint[] language plpgsql stable
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $f$
    begin
        return array(select id from {items}
            where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now))
            order by case when p_popular then registration_count end desc nulls last, created_at desc, id desc
            offset p_offset limit sugang.page_size());
    end $f$;

    -- The objects of the API, in the order of the ids, with commas between them.
    create or replace function sugang.{kind}_objects(p_user bigint, p_ids bigint[]) returns text
    language plpgsql stable as $f$
    begin
        return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
            select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
            join {items} i on i.id = wanted.id
            cross join lateral (select
                i.id, i.title, i.description, i.price::text as price,
                sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
                sugang.iso(i.created_at) as created_at,
                exists (select from {registrations} r
                        where r.user_id = p_user and r.{item_id} = i.id and r.status <> 'cancelled') as is_registered,
                i.registration_count, i.capacity, i.capacity - i.registration_count as remaining) o)
            page (o_ordinality, o));
    end $f$;

    -- Words without a letter or a digit draw a notice, which nobody reads, and over which a driver may stumble.
    create or replace function sugang.list_{kind}(p_user bigint, p_page bigint, p_available boolean, p_search text,
                                                  p_popular boolean)
    returns sugang.answer language plpgsql stable set plan_cache_mode = force_generic_plan
    set client_min_messages = warning as $f$
    declare
        a sugang.answer;
        ids bigint[];
        query tsquery;
        from_row bigint;
        asked_at timestamptz := now();
        refused text := sugang.refusal(p_user);
    begin
        if refused is not null then
            a.outcome := refused;
            return a;
        end if;
        if btrim(p_search) <> '' then
            query := websearch_to_tsquery('simple', p_search);
            a := sugang.paginate(sugang.{kind}_search_count(p_available, query, asked_at), p_page);
        elsif p_available then
            a := sugang.paginate(sugang.{kind}_available(asked_at), p_page);
        else
            a := sugang.paginate(sugang.tally_total('{kind}'), p_page);
        end if;
        if a.outcome is not null then return a; end if;
        from_row := (a.page - 1) * sugang.page_size();
        -- Whichever reads fewer rows: all that match, or the order until the page is full.
        if a.count = 0 then
            ids := '{}';
        elsif query is not null and a.count::float8 * a.count
                <= (from_row + sugang.page_size())::float8 * sugang.tally_total('{kind}') then
            ids := sugang.{kind}_matching(p_available, query, p_popular, from_row, asked_at);
        elsif p_popular then
            ids := sugang.{kind}_popular(p_available, query, from_row, a.count, asked_at);
        else
            ids := sugang.{kind}_newest(p_available, query, from_row, a.count, asked_at);
        end if;
        a.outcome := 'ok';
        a.body := '[' || coalesce(sugang.{kind}_objects(p_user, ids), '') || ']';
        return a;
    end $f$;

    create or replace function sugang.get_{kind}(p_user bigint, p_id bigint) returns sugang.answer
    language plpgsql stable set plan_cache_mode = force_generic_plan as $f$
    declare
        a sugang.answer;
    begin
        a.outcome := sugang.refusal(p_user);
        if a.outcome is not null then return a; end if;
        a.body := sugang.{kind}_objects(p_user, array[p_id]);
        a.outcome := case when a.body is null then 'not_found' else 'ok' end;
        return a;
    end $f$;
$template$);
