-- Frequent words as bitmaps of the items that have them, which the sweep makes and keeps: sugang.search_bitmap_sets.

-- A word has a bitmap if at least as many items match; at most as many words of a kind do.
create or replace function sugang.search_ahead_from() returns bigint language sql immutable as $$
    select 200000::bigint
$$;
create or replace function sugang.search_ahead_limit() returns bigint language sql immutable as $$
    select 200::bigint
$$;

-- How many items show which words are frequent.
create or replace function sugang.search_ahead_sample() returns bigint language sql immutable as $$
    select 2000::bigint
$$;

-- One sweep works at them for about this long, in pieces of this number of items.
create or replace function sugang.search_ahead_patience() returns interval language sql immutable as $$
    select interval '1 second'
$$;
create or replace function sugang.search_ahead_piece() returns bigint language sql immutable as $$
    select 10000::bigint
$$;

-- Bitmaps of this age are brought up to date, so that a user's search has little left to do, and no change is forgotten
-- before; for this number of items that have begun or ended at a time.
create or replace function sugang.search_ahead_age() returns interval language sql immutable as $$
    select interval '1 minute'
$$;
create or replace function sugang.search_ahead_edges() returns bigint language sql immutable as $$
    select 100000::bigint
$$;

-- Making them begins again no sooner, so that many large changes do not keep the sweep at it; and the words are chosen
-- again after a day.
create or replace function sugang.search_ahead_pause() returns interval language sql immutable as $$
    select interval '10 minutes'
$$;

-- Only where a block has this number of items on average: elsewhere bitmaps would take more room than the items.
create or replace function sugang.search_bitmap_density() returns bigint language sql immutable as $$
    select 1024::bigint
$$;

-- The bitmap without any item, the number of an item's bitmap, and the bitmap in which this item alone is.
create or replace function sugang.no_bits() returns bit varying language sql immutable parallel safe as $$
    select repeat('0', 8192)::bit varying
$$;
create or replace function sugang.block_of(p_item bigint) returns bigint language sql immutable parallel safe as $$
    select p_item >> 13
$$;
create or replace function sugang.bit_of(p_item bigint) returns bit varying language sql immutable parallel safe as $$
    select set_bit(sugang.no_bits()::bit(8192), (p_item & 8191)::integer, 1)
$$;

-- What users may type to find a text: each of its words without punctuation, each run of letters, digits or syllables,
-- and the beginnings and ends of a run of syllables, from two syllables on, with the run that they are part of.
create or replace function sugang.search_words(p_text text) returns table (word text, part_of text)
language plpgsql immutable parallel safe as $$
declare
    separators text := sugang.search_separators();
    syllables text := sugang.search_syllables();
begin
    return query
        with typed as (
            select regexp_replace(t, '^[' || separators || ']+|[' || separators || ']+$', '', 'g') as whole
            from regexp_split_to_table(left(sugang.search_fold(p_text), 16000), E'\\s+') t
        ), runs as (
            select m[1] as run, m[1] ~ ('^[' || syllables || ']') as is_of_syllables
            from typed, regexp_matches(whole, '[' || syllables || ']+|[0-9]+|[^0-9' || syllables || separators || ']+',
                                       'g') m
        )
        select whole, null from typed where length(whole) between 1 and 64
        union
        select run, null from runs where length(run) between 1 and 64
        union
        select part, run from runs cross join generate_series(2, least(length(run), 20) - 1) n
            cross join lateral (values (left(run, n)), (right(run, n))) parts (part)
            where is_of_syllables;
end $$;

-- A query as an SQL expression of the bitmaps b1, b2, ... of the given words; null when it has another word. The order
-- of words counts in a phrase, so a phrase is a word here.
create or replace function sugang.bitmap_expression(p_query text, p_words text[]) returns text
language plpgsql immutable strict parallel safe as $$
declare
    place integer := array_position(p_words, p_query);
    parts text[];
    terms text[];
    first integer := 1;
    last integer;
    term text;
    part text;
begin
    if place is not null then return 'b' || place; end if;
    foreach term in array array['|', '&'] loop
        parts := sugang.query_parts(p_query, term);
        exit when cardinality(parts) > 1;
    end loop;
    if cardinality(parts) > 1 then
        while first <= cardinality(parts) loop
            -- A word may consist of some of the parts.
            last := least(first + 3, cardinality(parts));
            while last > first and array_to_string(parts[first:last], ' ' || term || ' ') <> all (p_words) loop
                last := last - 1;
            end loop;
            part := sugang.bitmap_expression(array_to_string(parts[first:last], ' ' || term || ' '), p_words);
            if part is null then return null; end if;
            terms := terms || part;
            first := last + 1;
        end loop;
        return '(' || array_to_string(terms, ' ' || term || ' ') || ')';
    elsif p_query like '!%' then
        return '(~' || sugang.bitmap_expression(substr(p_query, 2), p_words) || ')';
    elsif p_query like '( % )' and cardinality(sugang.query_parts(p_query, '<->')) = 1 then
        return sugang.bitmap_expression(substr(p_query, 3, length(p_query) - 4), p_words);
    end if;
    return null;
end $$;

-- The set that searches use; nulls when there is none. A set from the future is not used: the clock was set back.
create or replace function sugang.search_bitmaps_in_use(p_kind text) returns sugang.search_bitmap_sets
language plpgsql as $$
declare
    in_use sugang.search_bitmap_sets;
begin
    -- A standby has no contents of an unlogged table, and refuses to read it.
    if pg_is_in_recovery() then return null; end if;
    select * into in_use from sugang.search_bitmap_sets
        where kind = p_kind and next_item_id is null and words <> '{}'
          and table_oid = 'sugang.search_bitmaps'::regclass and as_of <= clock_timestamp()
        order by begun_at desc limit 1;
    return in_use;
end $$;

-- Gives a set up, and remembers when it was begun.
create or replace function sugang.give_bitmaps_up(p_kind text, p_number integer) returns void language sql as $$
    delete from sugang.search_bitmaps where kind = p_kind and number = p_number;
    update sugang.search_bitmap_sets set words = '{}', next_item_id = null where kind = p_kind and number = p_number;
$$;
