-- finds: Items have a negative price, or one that is not a number.
-- advice: This drops the sign. A price that is not a number becomes one that no client pays: set the right one.

select format('{kind} %s: %s', id, price) from {items}
where price is not null and (price >= 0 and price < 'Infinity') is not true order by id;

-- remedy:
update {items} set price = case when price < 0 and price > '-Infinity' then -price else 99999999.99 end
where (price >= 0 and price < 'Infinity') is not true;
