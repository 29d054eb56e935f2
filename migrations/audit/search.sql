-- check: search_table
-- advice: select sugang.recount_{kind}(); lists them again.
select coalesce(i.id, s.item_id)::text
from (select id, created_at from {items} where not hidden) i
full join sugang.{kind}_search s on s.item_id = i.id
where (i.id, i.created_at) is distinct from (s.item_id, s.created_at);

-- Of the latest 10,000 items and about 10,000 others: to make all of them again takes minutes on a large table.
-- check: search_vector
-- advice: Write the item again, as in: update {items} set title = title || ' ' where id = <id>; and back.
with looked_at as (
    (select id from {items} order by id desc limit 10000)
    union
    select id from {items}
    where random() < (select 10000 / greatest(reltuples, 1) from pg_class where oid = '{items}'::regclass)
)
select i.id::text
from looked_at join {items} i using (id) left join sugang.{kind}_search s on s.item_id = i.id
where s.item_id is not null and s.search_vector is distinct from sugang.search_vector(i.title, i.description)
   or i.search_vector is null
   -- Another program may have filled in more of a long description.
   or coalesce(length(i.description), 0) <= 120000
      and i.search_vector <> sugang.item_words(i.title, i.description);

-- check: search_vector_of_payment
-- advice: Write the title again: update payments set target_title = target_title || ' ' where id = <id>; and back.
with looked_at as (
    (select id from payments order by id desc limit 10000)
    union
    select id from payments
    where random() < (select 10000 / greatest(reltuples, 1) from pg_class where oid = 'payments'::regclass)
)
select p.id::text
from looked_at join payments p using (id)
where p.target_title is not null
  and (p.search_vector is distinct from to_tsvector('simple', p.target_title)
       or p.title_vector <> sugang.search_vector(p.target_title, null));
