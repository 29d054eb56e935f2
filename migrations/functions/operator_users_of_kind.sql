-- One kind: how many registrations a user has, those that are cancelled included.
create or replace function sugang.count_{kind}_registrations(p_user bigint) returns bigint language sql stable as $$
    select count(*) from {registrations} where user_id = p_user
$$;
