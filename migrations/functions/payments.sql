-- The payments of one user.

-- Returns a set of one row, since PostgreSQL inlines only such a function into the statement that calls it.
create or replace function sugang.payment_json(p payments) returns table (object text) language sql stable as $$
    select row_to_json(o)::text from (select
        p.id, p.payment_type, p.target_title, c.model as target_type, p.object_id as target_id,
        p.amount::text as amount, p.payment_method, p.status,
        sugang.iso(p.paid_at) as paid_at, sugang.iso(p.cancelled_at) as cancelled_at,
        sugang.iso(coalesce(p.registration_time, p.paid_at)) as registration_time
        from django_content_type c where c.id = p.content_type_id) o
$$;

-- p_from and p_to are days in UTC, both inclusive. A long list costs no more than a short one: a page is read along the
-- index in the order of the list and never sorted, and the count of all payments is an index-only scan.
create or replace function sugang.list_payments(p_function text, p_user bigint, p_page bigint, p_status text,
                                                p_type text, p_from text, p_to text, p_search text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning set enable_bitmapscan = off set enable_sort = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    found_n bigint;
    query tsquery;
    not_before timestamptz;
    before timestamptz;
begin
    if p_function is distinct from 'list_payments' then perform sugang.misrouted(p_function, 'list_payments'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    not_before := sugang.day_begin(p_from);
    before := sugang.day_end(p_to);
    if btrim(p_search) <> '' then query := sugang.search_query(p_search); end if;
    if coalesce(p_status, p_type, p_from, p_to, query::text) is null then
        select count(*) into found_n from payments where user_id = p_user;
    else
        select count(*) into found_n from payments
            where user_id = p_user and (p_status is null or status = p_status)
              and (p_type is null or payment_type = p_type)
              and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
              and (query is null or coalesce(title_vector, sugang.search_vector(target_title, null)) @@ query);
    end if;
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(object, ',' order by paid_at desc, id desc) from (
        select * from payments
        where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or payment_type = p_type)
          and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
          and (query is null or coalesce(title_vector, sugang.search_vector(target_title, null)) @@ query)
        order by paid_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) p, sugang.payment_json(p)), '') || ']';
    return a;
end $$;

create or replace function sugang.get_payment(p_function text, p_user bigint, p_id bigint,
                                              p_epoch bigint default null)
returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_payment' then perform sugang.misrouted(p_function, 'get_payment'); end if;
    a.outcome := sugang.authorization_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select object into a.body from payments p, sugang.payment_json(p) where id = p_id and user_id = p_user;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;
