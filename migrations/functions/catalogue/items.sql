-- One kind: the list of its items, and a single item.

-- The JSON objects of the API in the order of the ids, separated by commas. Hidden items have none.
create or replace function sugang.{kind}_json(p_user bigint, p_ids bigint[]) returns text
language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
        select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join {items} i on i.id = wanted.id and not i.hidden
        cross join lateral (select
            i.id, i.title, i.description, i.price::text as price,
            sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
            sugang.iso(i.created_at) as created_at,
            exists (select from {registrations} r
                    where r.user_id = p_user and r.{item_id} = i.id and r.status <> 'cancelled') as is_registered,
            i.registration_count, i.capacity,
            sugang.seats_left(i.capacity, i.registration_count, i.held_count) as remaining) o)
        page (o_ordinality, o));
end $$;

-- One page of a list: the counts, and the ids in their order as the body.
create or replace function sugang.{kind}_page(p_page bigint, p_available boolean, p_search text, p_popular boolean)
returns sugang.function_row language plpgsql stable as $$
declare
    a sugang.function_row;
    ids bigint[];
    query tsquery;
    from_row bigint;
    asked_at timestamptz := now();
begin
    if btrim(p_search) <> '' then
        query := sugang.search_query(p_search);
        a := sugang.paginate(sugang.{kind}_search_count(p_available, query, asked_at), p_page);
    elsif p_available then
        a := sugang.paginate(sugang.{kind}_available_count(asked_at), p_page);
    else
        a := sugang.paginate(sugang.total_count('{kind}'), p_page);
    end if;
    if a.outcome is not null then return a; end if;
    from_row := (a.page - 1) * sugang.page_size();
    -- The way that reads fewer rows: all matches, available or not, or the order of the list until the page is full.
    if a.count = 0 then
        ids := '{}';
    elsif query is not null and a.count::float8 * a.count
            <= (from_row + sugang.page_size())::float8
               * (case when p_available then sugang.{kind}_available_count(asked_at)
                       else sugang.total_count('{kind}') end) then
        ids := sugang.{kind}_matching_page(p_available, query, p_popular, from_row, asked_at);
    elsif p_popular then
        ids := sugang.{kind}_popular_page(p_available, query, from_row, a.count, asked_at);
    else
        ids := sugang.{kind}_newest_page(p_available, query, from_row, a.count, asked_at);
    end if;
    a.outcome := 'ok';
    a.body := ids::text;
    return a;
end $$;

-- A search without a letter or a digit raises a notice that no caller reads and that some drivers mishandle; hence
-- client_min_messages.
create or replace function sugang.list_{kind}(p_function text, p_user bigint, p_page bigint, p_available boolean,
                                              p_search text, p_popular boolean, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'list_{kind}' then perform sugang.misrouted(p_function, 'list_{kind}'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a := sugang.{kind}_page(p_page, p_available, p_search, p_popular);
    if a.outcome = 'ok' then
        a.body := '[' || coalesce(sugang.{kind}_json(p_user, a.body::bigint[]), '') || ']';
    end if;
    return a;
end $$;

create or replace function sugang.get_{kind}(p_function text, p_user bigint, p_id bigint,
                                             p_epoch bigint default null)
returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_{kind}' then perform sugang.misrouted(p_function, 'get_{kind}'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.body := sugang.{kind}_json(p_user, array[p_id]);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;
