-- One kind: the title and the registration that a payment for it copies.
create or replace function sugang.{kind}_payment_snapshot(p_user bigint, p_item bigint, out title text,
                                                          out registration_id bigint,
                                                          out registration_time timestamptz)
language sql stable as $$
    select i.title, r.id, r.{registered_at}
    from {items} i left join {registrations} r on r.{item_id} = i.id and r.user_id = p_user
    where i.id = p_item
$$;
