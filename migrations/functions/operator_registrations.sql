-- One kind: who is registered for an item, for operators.

-- The JSON objects in the order of the ids, separated by commas, each with its latest payment.
create or replace function sugang.{kind}_registration_json(p_ids bigint[]) returns text language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by place) from (
        select wanted.ordinality as place, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join {registrations} r on r.id = wanted.id
        join users u on u.id = r.user_id
        left join lateral (
            select p.id, p.amount, p.payment_method, p.status, p.external_transaction_id from payments p
            where p.user_id = r.user_id and p.registration_id = r.id and p.object_id = r.{item_id}
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
            order by p.id desc limit 1) p on true
        cross join lateral (select
            r.id, u.id as user_id, u.email, u.username, r.status,
            sugang.iso(r.{registered_at}) as registered_at, sugang.iso(r.completed_at) as completed_at,
            sugang.iso(r.cancelled_at) as cancelled_at, p.id as payment_id, p.amount::text as amount,
            p.payment_method, p.status as payment_status,
            sugang.entered_reference(p.external_transaction_id) as reference) o) listed);
end $$;

-- Newest first. p_from and p_to are days in UTC, both inclusive. A page is read along the
-- index in the order of the list, from the nearer end of it.
create or replace function sugang.list_{kind}_registrations(p_function text, p_user bigint, p_id bigint,
                                                            p_page bigint, p_status text, p_from text, p_to text,
                                                            p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    registered_n bigint;
    not_before timestamptz := coalesce(sugang.day_begin(p_from), '-infinity');
    until timestamptz := coalesce(sugang.day_end(p_to) - interval '1 microsecond', 'infinity');
    ids bigint[];
    skipped bigint;
begin
    if p_function is distinct from 'list_{kind}_registrations' then
        perform sugang.misrouted(p_function, 'list_{kind}_registrations');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is null and not exists (select from {items} where id = p_id) then a.outcome := 'not_found'; end if;
    if a.outcome is not null then return a; end if;
    select count(*) into registered_n from {registrations}
        where {item_id} = p_id and (p_status is null or status = p_status)
          and {registered_at} between not_before and until;
    a := sugang.paginate(registered_n, p_page);
    if a.outcome is not null then return a; end if;
    skipped := (a.page - 1) * sugang.page_size();
    if skipped > registered_n / 2 then
        ids := array(select id from (
            select id, {registered_at} from {registrations}
            where {item_id} = p_id and (p_status is null or status = p_status)
              and {registered_at} between not_before and until
            order by {registered_at}, id offset greatest(registered_n - skipped - sugang.page_size(), 0)
            limit least(registered_n - skipped, sugang.page_size())) page
            order by {registered_at} desc, id desc);
    else
        ids := array(select id from {registrations}
            where {item_id} = p_id and (p_status is null or status = p_status)
              and {registered_at} between not_before and until
            order by {registered_at} desc, id desc offset skipped limit sugang.page_size());
    end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce(sugang.{kind}_registration_json(ids), '') || ']';
    return a;
end $$;
