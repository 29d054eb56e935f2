-- Keeps payments.title_vector, whatever writes the title.
create or replace function sugang.payment_title() returns trigger language plpgsql as $$
begin
    new.title_vector := sugang.search_vector(new.target_title, null);
    if tg_op = 'UPDATE' then new.search_vector := to_tsvector('simple', coalesce(new.target_title, '')); end if;
    return new;
end $$;
-- After sugang_payment_snapshot, which fills the title: triggers run in the order of their names.
create or replace trigger sugang_payment_title_insert before insert on payments
    for each row when (new.title_vector is null) execute function sugang.payment_title();
create or replace trigger sugang_payment_title_update before update of target_title on payments
    for each row when (old.target_title is distinct from new.target_title) execute function sugang.payment_title();
