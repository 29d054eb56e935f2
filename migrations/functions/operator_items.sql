-- One kind: what operators do with its items.
--
-- Locks are taken in the order that functions/registrations.sql describes: first the user, to whom an idempotency key
-- refers, and last the item.

-- The JSON objects in the order of the ids, separated by commas.
create or replace function sugang.{kind}_operator_json(p_ids bigint[]) returns text language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
        select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join {items} i on i.id = wanted.id
        cross join lateral (select
            i.id, i.title, i.description, i.price::text as price,
            sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
            sugang.iso(i.created_at) as created_at, i.registration_count, i.capacity,
            sugang.seats_left(i.capacity, i.registration_count, i.held_count) as remaining,
            greatest(i.registration_count - i.capacity, 0) as over_capacity, i.hidden,
            sugang.{kind}_version(i) as version) o)
        page (o_ordinality, o));
end $$;

create or replace function sugang.list_{kind}_for_operator(p_function text, p_user bigint, p_page bigint,
                                                           p_available boolean, p_search text, p_popular boolean,
                                                           p_hidden boolean, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'list_{kind}_for_operator' then
        perform sugang.misrouted(p_function, 'list_{kind}_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    if p_hidden then
        a := sugang.{kind}_hidden_page(p_page, p_available, p_search, p_popular);
    else
        a := sugang.{kind}_page(p_page, p_available, p_search, p_popular);
    end if;
    if a.outcome = 'ok' then
        a.body := '[' || coalesce(sugang.{kind}_operator_json(a.body::bigint[]), '') || ']';
    end if;
    return a;
end $$;

create or replace function sugang.get_{kind}_for_operator(p_function text, p_user bigint, p_id bigint,
                                                          p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_{kind}_for_operator' then
        perform sugang.misrouted(p_function, 'get_{kind}_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.body := sugang.{kind}_operator_json(array[p_id]);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- What is wrong with the fields of an item together; null if nothing is.
create or replace function sugang.{kind}_field_problems(i {items}) returns text language sql immutable as $$
    select case when i.end_at < i.start_at then '[["end_at","before_start"]]' end
$$;

-- Creates items with the fields of these rows, in their order, and returns the ids.
create or replace function sugang.insert_{items}(p_items {items}[]) returns bigint[] language sql as $$
    with added as (
        insert into {items} (title, description, price, capacity, start_at, end_at, hidden)
            select title, description, price, capacity, start_at, end_at, coalesce(hidden, false)
            from unnest(p_items)
            returning id
    )
    select array_agg(id order by id) from added
$$;

-- p_fields has the fields by the names of their columns. The API has checked each by itself.
create or replace function sugang.do_create_{kind}(p_fields jsonb) returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item {items} := jsonb_populate_record(null::{items}, p_fields);
    ids bigint[];
begin
    a.body := sugang.{kind}_field_problems(item);
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    a.outcome := 'ok';
    ids := sugang.insert_{items}(array[item]);
    a.body := sugang.{kind}_operator_json(ids);
    return a;
end $$;

create or replace function sugang.create_{kind}(p_function text, p_user bigint, p_fields text, p_request_id text,
                                                p_key text, p_fingerprint text, p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'create_{kind}' then perform sugang.misrouted(p_function, 'create_{kind}'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_create_{kind}(p_fields::jsonb));
end $$;

-- Locks an item whose version is one of those that the operator has seen, separated by commas; * stands for any. A null
-- outcome means that it is locked.
create or replace function sugang.lock_{kind}_version(p_user bigint, p_epoch bigint, p_id bigint, p_versions text)
returns sugang.outcome language plpgsql as $$
declare
    item {items};
begin
    perform sugang.lock_user(p_user);
    select * into item from {items} where id = p_id for no key update;
    perform sugang.check_operator(p_user, p_epoch);
    return case
        when item.id is null then 'not_found'
        when p_versions <> '*' and sugang.{kind}_version(item) <> all (string_to_array(p_versions, ',')) then 'changed'
    end;
end $$;

-- Fields that p_fields does not have stay as they are. A price or a period may change under a registration that is in
-- progress: it reads them again under the lock of the item's row.
create or replace function sugang.do_edit_{kind}(p_user bigint, p_epoch bigint, p_id bigint, p_versions text,
                                                 p_fields jsonb)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item {items};
    edited {items};
begin
    a.outcome := sugang.lock_{kind}_version(p_user, p_epoch, p_id, p_versions);
    if a.outcome is not null then return a; end if;
    select * into item from {items} where id = p_id;
    edited := jsonb_populate_record(item, p_fields);
    a.body := sugang.{kind}_field_problems(edited);
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    if sugang.{kind}_version(edited) <> sugang.{kind}_version(item) then
        update {items}
            set title = edited.title, description = edited.description, price = edited.price,
                capacity = edited.capacity, start_at = edited.start_at, end_at = edited.end_at,
                hidden = edited.hidden, updated_at = clock_timestamp()
            where id = p_id;
    end if;
    a.outcome := 'ok';
    a.body := sugang.{kind}_operator_json(array[p_id]);
    return a;
end $$;

create or replace function sugang.edit_{kind}(p_function text, p_user bigint, p_id bigint, p_versions text,
                                              p_fields text, p_request_id text, p_key text, p_fingerprint text,
                                              p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'edit_{kind}' then perform sugang.misrouted(p_function, 'edit_{kind}'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_edit_{kind}(
        p_user, p_epoch, p_id, p_versions, p_fields::jsonb));
end $$;

-- A payment outlives a registration that another program has deleted. It names its item without a foreign key. An item
-- for which users register is not locked: the lock of a deletion is one for which their foreign keys wait.
create or replace function sugang.do_delete_{kind}(p_user bigint, p_epoch bigint, p_id bigint, p_versions text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
begin
    if exists (select from {registrations} where {item_id} = p_id)
        or exists (select from sugang.orders where kind = '{kind}' and item_id = p_id) then
        a.outcome := 'item_in_use';
        return a;
    end if;
    perform sugang.lock_user(p_user);
    perform from {items} where id = p_id for update;
    a.outcome := sugang.lock_{kind}_version(p_user, p_epoch, p_id, p_versions);
    if a.outcome is not null then return a; end if;
    if exists (select from {registrations} where {item_id} = p_id)
        or exists (select from sugang.orders where kind = '{kind}' and item_id = p_id)
        or exists (select from payments
                   where object_id = p_id
                     and content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')) then
        a.outcome := 'item_in_use';
        return a;
    end if;
    delete from {items} where id = p_id;
    a.outcome := 'ok';
    return a;
end $$;

create or replace function sugang.delete_{kind}(p_function text, p_user bigint, p_id bigint, p_versions text,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'delete_{kind}' then perform sugang.misrouted(p_function, 'delete_{kind}'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_delete_{kind}(p_user, p_epoch, p_id, p_versions));
end $$;
