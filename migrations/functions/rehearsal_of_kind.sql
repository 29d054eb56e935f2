-- One kind: the rehearsal of what a user does with its items; see rehearsal.sql.

-- p_user is an operator. Of three items, one is free.
create or replace function sugang.rehearse_{kind}(p_role name, p_user bigint, inout findings jsonb)
language plpgsql as $$
declare
    items bigint[];
    price text;
    item bigint;
    body jsonb;
begin
    foreach price in array array['0', '1000.00', '45000.00'] loop
        select * into findings, body from sugang.rehearse_step(p_role, 'adding a {kind}', format(
            'select outcome, body from sugang.create_{kind}(''create_{kind}'', %s, %L, ''rehearsal'', null, null)',
            p_user, json_build_object('title', 'rehearsal', 'price', price, 'start_at', now() - interval '1 hour',
                                      'end_at', now() + interval '1 day')),
            array['id'], findings);
        if body is null then return; end if;
        items := items || cast(body ->> 'id' as bigint);
    end loop;
    select s.findings into findings from sugang.rehearse_step(p_role, 'editing a {kind}', format(
        'select outcome, body from sugang.edit_{kind}(''edit_{kind}'', %s, %s, ''*'', %L, ''rehearsal'', null, null)',
        p_user, items[2], json_build_object('description', 'rehearsal', 'capacity', 10)), array['id'], findings) s;

    findings := sugang.rehearse_{kind}_payment(p_role, p_user, items[1], 'free', null, findings);
    findings := sugang.rehearse_{kind}_payment(p_role, p_user, items[2], 'card', '1000.00', findings);
    findings := sugang.rehearse_{kind}_payment(p_role, p_user, items[2], 'bank_transfer', '1000.00', findings);
    findings := sugang.rehearse_{kind}_payment(p_role, p_user, items[2], 'kakaopay', '1000.00', findings);

    select * into findings, body from sugang.rehearse_step(p_role, 'holding a seat of a {kind}', format(
        'select outcome, body from sugang.preorder_{kind}(''preorder_{kind}'', %s, %s, ''45000.00'', '
        '''bank_transfer'', ''manual'', ''0'', ''200000000'', 600, ''{}'', false, ''rehearsal'', null, null)',
        p_user, items[3]), array['id'], findings);
    if body is not null then
        select s.findings into findings from sugang.rehearse_step(p_role, 'giving a seat of a {kind} up', format(
            'select outcome, body from sugang.cancel_order(''cancel_order'', %s, %s, ''rehearsal'', null, null)',
            p_user, body ->> 'id'), '{}', findings) s;
    end if;
    findings := sugang.rehearse_{kind}_payment(p_role, p_user, items[3], 'card', '45000.00', findings);

    foreach item in array items loop
        -- Not what could not be applied for.
        continue when not exists (
            select from {registrations} where user_id = p_user and {item_id} = item and status = '{active}');
        select s.findings into findings from sugang.rehearse_step(p_role, 'completing a {kind}', format(
            'select outcome, body from sugang.complete_{kind}(''complete_{kind}'', %s, %s, ''rehearsal'')',
            p_user, item), array['registration_id'], findings) s;
    end loop;
end $$;

-- Applies, cancels without a reason, applies again and cancels with one. What is free or costs more is applied for a
-- third time, and stays.
create or replace function sugang.rehearse_{kind}_payment(p_role name, p_user bigint, p_item bigint, p_method text,
                                                          p_amount text, inout findings jsonb)
language plpgsql as $$
declare
    apply constant text := format(
        'select outcome, body from sugang.register_{kind}(''register_{kind}'', %s, %s, %L, %L, ''0'', ''200000000'', '
        '''sugang_'' || gen_random_uuid(), ''rehearsal'', null, null)', p_user, p_item, p_amount, p_method);
    reason text;
    body jsonb;
begin
    foreach reason in array array[null, 'rehearsal'] loop
        select * into findings, body from sugang.rehearse_step(
            p_role, format('applying for a {kind} (%s)',
                           concat_ws(', ', p_method, p_amount, case when reason is not null then 'again' end)),
            apply, '{payment_id,registration_id}', findings);
        if body is null then return; end if;
        select * into findings, body from sugang.rehearse_step(p_role, 'cancelling a {kind}', format(
            'select outcome, body from sugang.cancel_payment(''cancel_payment'', %s, %s, %L, ''rehearsal'', null, '
            'null)', p_user, body ->> 'payment_id', reason), array['payment_id'], findings);
        if body is null then return; end if;
    end loop;
    if p_amount = '1000.00' then return; end if;
    select s.findings into findings from sugang.rehearse_step(
        p_role, format('applying for a {kind} (%s)', concat_ws(', ', p_method, p_amount, 'a third time')), apply,
        '{payment_id,registration_id}', findings) s;
end $$;
