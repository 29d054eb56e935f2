-- What must hold even when the code is wrong: constraints, and the columns of ours that they need.

-- An e-mail address is unique without regard to case.
do $$
begin
    create unique index users_email_unique_ci on users (lower(email));
exception when unique_violation then
    raise exception 'two users have the same e-mail address but for upper and lower case'
        using hint = 'List them: select lower(email), array_agg(id) from users group by 1 having count(*) > 1;';
end $$;

-- A payment is a snapshot: the title, and the registration that it paid for with its time, are copied when it is
-- written, so that no later edit and no later registration changes what the user sees.
alter table payments
    add column target_title varchar(255),
    add column registration_id bigint,
    add column registration_time timestamptz;

-- Nobody ever pays twice for what he holds.
create unique index payments_one_active on payments (user_id, content_type_id, object_id) where status = 'paid';

-- The ids that we give are unique. Those that the Django service gave need not be.
create unique index payments_external_id on payments (external_transaction_id)
    where starts_with(external_transaction_id, 'sugang_');

alter table payments
    add constraint payments_status_known check (status in ('paid', 'cancelled', 'refunded')) not valid,
    add constraint payments_amount_positive check (amount > 0) not valid;

-- A user's payments, newest first: the order of the list.
create index payments_user_newest on payments (user_id, paid_at desc, id desc);

call sugang.define('guards', $template$
    alter table {items}
        add column capacity integer,
        add constraint {items}_capacity_positive check (capacity >= 0),
        add constraint {items}_capacity_kept check (registration_count between 0 and coalesce(capacity, registration_count));
    alter table {registrations}
        add constraint {registrations}_status_known check (status in ('{active}', 'completed', 'cancelled')) not valid;
    -- Who is registered for one item; also the way from an item to its registrations when it is deleted.
    create index {registrations}_{item_id} on {registrations} ({item_id});

    create or replace function sugang.{kind}_search_vector() returns trigger language plpgsql as $f$
    begin
        new.search_vector := setweight(to_tsvector('simple', coalesce(new.title, '')), 'A')
                          || setweight(to_tsvector('simple', coalesce(new.description, '')), 'B');
        return new;
    end $f$;
    create or replace trigger sugang_search_vector before insert or update of title, description on {items}
        for each row execute function sugang.{kind}_search_vector();
    update {items} set search_vector = setweight(to_tsvector('simple', coalesce(title, '')), 'A')
                                    || setweight(to_tsvector('simple', coalesce(description, '')), 'B')
        where search_vector is null;

    -- The snapshot of a payment that somebody wrote without it, as the Django service does.
    create or replace function sugang.{kind}_payment_snapshot(p_user bigint, p_item bigint,
            out title text, out registration_id bigint, out registration_time timestamptz)
    language sql stable as $f$
        select i.title, r.id, r.{registered_at}
        from {items} i left join {registrations} r on r.{item_id} = i.id and r.user_id = p_user
        where i.id = p_item
    $f$;
    update payments p
        set target_title = coalesce(p.target_title, s.title),
            registration_id = coalesce(p.registration_id, s.registration_id),
            registration_time = coalesce(p.registration_time, s.registration_time, p.paid_at),
            search_vector = coalesce(p.search_vector, to_tsvector('simple', s.title))
        from payments q, sugang.{kind}_payment_snapshot(q.user_id, q.object_id) s
        where q.id = p.id and p.content_type_id = {content_type_id}
          and (p.target_title is null or p.registration_time is null or p.search_vector is null);
$template$);

create function sugang.payment_snapshot() returns trigger language plpgsql as $$
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
create trigger sugang_payment_snapshot before insert on payments
    for each row when (new.target_title is null) execute function sugang.payment_snapshot();
