-- finds: A table is partitioned. This service sets options of indexes that partitioned ones do not have, and its keys
-- leave out the column by which the rows are parted.
-- advice: Copy the rows to a table without partitions (`create table … (like … including all)`), and give that one the
-- name, and the foreign keys, which such a copy leaves out.
-- query: partitioned_table

values ('{items}'), ('{registrations}');
