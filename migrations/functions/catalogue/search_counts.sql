-- What the counts of searches for all kinds have in common. See sugang.search_counts.

-- Up to this number the count of a search is exact. Above it, the count may be as old as search_count_max_age().
create or replace function sugang.search_count_exact_limit() returns bigint language sql immutable as $$
    select 1000::bigint
$$;
create or replace function sugang.search_count_max_age() returns interval language sql immutable as $$
    select interval '30 seconds'
$$;

-- A statement that has counted for this long goes on in pieces of as many items, and ends with the next one: however
-- slowly the table is read, a request then leaves what it has counted to the next one.
create or replace function sugang.search_count_patience() returns interval language sql immutable as $$
    select interval '3 seconds'
$$;
create or replace function sugang.search_count_piece() returns bigint language sql immutable as $$
    select 100000::bigint
$$;

-- A count up to search_count_exact_limit() that took longer is kept, and adjusted for each request.
create or replace function sugang.search_count_cheap() returns interval language sql immutable as $$
    select interval '0.1 seconds'
$$;

-- Where a word has many matches and at most this number of items has not ended, these are looked up among the words. A
-- count is not adjusted but taken again where more items have begun or ended since.
create or replace function sugang.search_count_look_ups() returns bigint language sql immutable as $$
    select 20000::bigint
$$;

-- Ends a count that takes too long. The argument, a column, makes PostgreSQL ask for each match.
create or replace function sugang.search_count_is_late(p_item bigint) returns boolean
language plpgsql parallel safe as $$
begin
    raise sqlstate 'SG002'
        using message = format('counting takes too long, and goes on in pieces: it has come to item %s', p_item);
end $$;

-- A count that has not been refreshed for this long is deleted.
create or replace function sugang.search_count_lifetime() returns interval language sql immutable as $$
    select interval '1 day'
$$;

-- The parts of a query, in its text, between the given operator. Blanks separate the operators and occur in no word.
create or replace function sugang.query_parts(p_query text, p_operator text) returns text[]
language plpgsql immutable parallel safe as $$
declare
    parts text[] := array[null];
    depth integer := 0;
    piece text;
begin
    foreach piece in array string_to_array(p_query, ' ') loop
        if depth = 0 and piece = p_operator then
            parts := parts || null::text;
        else
            parts[cardinality(parts)] := concat_ws(' ', parts[cardinality(parts)], piece);
            depth := depth + length(replace(piece, ')', '')) - length(replace(piece, '(', ''));
        end if;
    end loop;
    return parts;
end $$;

-- A search that only excludes terms matches nearly every row, and no index helps to count that. So the rows that it
-- excludes are counted: this returns the search for them, and null for any other search.
create or replace function sugang.negated_terms(p_query tsquery) returns tsquery language plpgsql immutable as $$
declare
    parts text[];
begin
    -- 'T': no term is required.
    if querytree(p_query) <> 'T' or cardinality(sugang.query_parts(p_query::text, '|')) > 1 then return null; end if;
    parts := sugang.query_parts(p_query::text, '&');
    if exists (select from unnest(parts) part where part not like '!%') then return null; end if;
    return (select string_agg(substr(part, 2), ' | ' order by n) from unnest(parts) with ordinality p (part, n))::tsquery;
end $$;

-- By which sugang.search_counts knows a search. Not the hash of the query alone: a session may still count as it did
-- before V16.
create or replace function sugang.search_fingerprint(p_query tsquery) returns text
language sql immutable parallel safe as $$
    select md5('lexemes ' || p_query::text)
$$;

-- The stored count of a search, whatever its age; nulls when there is none. One that is not complete, or so small that
-- it must be exact, is too old to show. A count from the future is none: the clock was set back. Volatile, so that it
-- sees what was committed before.
create or replace function sugang.stored_search_count(p_kind text, p_available boolean, p_fingerprint text)
returns sugang.search_counts language plpgsql as $$
declare
    known sugang.search_counts;
begin
    -- A standby has no contents of an unlogged table, and refuses to read it.
    if pg_is_in_recovery() then return null; end if;
    select * into known from sugang.search_counts
        where kind = p_kind and available = p_available and query = p_fingerprint and table_oid = tableoid
          and counted_at > clock_timestamp() - sugang.search_count_lifetime()
          and greatest(counted_at, as_of) <= clock_timestamp();
    if known.next_item_id is not null or known.n <= sugang.search_count_exact_limit() then
        known.counted_at := '-infinity';
    end if;
    return known;
end $$;

-- Deletes expired counts, all but the latest 10,000, and then the changes that no remaining count needs.
create or replace function sugang.prune_search_counts(p_kind text) returns void language plpgsql as $$
begin
    -- One at a time; another session prunes soon enough.
    if not pg_try_advisory_xact_lock(hashtextextended('prune_search_counts ' || p_kind, 0)) then return; end if;
    delete from sugang.search_counts
        where kind = p_kind
          and (table_oid <> tableoid or counted_at < clock_timestamp() - sugang.search_count_lifetime()
              or greatest(counted_at, as_of) > clock_timestamp()
              or counted_at < (select counted_at from sugang.search_counts where kind = p_kind
                               order by counted_at desc offset 10000 limit 1));
    perform sugang.prune_search_changes(p_kind);
end $$;

-- Deletes the changes that every count and bitmap includes, and all but the latest 10,000: a count that needs an older
-- one is taken again. A count that is being taken may not include them, so the last pruned change stays as a marker
-- for all before it. Writers call this too: it locks no row of sugang.search_counts, since a search would wait for
-- that.
create or replace function sugang.prune_search_changes(p_kind text) returns void language plpgsql as $$
declare
    needed xid8;
begin
    if not sugang.keeps_counts()
            or not pg_try_advisory_xact_lock(hashtextextended('prune_search_changes ' || p_kind, 0)) then
        return;
    end if;
    needed := greatest(
        least((select pg_snapshot_xmin(snapshot) from sugang.search_counts
               where kind = p_kind and table_oid = tableoid
                 and counted_at > clock_timestamp() - sugang.search_count_lifetime()
                 and counted_at <= clock_timestamp()
               order by 1 limit 1),
              (select pg_snapshot_xmin(snapshot) from sugang.search_bitmap_sets
               where kind = p_kind and words <> '{}' and table_oid = 'sugang.search_bitmaps'::regclass
                 and as_of between clock_timestamp() - sugang.search_count_lifetime() and clock_timestamp()
               order by 1 limit 1),
              pg_snapshot_xmin(pg_current_snapshot())),
        (select xid from sugang.search_changes where kind = p_kind order by xid desc offset 10000 limit 1));
    with pruned as (
        -- A change of a future transaction comes from a restored dump. This transaction's own may look like one.
        delete from sugang.search_changes
            where kind = p_kind
              and (xid < needed or xid >= pg_snapshot_xmax(pg_current_snapshot())
                  and xid is distinct from pg_current_xact_id_if_assigned()) returning xid)
    insert into sugang.search_changes (kind, xid, sign)
        select p_kind, xid, 0 from pruned where xid < needed order by xid desc limit 1;
end $$;
