-- The lists of payments and users as CSV, for operators, with the filters of the lists. See operator_export.sql.

-- Newest first. p_after is null, or what the page before says.
create or replace function sugang.export_payments(p_function text, p_user bigint, p_owner text, p_key text,
                                                  p_typed_key text, p_ascii_key text, p_external_id text,
                                                  p_amount text, p_status text, p_from text, p_to text, p_after text,
                                                  p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    owners bigint[];
    paid numeric := p_amount::numeric;
    not_before timestamptz := sugang.day_begin(p_from);
    before timestamptz := sugang.day_end(p_to);
    after_at timestamptz := split_part(p_after, ',', 1)::timestamptz;
    after_id bigint := split_part(p_after, ',', 2)::bigint;
begin
    if p_function is distinct from 'export_payments' then
        perform sugang.misrouted(p_function, 'export_payments');
    end if;
    a.outcome := coalesce(sugang.operator_error(p_user, p_epoch), 'ok');
    if a.outcome <> 'ok' then return a; end if;
    owners := sugang.payment_owners(p_owner, p_key, p_typed_key, p_ascii_key);
    with page as materialized (
        select * from sugang.found_payments(owners, p_external_id, paid, p_status, not_before, before)
        where p_after is null or (paid_at, id) < (after_at, after_id)
        order by paid_at desc, id desc limit sugang.export_size()
    ), lines as (
        select p.id, p.paid_at, concat(
            p.id, ',', p.user_id, ',', sugang.csv_cell(u.email), ',', sugang.csv_cell(u.username), ',',
            sugang.csv_cell(p.payment_type), ',', p.object_id, ',', sugang.csv_cell(p.target_title), ',', p.amount, ',',
            sugang.left_to_refund(p), ',', sugang.csv_cell(p.payment_method), ',', sugang.csv_cell(p.status), ',',
            sugang.iso(p.paid_at), ',', sugang.iso(p.cancelled_at), ',', sugang.csv_cell(p.refund_reason), ',',
            sugang.csv_cell(p.external_transaction_id), E'\r\n') as line
        from page p
        left join users u on u.id = p.user_id
    )
    select concat((select concat(paid_at, ',', id) from page
                   where (select count(*) from page) = sugang.export_size()
                   order by paid_at, id limit 1), E'\n',
                  case when p_after is null then concat(
                      'id,user_id,email,username,kind,item_id,title,amount,left,payment_method,status,paid_at,',
                      'cancelled_at,refund_reason,external_id', E'\r\n') end,
                  string_agg(line, '' order by paid_at desc, id desc))
        into a.body from lines;
    return a;
end $$;

-- The latest first. They are found as in sugang.list_users.
create or replace function sugang.export_users(p_function text, p_user bigint, p_key text, p_typed_key text,
                                               p_ascii_key text, p_username text, p_after text,
                                               p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 set cpu_operator_cost = 0.1 as $$
declare
    a sugang.function_row;
    after_id bigint := p_after::bigint;
    narrows boolean := coalesce(p_key, p_username) is not null;
begin
    if p_function is distinct from 'export_users' then perform sugang.misrouted(p_function, 'export_users'); end if;
    a.outcome := coalesce(sugang.operator_error(p_user, p_epoch), 'ok');
    if a.outcome <> 'ok' then return a; end if;
    with page as materialized (
        select * from sugang.found_users(p_key, p_typed_key, p_ascii_key, p_username)
        where after_id is null or id < after_id
        order by case when narrows then id + 0 end desc, id desc limit sugang.export_size()
    )
    select concat(case when count(*) = sugang.export_size() then min(id) end, E'\n',
                  case when p_after is null then concat(
                      'id,email,username,is_active,is_operator,is_superuser,last_login', E'\r\n') end,
                  string_agg(concat(
                      id, ',', sugang.csv_cell(email), ',', sugang.csv_cell(username), ',', is_active::text, ',',
                      (is_staff or is_superuser)::text, ',', is_superuser::text, ',', sugang.iso(last_login), E'\r\n'),
                      '' order by id desc))
        into a.body from page;
    return a;
end $$;
