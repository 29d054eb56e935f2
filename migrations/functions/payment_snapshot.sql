-- What a payment copies, when another program writes or moves it: as the Django service or an operator does.

-- Fills the snapshot. The content type says what was paid for, and payment_type follows it.
create or replace function sugang.payment_snapshot() returns trigger language plpgsql as $$
declare
    item_kind text := (select kind from sugang.kinds where content_type_id = new.content_type_id);
    title text;
    registration_id bigint;
    registration_time timestamptz;
begin
    if item_kind is null then
        raise foreign_key_violation using
            message = format('content type %s is no kind of item', new.content_type_id), table = 'payments',
            constraint = 'payments_content_type_id_fkey', hint = 'select * from sugang.kinds;';
    end if;
    execute format('select * from sugang.%I($1, $2)', item_kind || '_payment_snapshot')
        into title, registration_id, registration_time using new.user_id, new.object_id;
    new.payment_type := item_kind;
    new.registration_id := registration_id;
    new.registration_time := coalesce(registration_time, new.registration_time, new.paid_at);
    if tg_op = 'INSERT' then
        new.target_title := title;
        new.search_vector := coalesce(new.search_vector, to_tsvector('simple', coalesce(title, '')));
    elsif (new.content_type_id, new.object_id) is distinct from (old.content_type_id, old.object_id) then
        new.target_title := title;
        new.search_vector := to_tsvector('simple', coalesce(title, ''));
        -- The trigger of an update of target_title does not fire for what a trigger has changed.
        new.title_vector := sugang.search_vector(title, null);
    end if;
    return new;
end $$;
create or replace trigger sugang_payment_snapshot before insert on payments
    for each row when (new.target_title is null) execute function sugang.payment_snapshot();
create or replace trigger sugang_payment_snapshot_update
    before update of user_id, payment_type, content_type_id, object_id on payments
    for each row
    when ((old.user_id, old.payment_type, old.content_type_id, old.object_id)
          is distinct from (new.user_id, new.payment_type, new.content_type_id, new.object_id))
    execute function sugang.payment_snapshot();

-- A payment that another program cancels or deletes frees its seat; a completed registration stays. No trigger ever
-- changes money: the payment of a registration that another program cancels stays paid, until the user registers again
-- with it or cancels it.
create or replace function sugang.release_unpaid_seats(p_content_types integer[], p_users bigint[], p_items bigint[])
returns void language plpgsql as $$
declare
    k sugang.kinds;
begin
    for k in select * from sugang.kinds where content_type_id = any (p_content_types) order by kind loop
        execute format('select sugang.%I($1, $2)', 'release_' || k.kind || '_seats')
            using (select array_agg(user_id) from unnest(p_content_types, p_users) u (content_type_id, user_id)
                   where content_type_id = k.content_type_id),
                  (select array_agg(item_id) from unnest(p_content_types, p_items) i (content_type_id, item_id)
                   where content_type_id = k.content_type_id);
    end loop;
end $$;
create or replace function sugang.payments_updated() returns trigger language plpgsql as $$
begin
    -- The functions of this service free the seat themselves.
    if sugang.actor() is not null then return null; end if;
    -- Two accounts of one person become one: the order goes along, which knows the gateway that holds the money.
    update sugang.orders r set user_id = n.user_id
        from removed o join added n on n.id = o.id join sugang.payment_attempts t on t.payment_id = n.id
        where n.user_id <> o.user_id and r.id = t.order_id and r.user_id = o.user_id;
    perform sugang.release_unpaid_seats(array_agg(o.content_type_id), array_agg(o.user_id), array_agg(o.object_id))
        from removed o join added n on n.id = o.id where o.status = 'paid' and n.status <> 'paid' having count(*) > 0;
    return null;
end $$;
create or replace function sugang.payments_deleted() returns trigger language plpgsql as $$
begin
    if sugang.actor() is not null then return null; end if;
    perform sugang.release_unpaid_seats(array_agg(content_type_id), array_agg(user_id), array_agg(object_id))
        from removed where status = 'paid' having count(*) > 0;
    return null;
end $$;
create or replace trigger sugang_payments_updated after update on payments
    referencing old table as removed new table as added
    for each statement execute function sugang.payments_updated();
create or replace trigger sugang_payments_deleted after delete on payments
    referencing old table as removed
    for each statement execute function sugang.payments_deleted();
