-- One kind: the words of an item, those of the title before those of the description.
create or replace function sugang.{kind}_search_vector() returns trigger language plpgsql as $$
begin
    new.search_vector := setweight(to_tsvector('simple', coalesce(new.title, '')), 'A')
                      || setweight(to_tsvector('simple', coalesce(new.description, '')), 'B');
    return new;
end $$;
create or replace trigger sugang_search_vector before insert or update of title, description on {items}
    for each row execute function sugang.{kind}_search_vector();
