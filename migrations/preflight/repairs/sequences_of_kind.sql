-- finds: A sequence is behind the ids of its table: the next row would get an id that exists.
-- repair: Set to the largest id.
-- query: sequences

select '{items}', max(id) from {items}
union all
select '{registrations}', max(id) from {registrations};
