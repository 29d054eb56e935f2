-- One kind: fewer and cheaper index entries. A registration, and a period that moves, write a new version of an item,
-- and with it an entry to every index of {items}.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

-- Only the Django service reads this index; its own merged 4 MB of entries at a time. To merge 64 kB took most of the
-- time that the index costs a writer. The merge of 1 MB delays its writer by about 10 ms.
alter index idx_{item_index}_search set (gin_pending_list_limit = 1024);

-- Both had the same first columns, one for the items that are shown and one for all. Now idx_{item_index}_dates serves
-- both, and finds dates for the Django service, which knows no hidden items. The other one keeps the name that Django's
-- migrations know. Replacing them locks the table as an alter table {items} does.
drop index if exists idx_{item_index}_dates, idx_{item_index}_composite;
create index idx_{item_index}_dates on {items} (start_at, end_at) include (hidden);
create index idx_{item_index}_composite on {items} (start_at, end_at, created_at desc) where hidden;
