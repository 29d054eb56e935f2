-- Figures, for operators: registrations of the history, and money of the ledger, as they stand in the books.

-- The movements of money for one item, all of them: the keys of the ledger lead to each source of a payment.
create or replace function sugang.ledger_of_item(p_kind text, p_item bigint) returns setof sugang.ledger
language sql stable as $$
    with of_item as materialized (
        select id from payments
        where object_id = p_item and content_type_id = (select content_type_id from sugang.kinds where kind = p_kind)
    )
    select l.* from of_item p join sugang.ledger l on l.source = 'payment' and l.source_id = p.id
    union all
    select l.* from of_item p join sugang.refunds r on r.payment_id = p.id
        join sugang.ledger l on l.source = 'refund' and l.source_id = r.id
    union all
    select l.* from of_item p join sugang.audit_log h on h.subject = 'payment' and h.subject_id = p.id
        join sugang.ledger l on l.source = 'history' and l.source_id = h.id
$$;

-- The movements of money in a span of time: all, those for a kind, or those for an item. For all of them, the planner
-- leaves the join out.
create or replace function sugang.ledger_between(p_not_before timestamptz, p_before timestamptz, p_kind text,
                                                 p_item bigint)
returns setof sugang.ledger language sql stable as $$
    select l.* from sugang.ledger l left join payments p on p.id = l.payment_id
    where p_item is null and l.at >= p_not_before and l.at < p_before
      and (p_kind is null
           or p.content_type_id = (select content_type_id from sugang.kinds where kind = p_kind))
    union all
    select * from sugang.ledger_of_item(p_kind, p_item)
    where p_item is not null and at >= p_not_before and at < p_before
$$;

-- The days from p_from to p_to (UTC, both inclusive), with their sums. The conditions are decided while the statement
-- is planned.
create or replace function sugang.figures(p_function text, p_user bigint, p_from text, p_to text, p_kind text,
                                          p_item text, p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 set work_mem = '64MB' as $$
declare
    a sugang.function_row;
    not_before timestamptz;
    before timestamptz;
    item bigint := p_item::bigint;
begin
    if p_function is distinct from 'figures' then perform sugang.misrouted(p_function, 'figures'); end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    not_before := coalesce(sugang.day_begin(p_from), '-infinity');
    before := coalesce(sugang.day_end(p_to), 'infinity');
    a.outcome := 'ok';
    with money as (
        select (sugang.readable_time(at) at time zone 'UTC')::date as day,
               sum(amount) filter (where debit = 'cash') as money_in,
               sum(amount) filter (where credit = 'cash') as money_out
        from sugang.ledger_between(not_before, before, p_kind, item) group by 1
    ), seats as (
        select (sugang.readable_time(at) at time zone 'UTC')::date as day,
               sum(seats) filter (where seats > 0) as registered, -sum(seats) filter (where seats < 0) as cancelled
        from sugang.audit_log
        where at >= not_before and at < before and seats <> 0
          and (p_kind is null or subject = p_kind) and (item is null or item_id = item)
        group by 1
    )
    select json_build_object('days', json_agg(json_build_object(
            'day', day::date, 'registered', coalesce(registered, 0), 'cancelled', coalesce(cancelled, 0),
            'money_in', coalesce(money_in, 0.00)::text, 'money_out', coalesce(money_out, 0.00)::text) order by day),
        'registered', coalesce(sum(registered), 0), 'cancelled', coalesce(sum(cancelled), 0),
        'money_in', coalesce(sum(money_in), 0.00)::text, 'money_out', coalesce(sum(money_out), 0.00)::text)::text
        into a.body
        from (select generate_series(p_from::timestamp, p_to::timestamp, interval '1 day')::date as day) days
        left join money using (day) left join seats using (day);
    return a;
end $$;
