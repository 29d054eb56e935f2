-- Exact counts that stay cheap as the tables grow. functions/catalogue/ has what keeps and reads them.

-- The number of items that are created, start and end in each hour, day and month (UTC). A count "until now" is a sum
-- over months, the days of one month, the hours of one day, and a part of one hour; the same sums find the hour at
-- which page 25,000 begins. Ten years are 120 months, so the sums stay short. An item that ends before it starts is
-- never available and counts under 'created' only.
create table sugang.bucket_counts (
    kind text not null,
    edge text not null, -- 'created', 'start', 'end'
    level text not null, -- 'month', 'day', 'hour'
    bucket timestamptz not null, -- when it begins
    n bigint not null,
    primary key (kind, edge, level, bucket)
);

-- The number of available items stays the same until the next period begins or ends, unless an item is written. So it
-- is kept until then.
create table sugang.available_counts (
    kind text primary key,
    n bigint,
    valid_from timestamptz not null default 'infinity',
    valid_until timestamptz not null default 'infinity' -- exclusive
);

-- The count of a search for a frequent word, adjusted by the changes since it was taken: the cost depends on the number
-- of changes, not on the number of rows. A count holds the snapshot that it has seen, a change holds its transaction:
-- each change is counted once, in whatever order transactions commit. Both tables are unlogged: after a crash they are
-- empty, and the next search counts.
create unlogged table sugang.search_counts (
    kind text not null,
    available boolean not null,
    query text not null, -- its hash: a long search does not fit into an index entry
    n bigint not null,
    as_of timestamptz not null, -- the time for which `available` was decided
    snapshot pg_snapshot not null, -- the changes that `n` includes
    counted_at timestamptz not null,
    table_oid oid not null, -- this table's; another one in a restored dump, where the snapshot means nothing
    primary key (kind, available, query)
);

-- The changes of items that a search can see. An update is a removal (-1) and an addition (1).
create unlogged table sugang.search_changes (
    kind text not null,
    xid xid8 not null default pg_current_xact_id(),
    sign integer, -- null: too many to list; 0: this change and all before it have been pruned
    search_vector tsvector,
    start_at timestamptz,
    end_at timestamptz
);
create index search_changes_xid on sugang.search_changes (kind, xid);
