-- What happened, for ever: one row for each change of a payment or a registration, written by triggers in the
-- transaction of the change, whoever makes it. Corrections are new rows. The sums over it are the state: amounts give
-- what is paid, seats give registration_count. `cargo xtask audit` proves that on any database.

create table sugang.history (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default clock_timestamp(),
    subject    text not null,           -- 'payment', or the kind of a registration
    subject_id bigint not null,         -- the payment's or the registration's id
    item_kind  text not null,
    item_id    bigint not null,
    user_id    bigint not null,         -- whose payment or registration it is
    status     text not null,           -- the status from now on; 'deleted' for a row that is gone
    amount     numeric(12, 2) not null, -- what this adds to the sum of active payments
    seats      integer not null,        -- what this adds to registration_count
    actor_id   bigint,                  -- who asked for it; null: not through this service
    request_id text                     -- the request's id; null: not through this service
);
create index history_subject on sugang.history (subject, subject_id);

create function sugang.history_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'sugang.history is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger append_only before update or delete or truncate on sugang.history
    for each statement execute function sugang.history_is_append_only();

-- Who asks, and in which request: read by the history's triggers, gone with the transaction.
create function sugang.set_actor(p_user bigint, p_request_id text) returns void language sql as $$
    select set_config('sugang.actor', p_user::text, true), set_config('sugang.request', p_request_id, true)
$$;
create function sugang.append(p_subject text, p_id bigint, p_kind text, p_item bigint, p_user bigint, p_status text,
                              p_amount numeric, p_seats integer) returns void language sql as $$
    insert into sugang.history
        (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
    values (p_subject, p_id, p_kind, p_item, p_user, p_status, p_amount, p_seats,
            nullif(current_setting('sugang.actor', true), '')::bigint,
            nullif(current_setting('sugang.request', true), ''))
$$;

create function sugang.payment_history() returns trigger language plpgsql as $$
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
    perform sugang.append('payment', new.id, coalesce(item_kind, new.payment_type), new.object_id, new.user_id,
                          new.status, after - before, 0);
    return null;
end $$;
create trigger sugang_history after insert or delete on payments
    for each row execute function sugang.payment_history();
create trigger sugang_history_update after update of status, amount on payments
    for each row when (old.status is distinct from new.status or old.amount is distinct from new.amount)
    execute function sugang.payment_history();

-- What a database brings with it opens the books.
insert into sugang.history (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats)
    select p.paid_at, 'payment', p.id, k.kind, p.object_id, p.user_id, p.status,
           case when p.status = 'paid' then p.amount else 0 end, 0
    from payments p join sugang.kinds k using (content_type_id) order by p.id;

call sugang.define('history', $template$
    create or replace function sugang.{kind}_history() returns trigger language plpgsql as $f$
    declare
        before integer := 0;
        after  integer := 0;
    begin
        if tg_op <> 'INSERT' and old.status <> 'cancelled' then before := 1; end if;
        if tg_op <> 'DELETE' and new.status <> 'cancelled' then after := 1; end if;
        if tg_op = 'DELETE' then
            new := old;
            new.status := 'deleted';
        end if;
        perform sugang.append('{kind}', new.id, '{kind}', new.{item_id}, new.user_id, new.status, 0, after - before);
        return null;
    end $f$;
    create or replace trigger sugang_history after insert or delete on {registrations}
        for each row execute function sugang.{kind}_history();
    create or replace trigger sugang_history_update after update of status on {registrations}
        for each row when (old.status is distinct from new.status) execute function sugang.{kind}_history();
    insert into sugang.history (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats)
        select {registered_at}, '{kind}', id, '{kind}', {item_id}, user_id, status, 0,
               case when status = 'cancelled' then 0 else 1 end
        from {registrations} order by id;
$template$);
