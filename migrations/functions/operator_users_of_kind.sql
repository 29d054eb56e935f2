-- One kind: the registrations of a user, those that are cancelled included.

create or replace function sugang.count_{kind}_registrations(p_user bigint) returns bigint language sql stable as $$
    select count(*) from {registrations} where user_id = p_user
$$;

create or replace function sugang.{kind}_registrations_of_user(p_user bigint)
returns table (kind text, id bigint, registered_at timestamptz) language sql stable as $$
    select '{kind}', id, {registered_at} from {registrations} where user_id = p_user
$$;

-- A registration with what it is for.
create or replace function sugang.{kind}_registration_of_user_json(p_id bigint) returns json language sql stable as $$
    select json_build_object('kind', '{kind}', 'item_id', i.id, 'title', i.title,
                             'registration', sugang.{kind}_registration_json(array[p_id])::json)
    from {registrations} r join {items} i on i.id = r.{item_id} where r.id = p_id
$$;
