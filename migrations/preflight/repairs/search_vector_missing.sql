-- finds: Items have no search_vector, so that no search finds them.
-- repair: Filled in.

select '{kind} ' || id from {items} where search_vector is null order by id;

-- remedy:
update {items}
set search_vector = setweight(to_tsvector('simple', coalesce(title, '')), 'A')
                 || setweight(to_tsvector('simple', coalesce(description, '')), 'B'),
    title = title
where search_vector is null;
