-- One kind: the items of a file, and copies of one item, which operators create in one statement.

-- What is wrong with which items, as [[place, [[field, reason]]]] with places from 0; null if nothing is.
create or replace function sugang.{kind}_row_problems(p_items {items}[]) returns text language sql stable as $$
    select '[' || string_agg(format('[%s,%s]', place - 1, problems), ',' order by place) || ']'
    from generate_subscripts(p_items, 1) place
    cross join lateral (select sugang.{kind}_field_problems(p_items[place])) found (problems)
    where problems is not null
$$;

-- p_items is an array of what sugang.do_create_{kind} takes. All of it is checked before anything is written.
create or replace function sugang.do_import_{kind}(p_items jsonb, p_only_check boolean)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    items {items}[];
begin
    items := array(select jsonb_populate_record(null::{items}, fields)
                   from jsonb_array_elements(p_items) with ordinality listed (fields, place) order by place);
    a.body := sugang.{kind}_row_problems(items);
    if a.body is not null then
        a.outcome := 'invalid_rows';
        return a;
    end if;
    a.outcome := 'ok';
    a.body := sugang.created_json(cardinality(items),
                                  case when not p_only_check then sugang.insert_{items}(items) end);
    return a;
end $$;

create or replace function sugang.import_{kind}(p_function text, p_user bigint, p_items text, p_only_check boolean,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'import_{kind}' then perform sugang.misrouted(p_function, 'import_{kind}'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint,
                                 sugang.do_import_{kind}(p_items::jsonb, p_only_check));
end $$;

-- The copies of an item with their periods, as p_form orders them: `every` day, week or month; `count` of them, or
-- those that start on the day `until` or earlier; but at most one more than `most`. The clock in `time_zone` shows the
-- same time for each. Months are counted from the item itself, so that one that begins on the 31st does so wherever it
-- can.
create or replace function sugang.{kind}_copies(p_item {items}, p_form jsonb) returns {items}[]
language plpgsql stable as $$
declare
    copies {items}[] := array[]::{items}[];
    copy {items} := p_item;
    zone text := p_form ->> 'time_zone';
    step interval := ('1 ' || (p_form ->> 'every'))::interval;
    starts timestamp := p_item.start_at at time zone zone;
    ends timestamp := p_item.end_at at time zone zone;
begin
    for n in 1..least((p_form ->> 'count')::bigint, (p_form ->> 'most')::bigint + 1) loop
        exit when (starts + n * step)::date > (p_form ->> 'until')::date;
        copy.start_at := (starts + n * step) at time zone zone;
        -- A clock that skips the start may not skip the end.
        copy.end_at := greatest((ends + n * step) at time zone zone, copy.start_at);
        copies := copies || copy;
    end loop;
    return copies;
end $$;

create or replace function sugang.do_repeat_{kind}(p_id bigint, p_form jsonb) returns sugang.function_row
language plpgsql as $$
declare
    a sugang.function_row;
    item {items};
    copies {items}[];
begin
    select * into item from {items} where id = p_id;
    if item.id is null then
        a.outcome := 'not_found';
        return a;
    end if;
    if not sugang.is_time_zone(p_form ->> 'time_zone') then
        a.body := '[["time_zone","unknown"]]';
    else
        copies := sugang.{kind}_copies(item, p_form);
        a.body := case
            when cardinality(copies) = 0 then '[["until","before_start"]]'
            when cardinality(copies) > (p_form ->> 'most')::bigint then '[["until","too_many"]]'
            when copies[cardinality(copies)].end_at >= '10000-01-01T00:00:00Z' then '[["every","too_late"]]'
            else sugang.{kind}_field_problems(item)
        end;
    end if;
    if a.body is not null then
        a.outcome := 'invalid_fields';
        return a;
    end if;
    a.outcome := 'ok';
    a.body := sugang.created_json(cardinality(copies), sugang.insert_{items}(copies));
    return a;
end $$;

create or replace function sugang.repeat_{kind}(p_function text, p_user bigint, p_id bigint, p_form text,
                                                p_request_id text, p_key text, p_fingerprint text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'repeat_{kind}' then perform sugang.misrouted(p_function, 'repeat_{kind}'); end if;
    a := sugang.begin_operation(p_user, p_epoch, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_repeat_{kind}(p_id, p_form::jsonb));
end $$;
