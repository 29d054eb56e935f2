-- The audit log: its rows, and the trigger that writes those of payments.

create or replace function sugang.refuse_audit_log_change() returns trigger language plpgsql as $$
begin
    raise exception 'sugang.audit_log is append-only' using errcode = 'insufficient_privilege';
end $$;
create or replace trigger append_only before update or delete or truncate on sugang.audit_log
    for each statement execute function sugang.refuse_audit_log_change();

-- Tells the triggers the user and the request behind the changes of this transaction.
create or replace function sugang.set_actor(p_user bigint, p_request_id text) returns void language sql as $$
    select set_config('sugang.actor', p_user::text, true), set_config('sugang.request', p_request_id, true)
$$;

create or replace function sugang.append_audit_log(p_subject text, p_id bigint, p_kind text, p_item bigint,
                                                   p_user bigint, p_status text, p_amount numeric, p_seats integer)
returns void language sql as $$
    insert into sugang.audit_log
        (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
    values (p_subject, p_id, p_kind, p_item, p_user, p_status, p_amount, p_seats,
            nullif(current_setting('sugang.actor', true), '')::bigint,
            nullif(current_setting('sugang.request', true), ''))
$$;

create or replace function sugang.log_payment() returns trigger language plpgsql as $$
declare
    before numeric := 0;
    after  numeric := 0;
    item_kind text;
begin
    if tg_op <> 'INSERT' and old.status = 'paid' then before := old.amount; end if;
    if tg_op <> 'DELETE' and new.status = 'paid' then after := new.amount; end if;
    if tg_op = 'DELETE' then
        new := old;
        new.status := 'deleted';
    end if;
    select kind into item_kind from sugang.kinds where content_type_id = new.content_type_id;
    perform sugang.append_audit_log('payment', new.id, coalesce(item_kind, new.payment_type), new.object_id,
                                    new.user_id, new.status, after - before, 0);
    return null;
end $$;
create or replace trigger sugang_audit_log after insert or delete on payments
    for each row execute function sugang.log_payment();
create or replace trigger sugang_audit_log_update after update of status, amount on payments
    for each row when (old.status is distinct from new.status or old.amount is distinct from new.amount)
    execute function sugang.log_payment();
