-- One kind: the figures of one item, for operators.
create or replace function sugang.get_{kind}_figures(p_function text, p_user bigint, p_id bigint,
                                                     p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 set work_mem = '64MB' as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_{kind}_figures' then
        perform sugang.misrouted(p_function, 'get_{kind}_figures');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    select json_build_object(
            'id', i.id, 'registered', s.registered, 'completed', s.completed, 'cancelled', s.cancelled,
            'capacity', i.capacity,
            'remaining', sugang.seats_left(i.capacity, i.registration_count, i.held_count),
            'over_capacity', greatest(i.registration_count - i.capacity, 0),
            'money_in', m.money_in::text, 'money_out', m.money_out::text)::text
        into a.body
        from {items} i
        cross join (
            select count(*) filter (where status = '{active}') as registered,
                   count(*) filter (where status = 'completed') as completed,
                   count(*) filter (where status = 'cancelled') as cancelled
            from {registrations} where {item_id} = p_id) s
        cross join (
            select coalesce(sum(amount) filter (where debit = 'cash'), 0.00) as money_in,
                   coalesce(sum(amount) filter (where credit = 'cash'), 0.00) as money_out
            from sugang.ledger_of_item('{kind}', p_id)) m
        where i.id = p_id;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;
