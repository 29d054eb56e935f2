-- One kind: how a search counts what it matches, at once, or in pieces where that takes too long. A piece is a stretch
-- of the order of the list, in which the rows of sugang.{kind}_search lie. It reads all of its rows, and not those
-- alone that match, so counting at once is faster.

-- Counts all matches, unless that takes until p_until or longer: then nulls. Planned for these very words: for some of
-- them reading the whole table is faster.
create or replace function sugang.{kind}_count_at_once(p_available boolean, p_query tsquery, p_as_of timestamptz,
                                                       p_until timestamptz, out n bigint, out snapshot pg_snapshot)
language plpgsql set enable_seqscan = on as $$
begin
    execute 'select count(*), pg_current_snapshot() from sugang.{kind}_search s'
        || case when p_available then ' join {items} i on (i.created_at, i.id) = (s.created_at, s.item_id)
                                          and not i.hidden and i.start_at <= $2 and i.end_at >= $2' else '' end
        || ' where s.search_vector @@ $1 and (clock_timestamp() < $3 or sugang.search_count_is_late(s.item_id))'
        into n, snapshot using p_query, p_as_of, p_until;
exception when sqlstate 'SG002' then
    return;
end $$;

-- Adds the next piece to a count. One statement both counts it and adjusts what is counted, so both have one snapshot.
-- The count is null when it cannot be adjusted.
create or replace function sugang.{kind}_count_piece(inout p_known sugang.search_counts, p_query tsquery,
                                                     p_as_of timestamptz)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
    end_created_at timestamptz;
    end_item_id bigint;
begin
    select created_at, item_id into end_created_at, end_item_id from sugang.{kind}_search
        where (created_at, item_id) >= (p_known.next_created_at, p_known.next_item_id)
        order by created_at, item_id offset sugang.search_count_piece() limit 1;
    execute 'select a.n + (select count(*) from sugang.{kind}_search s'
        || case when p_known.available then ' join {items} i on (i.created_at, i.id) = (s.created_at, s.item_id)
                                                and not i.hidden and i.start_at <= $3 and i.end_at >= $3' else '' end
        || ' where s.search_vector @@ $2 and (s.created_at, s.item_id) >= ($4, $5)'
        || case when end_item_id is not null then ' and (s.created_at, s.item_id) < ($6, $7)' else '' end
        || '), a.snapshot from sugang.{kind}_adjust_search_count($1, $2, $3) a'
        into p_known.n, p_known.snapshot
        using p_known, p_query, p_as_of, p_known.next_created_at, p_known.next_item_id, end_created_at, end_item_id;
    p_known.as_of := p_as_of;
    p_known.next_created_at := end_created_at;
    p_known.next_item_id := end_item_id;
end $$;

-- Counts pieces until none is left or p_until has passed. Begins again where nothing is counted, or that cannot be
-- adjusted.
create or replace function sugang.{kind}_count_pieces(inout p_known sugang.search_counts, p_available boolean,
                                                      p_query tsquery, p_as_of timestamptz, p_until timestamptz)
language plpgsql as $$
begin
    loop
        if p_known.n is null then
            p_known.available := p_available;
            p_known.n := 0;
            p_known.as_of := p_as_of;
            p_known.snapshot := pg_current_snapshot();
            p_known.next_created_at := '-infinity';
            p_known.next_item_id := -9223372036854775808;
        end if;
        p_known := sugang.{kind}_count_piece(p_known, p_query, p_as_of);
        exit when p_known.n is not null and (p_known.next_item_id is null or clock_timestamp() > p_until);
    end loop;
end $$;
