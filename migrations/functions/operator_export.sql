-- One kind: its items and registrations as files (CSV is RFC 4180), a page for each call. The first line of a page says
-- where the next one begins, and is empty on the last page; the names of the columns begin the first page.

-- Newest first, as in the list. p_after is null, or what the page before says.
create or replace function sugang.export_{kind}_registrations(p_function text, p_user bigint, p_id bigint,
                                                              p_status text, p_from text, p_to text, p_after text,
                                                              p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    not_before timestamptz := coalesce(sugang.day_begin(p_from), '-infinity');
    until timestamptz := coalesce(sugang.day_end(p_to) - interval '1 microsecond', 'infinity');
    after_at timestamptz := coalesce(split_part(p_after, ',', 1)::timestamptz, 'infinity');
    after_id bigint := coalesce(split_part(p_after, ',', 2)::bigint, 9223372036854775807);
begin
    if p_function is distinct from 'export_{kind}_registrations' then
        perform sugang.misrouted(p_function, 'export_{kind}_registrations');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is null and not exists (select from {items} where id = p_id) then a.outcome := 'not_found'; end if;
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    with page as materialized (
        select * from {registrations}
        where {item_id} = p_id and (p_status is null or status = p_status)
          and {registered_at} between not_before and until and ({registered_at}, id) < (after_at, after_id)
        order by {registered_at} desc, id desc limit sugang.export_size()
    ), lines as (
        select r.id, r.{registered_at} as at, concat(
            r.id, ',', r.user_id, ',', sugang.csv_cell(u.email), ',', sugang.csv_cell(u.username), ',',
            sugang.csv_cell(r.status), ',', sugang.iso(r.{registered_at}), ',', sugang.iso(r.completed_at), ',',
            sugang.iso(r.cancelled_at), ',', p.id, ',', p.amount, ',', sugang.csv_cell(p.payment_method), ',',
            sugang.csv_cell(p.status), ',', sugang.csv_cell(sugang.entered_reference(p.external_transaction_id)),
            E'\r\n') as line
        from page r
        join users u on u.id = r.user_id
        left join lateral (
            select p.id, p.amount, p.payment_method, p.status, p.external_transaction_id from payments p
            where p.user_id = r.user_id and p.registration_id = r.id and p.object_id = p_id
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
            order by p.id desc limit 1) p on true
    )
    select concat((select concat({registered_at}, ',', id) from page
                   where (select count(*) from page) = sugang.export_size()
                   order by {registered_at}, id limit 1), E'\n',
                  case when p_after is null then concat(
                      'id,user_id,email,username,status,registered_at,completed_at,cancelled_at,payment_id,amount,',
                      'payment_method,payment_status,reference', E'\r\n') end,
                  string_agg(line, '' order by at desc, id desc))
        into a.body from lines;
    return a;
end $$;

-- In the order of their ids, hidden ones included: as CSV, or as JSON, one object a line.
create or replace function sugang.export_{kind}(p_function text, p_user bigint, p_format text, p_after text,
                                                p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    is_csv boolean := p_format = 'csv';
begin
    if p_function is distinct from 'export_{kind}' then perform sugang.misrouted(p_function, 'export_{kind}'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    with page as materialized (
        select id, title, description, price::text as price, capacity, sugang.iso(start_at) as start_at,
               sugang.iso(end_at) as end_at, hidden, registration_count
        from {items} where id > coalesce(p_after, '-1')::bigint order by id limit sugang.export_size() / 10
    )
    select concat(case when count(*) = sugang.export_size() / 10 then max(id) end, E'\n',
                  case when is_csv and p_after is null then concat(
                      'id,title,description,price,capacity,start_at,end_at,hidden,registration_count', E'\r\n') end,
                  string_agg(case when is_csv then concat(
                      id, ',', sugang.csv_cell(title), ',', sugang.csv_cell(description), ',', price, ',', capacity, ',',
                      start_at, ',', end_at, ',', hidden::text, ',', registration_count, E'\r\n')
                      else concat(row_to_json(page), E'\n') end, '' order by id))
        into a.body from page;
    return a;
end $$;
