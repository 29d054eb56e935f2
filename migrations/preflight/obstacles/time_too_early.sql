-- finds: Items have a time in the first year that PostgreSQL knows, whose beginning it cannot compute.
-- advice: This makes it the time before all others.

select format('{kind} %s', id) from {items}
where least(nullif(start_at, '-infinity'), nullif(end_at, '-infinity'), nullif(created_at, '-infinity'))
    < '4713-01-01 00:00:00+00 BC' order by id;

-- remedy:
update {items}
set start_at = case when start_at < '4713-01-01 00:00:00+00 BC' then '-infinity' else start_at end,
    end_at = case when end_at < '4713-01-01 00:00:00+00 BC' then '-infinity' else end_at end,
    created_at = case when created_at < '4713-01-01 00:00:00+00 BC' then '-infinity' else created_at end
where least(start_at, end_at, created_at) < '4713-01-01 00:00:00+00 BC';
