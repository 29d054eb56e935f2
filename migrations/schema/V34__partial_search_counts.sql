-- The count of a search may be taken in pieces, along the order of the list, so that a request which runs out of time
-- leaves what it has counted to the next one.

alter table sugang.search_counts
    -- The first item that is not counted yet; null when all are.
    add column next_created_at timestamptz,
    add column next_item_id bigint;

-- The place of the item decides whether it is counted already.
alter table sugang.search_changes
    add column created_at timestamptz,
    add column item_id bigint;
