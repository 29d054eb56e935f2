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

-- That user and request; null when another program makes the change.
create or replace function sugang.actor() returns bigint language sql stable as $$
    select nullif(current_setting('sugang.actor', true), '')::bigint
$$;
create or replace function sugang.request() returns text language sql stable as $$
    select nullif(current_setting('sugang.request', true), '')
$$;

-- A payment that comes to another user or item is a removal and an addition.
create or replace function sugang.log_payment() returns trigger language plpgsql as $$
declare
    moved boolean := tg_op = 'UPDATE'
        and (old.id, old.user_id, old.content_type_id, old.object_id)
            is distinct from (new.id, new.user_id, new.content_type_id, new.object_id);
    item_kind text := (select kind from sugang.kinds where content_type_id = new.content_type_id);
    old_item_kind text;
    before numeric := 0;
    after  numeric := 0;
begin
    if tg_op <> 'INSERT' and old.status = 'paid' then before := old.amount; end if;
    if tg_op <> 'DELETE' and new.status = 'paid' then after := new.amount; end if;
    if tg_op = 'DELETE' or moved then
        old_item_kind := (select kind from sugang.kinds where content_type_id = old.content_type_id);
        insert into sugang.audit_log
            (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
            values ('payment', old.id, coalesce(old_item_kind, old.payment_type), old.object_id, old.user_id,
                    case when tg_op = 'UPDATE' and old.id = new.id then 'moved' else 'deleted' end,
                    -before, 0, sugang.actor(), sugang.request());
        before := 0;
    end if;
    if tg_op <> 'DELETE' then
        insert into sugang.audit_log
            (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
            values ('payment', new.id, coalesce(item_kind, new.payment_type), new.object_id, new.user_id, new.status,
                    after - before, 0, sugang.actor(), sugang.request());
    end if;
    return null;
end $$;
create or replace trigger sugang_audit_log after insert or delete on payments
    for each row execute function sugang.log_payment();
create or replace trigger sugang_audit_log_update
    after update of id, user_id, content_type_id, object_id, status, amount on payments
    for each row
    when ((old.id, old.user_id, old.content_type_id, old.object_id, old.status, old.amount)
          is distinct from (new.id, new.user_id, new.content_type_id, new.object_id, new.status, new.amount))
    execute function sugang.log_payment();

-- Before the rows are gone.
create or replace function sugang.log_truncated_payments() returns trigger language plpgsql as $$
begin
    insert into sugang.audit_log
        (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
        select 'payment', p.id, coalesce(k.kind, p.payment_type), p.object_id, p.user_id, 'deleted',
               case when p.status = 'paid' then -p.amount else 0 end, 0, sugang.actor(), sugang.request()
        from payments p left join sugang.kinds k using (content_type_id) order by p.id;
    return null;
end $$;
create or replace trigger sugang_audit_log_truncate before truncate on payments
    for each statement execute function sugang.log_truncated_payments();
