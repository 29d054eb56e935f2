-- One kind: the words of an item, for the Django service.
create or replace function sugang.{kind}_search_vector() returns trigger language plpgsql as $$
begin
    new.search_vector := sugang.item_words(new.title, new.description);
    return new;
end $$;
create or replace trigger sugang_search_vector before insert or update of title, description on {items}
    for each row execute function sugang.{kind}_search_vector();
