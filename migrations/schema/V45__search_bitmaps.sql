-- Frequent words as bitmaps of the items that have them: any search that combines such words is counted in
-- milliseconds. Unlogged like sugang.search_counts: what a crash empties is made again.

-- At most two for each kind: one that is in use, and one that is being made.
create unlogged table sugang.search_bitmap_sets (
    kind text not null,
    number integer not null,
    begun_at timestamptz not null, -- when its words were chosen
    words tsquery[] not null, -- by their places; empty for a set that is given up
    -- What its bitmaps include, and at what time the items are available.
    snapshot pg_snapshot not null,
    as_of timestamptz not null,
    next_item_id bigint, -- the first item that they do not include yet; null when they include all
    -- of sugang.search_bitmaps; another one in a restored dump, where the snapshot means nothing
    table_oid oid not null,
    primary key (kind, number)
);

-- 8,192 items with neighboring ids, of which those are set that have the word. So short that a page has room for
-- several, and some is left for new versions.
create unlogged table sugang.search_bitmaps (
    kind text not null,
    number integer not null,
    place integer not null, -- of the word; 0 for all items that are shown, -1 for those that are available
    block bigint not null,
    bits bit varying not null,
    primary key (kind, number, place, block)
) with (fillfactor = 80);

-- What had their counts.
-- squawk-ignore ban-drop-table
drop table sugang.frequent_searches;
delete from sugang.search_counts where query like 'ahead %';
