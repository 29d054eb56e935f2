-- Fills the snapshot of a payment that another program writes without it, as the Django service does.
create or replace function sugang.payment_snapshot() returns trigger language plpgsql as $$
declare
    snapshot record;
begin
    execute format('select * from sugang.%I($1, $2)',
                   (select kind from sugang.kinds where content_type_id = new.content_type_id) || '_payment_snapshot')
        into snapshot using new.user_id, new.object_id::bigint;
    new.target_title := snapshot.title;
    new.registration_id := snapshot.registration_id;
    new.registration_time := coalesce(snapshot.registration_time, new.paid_at);
    new.search_vector := coalesce(new.search_vector, to_tsvector('simple', coalesce(snapshot.title, '')));
    return new;
end $$;
create or replace trigger sugang_payment_snapshot before insert on payments
    for each row when (new.target_title is null) execute function sugang.payment_snapshot();
