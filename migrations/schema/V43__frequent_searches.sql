-- The searches that the sweep counts ahead of users. Unlogged like sugang.search_counts, which has their counts: what a
-- crash empties is counted again.
create unlogged table sugang.frequent_searches (
    kind text primary key,
    begun_at timestamptz not null, -- when their words were chosen
    words tsquery[] not null
);

-- When a user's search last needed the count, for what users search for is counted ahead as well.
alter table sugang.search_counts add column searched_at timestamptz;
