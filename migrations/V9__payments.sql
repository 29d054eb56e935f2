-- A user's own payments.

-- As for the catalogue: the one who fills the list of pending entries has to clear it, and shall not be kept long.
alter index idx_payment_search set (gin_pending_list_limit = 64);

-- A set of one, since only such a function becomes part of the statement that calls it.
create function sugang.payment_object(p payments) returns table (object text) language sql stable as $$
    select row_to_json(o)::text from (select
        p.id, p.payment_type, p.target_title, c.model as target_type, p.object_id as target_id,
        p.amount::text as amount, p.payment_method, p.status,
        sugang.iso(p.paid_at) as paid_at, sugang.iso(p.cancelled_at) as cancelled_at,
        sugang.iso(coalesce(p.registration_time, p.paid_at)) as registration_time
        from django_content_type c where c.id = p.content_type_id) o
$$;

-- Days are UTC days, and both belong.
create function sugang.list_payments(p_user bigint, p_page bigint, p_status text, p_type text, p_from text, p_to text,
                                     p_search text)
returns sugang.answer language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.answer;
    found_n bigint;
    query tsquery;
    not_before timestamptz := (p_from || ' 00:00:00+00')::timestamptz;
    before timestamptz := (p_to || ' 00:00:00+00')::timestamptz + interval '24 hours';
    refused text := sugang.refusal(p_user);
begin
    if refused is not null then
        a.outcome := refused;
        return a;
    end if;
    if btrim(p_search) <> '' then query := websearch_to_tsquery('simple', p_search); end if;
    select count(*) into found_n from payments
        where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or payment_type = p_type)
          and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
          and (query is null or search_vector @@ query);
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(object, ',' order by paid_at desc, id desc) from (
        select * from payments
        where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or payment_type = p_type)
          and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
          and (query is null or search_vector @@ query)
        order by paid_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) p, sugang.payment_object(p)), '') || ']';
    return a;
end $$;

create function sugang.get_payment(p_user bigint, p_id bigint) returns sugang.answer language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.answer;
begin
    a.outcome := sugang.refusal(p_user);
    if a.outcome is not null then return a; end if;
    select object into a.body from payments p, sugang.payment_object(p) where id = p_id and user_id = p_user;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;
