-- finds: A sequence is behind the ids of its table, so that the next row would get an id that exists, or ends before
-- the ids do.
-- repair: Set to the largest id, and to the range of the column.
-- query: sequences

select '{items}', max(id) from {items}
union all
select '{registrations}', max(id) from {registrations};
