-- finds: Items have no search_vector, so that no search finds them.
-- repair: Filled in, with as much of the description as fits (sugang.item_words). V05 would refuse a longer one.

select '{kind} ' || id from {items} where search_vector is null order by id;

-- remedy:
update {items}
set search_vector = setweight(to_tsvector('simple', coalesce(title, '')), 'A')
                 || setweight(to_tsvector('simple', left(coalesce(description, ''), 120000)), 'B'),
    title = title
where search_vector is null;
