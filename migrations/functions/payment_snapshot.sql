-- Fills the snapshot of a payment that another program writes without it, as the Django service does.
create or replace function sugang.payment_snapshot() returns trigger language plpgsql as $$
declare
    title text;
    registration_id bigint;
    registration_time timestamptz;
begin
    execute format('select * from sugang.%I($1, $2)',
                   (select kind from sugang.kinds where content_type_id = new.content_type_id) || '_payment_snapshot')
        into title, registration_id, registration_time using new.user_id, new.object_id::bigint;
    new.target_title := title;
    new.registration_id := registration_id;
    new.registration_time := coalesce(registration_time, new.paid_at);
    new.search_vector := coalesce(new.search_vector, to_tsvector('simple', coalesce(title, '')));
    return new;
end $$;
create or replace trigger sugang_payment_snapshot before insert on payments
    for each row when (new.target_title is null) execute function sugang.payment_snapshot();
