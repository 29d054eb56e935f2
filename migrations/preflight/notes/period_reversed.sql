-- finds: Items end before they start. They are never available.
-- advice: Where the two were swapped, this swaps them back.

select format('{kind} %s: %s to %s', id, start_at, end_at) from {items} where end_at < start_at order by id;

-- remedy:
update {items} set start_at = end_at, end_at = start_at where end_at < start_at;
