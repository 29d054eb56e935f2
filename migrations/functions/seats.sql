-- One kind: the seats of its items. Triggers keep registration_count, whichever program writes the registrations, and
-- write the history of the registrations while the rows of the items are locked: the log has the order of the seats.
--
-- A statement locks the items that it changes in the order of their ids, so two statements never deadlock on them.

create or replace function sugang.{kind}_registrations_inserted() returns trigger language plpgsql as $$
declare
    item record;
begin
    for item in select {item_id} as id, count(*)::integer as seats from added where status <> 'cancelled'
            group by 1 order by 1 loop
        update {items} set registration_count = registration_count + item.seats where id = item.id;
    end loop;
    insert into sugang.audit_log
        (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
        select '{kind}', id, '{kind}', {item_id}, user_id, status, 0, case when status = 'cancelled' then 0 else 1 end,
               sugang.actor(), sugang.request()
        from added order by id;
    if sugang.actor() is null then
        update payments p set registration_id = a.id, registration_time = a.{registered_at}
            from added a
            where a.status <> 'cancelled' and p.user_id = a.user_id and p.object_id = a.{item_id}
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
              and p.status = 'paid' and p.registration_id is null;
    end if;
    return null;
end $$;
create or replace trigger sugang_registrations_inserted after insert on {registrations}
    referencing new table as added
    for each statement execute function sugang.{kind}_registrations_inserted();

create or replace function sugang.{kind}_registrations_updated() returns trigger language plpgsql as $$
declare
    item record;
begin
    for item in select c.id, sum(c.seats)::integer as seats from (
                select {item_id} as id, 1 as seats from added where status <> 'cancelled'
                union all
                select {item_id}, -1 from removed where status <> 'cancelled') c
            group by 1 having sum(c.seats) <> 0 order by 1 loop
        update {items} set registration_count = registration_count + item.seats where id = item.id;
    end loop;
    -- A row that comes to another user or item is a removal and an addition.
    insert into sugang.audit_log
        (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
        select '{kind}', c.id, '{kind}', c.item, c.user_id, c.status, 0, c.seats, sugang.actor(), sugang.request()
        from (
            select o.id, 0 as step, o.{item_id} as item, o.user_id,
                   case when n.id is null then 'deleted' else 'moved' end as status,
                   case when o.status = 'cancelled' then 0 else -1 end as seats
            from removed o left join added n on n.id = o.id
            where (o.user_id, o.{item_id}) is distinct from (n.user_id, n.{item_id})
            union all
            select n.id, 1, n.{item_id}, n.user_id, n.status,
                   case when n.status = 'cancelled' then 0 else 1 end
                   - case when o.status <> 'cancelled' then 1 else 0 end
            from added n left join removed o on (o.id, o.user_id, o.{item_id}) = (n.id, n.user_id, n.{item_id})
            where o.status is distinct from n.status) c
        order by c.id, c.step;
    if sugang.actor() is null then
        update payments p set registration_id = null
            from removed o join added n on n.id = o.id
            where (n.user_id, n.{item_id}) <> (o.user_id, o.{item_id})
              and p.user_id = o.user_id and p.registration_id = o.id
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}');
        update payments p set registration_id = a.id, registration_time = a.{registered_at}
            from added a
            where a.status <> 'cancelled' and p.user_id = a.user_id and p.object_id = a.{item_id}
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
              and p.status = 'paid' and p.registration_id is null;
    end if;
    return null;
end $$;
create or replace trigger sugang_registrations_updated after update on {registrations}
    referencing old table as removed new table as added
    for each statement execute function sugang.{kind}_registrations_updated();

create or replace function sugang.{kind}_registrations_deleted() returns trigger language plpgsql as $$
declare
    item record;
begin
    for item in select {item_id} as id, count(*)::integer as seats from removed where status <> 'cancelled'
            group by 1 order by 1 loop
        update {items} set registration_count = registration_count - item.seats where id = item.id;
    end loop;
    insert into sugang.audit_log
        (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
        select '{kind}', id, '{kind}', {item_id}, user_id, 'deleted', 0,
               case when status = 'cancelled' then 0 else -1 end, sugang.actor(), sugang.request()
        from removed order by id;
    return null;
end $$;
create or replace trigger sugang_registrations_deleted after delete on {registrations}
    referencing old table as removed
    for each statement execute function sugang.{kind}_registrations_deleted();

-- Before the rows are gone.
create or replace function sugang.{kind}_registrations_truncated() returns trigger language plpgsql as $$
begin
    update {items} set registration_count = 0 where registration_count <> 0;
    insert into sugang.audit_log
        (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id)
        select '{kind}', id, '{kind}', {item_id}, user_id, 'deleted', 0,
               case when status = 'cancelled' then 0 else -1 end, sugang.actor(), sugang.request()
        from {registrations} order by id;
    update payments set registration_id = null
        where registration_id is not null
          and content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}');
    return null;
end $$;
create or replace trigger sugang_registrations_truncated before truncate on {registrations}
    for each statement execute function sugang.{kind}_registrations_truncated();

create or replace trigger sugang_registration_times before insert or update on {registrations}
    for each row
    when ((new.status = 'completed') <> (new.completed_at is not null)
          or (new.status = 'cancelled') <> (new.cancelled_at is not null))
    execute function sugang.keep_registration_times();

-- Guards the count of an item: only the triggers above change it, and none takes a seat that the capacity does not
-- have. The Django service counts for itself, and writes back what it read before; both are ignored.
create or replace function sugang.guard_{kind}_seats() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.id = old.id and pg_trigger_depth() = 1 and not sugang.recounts() then
        new.registration_count := old.registration_count;
    elsif tg_op = 'INSERT' or new.id <> old.id or new.registration_count < 0 or sugang.recounts() then
        new.registration_count :=
            (select count(*) from {registrations} where {item_id} = new.id and status <> 'cancelled');
    else
        raise check_violation using
            message = format('{kind} %s has no seat left', new.id), table = '{items}',
            constraint = '{items}_capacity_kept', hint = 'Raise its capacity first.';
    end if;
    return new;
end $$;
create or replace trigger sugang_seats before update of id, registration_count on {items}
    for each row
    when (new.id <> old.id
          or new.registration_count <> old.registration_count
          and (pg_trigger_depth() = 0 or new.registration_count < 0
               or new.registration_count > old.registration_count and new.registration_count > new.capacity))
    execute function sugang.guard_{kind}_seats();
create or replace trigger sugang_seats_insert before insert on {items}
    for each row when (new.registration_count <> 0) execute function sugang.guard_{kind}_seats();

-- Where foreign keys are deferred, registrations may be written before their item. A join in another order would read
-- a whole table for one row.
create or replace function sugang.{kind}_items_inserted() returns trigger language plpgsql
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update {items} i set registration_count = r.n
        from added a cross join lateral (
            select count(*) as n from {registrations} where {item_id} = a.id and status <> 'cancelled') r
        where i.id = a.id and r.n <> a.registration_count;
    return null;
end $$;
create or replace trigger sugang_items_inserted after insert on {items}
    referencing new table as added
    for each statement execute function sugang.{kind}_items_inserted();

create or replace trigger sugang_capacity_changed before update of capacity on {items}
    for each row when (new.capacity is distinct from old.capacity)
    execute function sugang.note_capacity_change();

-- Counts every item again and returns how many counts were wrong: for an operator who has written registrations while
-- the triggers were disabled.
create or replace function sugang.recount_{kind}() returns bigint language plpgsql as $$
declare
    corrected bigint;
begin
    lock table {registrations} in share row exclusive mode;
    perform set_config('sugang.recount', 'on', true);
    update {items} i set registration_count = coalesce(r.n, 0)
        from {items} j
        left join (select {item_id}, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
            on r.{item_id} = j.id
        where i.id = j.id and j.registration_count is distinct from coalesce(r.n, 0);
    get diagnostics corrected = row_count;
    perform set_config('sugang.recount', '', true);
    return corrected;
end $$;

-- Cancels the active registrations of these users for these items that no active payment pays for any more.
create or replace function sugang.release_{kind}_seats(p_users bigint[], p_items bigint[]) returns void
language plpgsql as $$
begin
    with unpaid as (
        select r.id from unnest(p_users, p_items) u (user_id, item_id)
        join {registrations} r on r.user_id = u.user_id and r.{item_id} = u.item_id
        where r.status = '{active}' and not exists (
            select from payments p
            where p.user_id = r.user_id and p.object_id = r.{item_id} and p.status = 'paid'
              and p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}'))
        order by r.id for update of r)
    update {registrations} r set status = 'cancelled', cancelled_at = clock_timestamp()
        from unpaid where r.id = unpaid.id;
end $$;

create or replace function sugang.{kind}_payments_truncated() returns trigger language plpgsql as $$
begin
    perform sugang.release_{kind}_seats(array_agg(user_id), array_agg({item_id}))
        from {registrations} where status = '{active}' having count(*) > 0;
    return null;
end $$;
create or replace trigger sugang_{kind}_payments_truncated after truncate on payments
    for each statement execute function sugang.{kind}_payments_truncated();
