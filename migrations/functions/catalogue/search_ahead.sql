-- What the sweep counts ahead of users: the searches that take long to count for the first time, since a large part of
-- the items has their words. See sugang.frequent_searches.

-- A search is counted ahead if at least as many items match; at most as many searches of a kind are.
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

-- One sweep counts for about as long, in pieces of as many items.
create or replace function sugang.search_ahead_patience() returns interval language sql immutable as $$
    select interval '1 second'
$$;
create or replace function sugang.search_ahead_piece() returns bigint language sql immutable as $$
    select 10000::bigint
$$;

-- A count that is as old is brought up to date, a number of them in each sweep, so that a user's search has little left
-- to do, and no change is forgotten before.
create or replace function sugang.search_ahead_age() returns interval language sql immutable as $$
    select interval '1 minute'
$$;
create or replace function sugang.search_ahead_refreshed() returns bigint language sql immutable as $$
    select 50::bigint
$$;

-- Counting begins again no sooner, so that many large changes do not keep the sweep counting; and the words are chosen
-- again after a day.
create or replace function sugang.search_ahead_pause() returns interval language sql immutable as $$
    select interval '10 minutes'
$$;

-- By which sugang.search_counts knows a search. Not the hash of the query alone: a session may still count as it did
-- before V16.
create or replace function sugang.search_fingerprint(p_query tsquery) returns text
language sql immutable parallel safe as $$
    select md5('lexemes ' || p_query::text)
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
            from regexp_split_to_table(left(sugang.search_fold(p_text), 16000), '\s+') t
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
