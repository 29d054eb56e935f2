-- One kind: the seats of its items. Triggers keep registration_count, whichever program writes the registrations, and
-- write the history of the registrations while the rows of the items are locked: the log has the order of the seats.
--
-- A statement locks the items that it changes in the order of their ids, so two statements never deadlock on them.

-- What a function of the API has written, a row at a time, which is faster. It moves no registration.
create or replace function sugang.{kind}_registration_written() returns trigger language plpgsql as $$
declare
    h sugang.audit_log;
begin
    h.actor_id := sugang.actor();
    if h.actor_id is null or sugang.recounts() or tg_op = 'UPDATE' and new.history_entries = old.history_entries then
        return null;
    end if;
    h.seats := case when new.status = 'cancelled' then 0 else 1 end;
    if tg_op = 'UPDATE' then
        h.seats := h.seats - case when old.status = 'cancelled' then 0 else 1 end;
        h.hash := sugang.hash_of_entry('{kind}', new.id, old.history_entries);
    end if;
    if h.seats <> 0 then
        update {items}
            set registration_count = registration_count + h.seats, seats_taken = seats_taken + greatest(h.seats, 0)
            where id = new.{item_id};
    end if;
    h.at := clock_timestamp();
    h.request_id := sugang.request();
    h.state := sugang.registration_state(new.id, new.user_id, new.{item_id}, new.status, new.{registered_at},
                                         new.completed_at, new.cancelled_at);
    h.hash := sugang.entry_hash(h.hash, h.state, new.history_entries, h.at, '{kind}', new.id, '{kind}', new.{item_id},
                                new.user_id, new.status, 0, h.seats, h.actor_id, h.request_id);
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry,
         state, hash)
        values (h.at, '{kind}', new.id, '{kind}', new.{item_id}, new.user_id, new.status, 0, h.seats, h.actor_id,
                h.request_id, new.history_entries, h.state, h.hash);
    return null;
end $$;
create or replace trigger sugang_registration_written after insert or update on {registrations}
    for each row execute function sugang.{kind}_registration_written();

create or replace function sugang.{kind}_registrations_inserted() returns trigger language plpgsql as $$
declare
    item record;
    happened_at timestamptz;
begin
    if sugang.actor() is not null then return null; end if;
    for item in select {item_id} as id, count(*)::integer as seats from added where status <> 'cancelled'
            group by 1 order by 1 loop
        update {items}
            set registration_count = registration_count + item.seats, seats_taken = seats_taken + item.seats
            where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
        select happened_at, '{kind}', id, '{kind}', {item_id}, user_id, status, 0, i.seats, 1, i.state,
               sugang.entry_hash(null, i.state, 1, happened_at, '{kind}', id, '{kind}', {item_id}, user_id, status, 0,
                                 i.seats, null, null)
        from added
        cross join lateral (
            select case when status = 'cancelled' then 0 else 1 end as seats,
                   sugang.registration_state(id, user_id, {item_id}, status, {registered_at}, completed_at,
                                             cancelled_at) as state offset 0) i
        order by id;
    -- Copies of other rows, as from a backup.
    if exists (select from added where history_entries <> 1) then
        perform set_config('sugang.recount', 'on', true);
        update {registrations} r set history_entries = 1 from added a where r.id = a.id;
        perform set_config('sugang.recount', '', true);
    end if;
    update payments p set registration_id = a.id, registration_time = a.{registered_at}
        from added a
        where a.status <> 'cancelled' and p.user_id = a.user_id and p.object_id = a.{item_id}
          and p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
          and p.status = 'paid' and p.registration_id is null;
    return null;
end $$;
create or replace trigger sugang_registrations_inserted after insert on {registrations}
    referencing new table as added
    for each statement execute function sugang.{kind}_registrations_inserted();

create or replace function sugang.{kind}_registrations_updated() returns trigger language plpgsql as $$
declare
    item record;
    happened_at timestamptz;
begin
    if sugang.actor() is not null or sugang.recounts() then return null; end if;
    for item in select c.id, sum(c.seats)::integer as seats, sum(c.takes)::integer as takes from (
                select n.{item_id} as id, 1 as seats, case when o.status <> 'cancelled' then 0 else 1 end as takes
                from added n left join removed o on (o.id, o.user_id, o.{item_id}) = (n.id, n.user_id, n.{item_id})
                where n.status <> 'cancelled'
                union all
                select {item_id}, -1, 0 from removed where status <> 'cancelled') c
            group by 1 having sum(c.seats) <> 0 or sum(c.takes) <> 0 order by 1 loop
        update {items}
            set registration_count = registration_count + item.seats, seats_taken = seats_taken + item.takes
            where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    -- A row that comes to another user or item is a removal and an addition.
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, hash)
        select happened_at, '{kind}', o.id, '{kind}', o.{item_id}, o.user_id, i.status, 0, i.seats,
               o.history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('{kind}', o.id, o.history_entries), null,
                                 o.history_entries + 1, happened_at, '{kind}', o.id, '{kind}', o.{item_id},
                                 o.user_id, i.status, 0, i.seats, null, null)
        from removed o left join added n on n.id = o.id
        cross join lateral (
            select case when n.id is null then 'deleted' else 'moved' end as status,
                   case when o.status = 'cancelled' then 0 else -1 end as seats) i
        where (o.user_id, o.{item_id}) is distinct from (n.user_id, n.{item_id})
        order by o.id;
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
        select happened_at, '{kind}', n.id, '{kind}', n.{item_id}, n.user_id, n.status, 0, i.seats, n.history_entries,
               i.state,
               sugang.entry_hash(sugang.hash_of_entry('{kind}', n.id, n.history_entries - 1), i.state,
                                 n.history_entries, happened_at, '{kind}', n.id, '{kind}', n.{item_id}, n.user_id,
                                 n.status, 0, i.seats, null, null)
        from added n left join removed o on (o.id, o.user_id, o.{item_id}) = (n.id, n.user_id, n.{item_id})
        cross join lateral (
            select case when n.status = 'cancelled' then 0 else 1 end
                   - case when o.status <> 'cancelled' then 1 else 0 end as seats,
                   sugang.registration_state(n.id, n.user_id, n.{item_id}, n.status, n.{registered_at},
                                             n.completed_at, n.cancelled_at) as state offset 0) i
        where n.history_entries is distinct from o.history_entries
        order by n.id;
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
    return null;
end $$;
create or replace trigger sugang_registrations_updated after update on {registrations}
    referencing old table as removed new table as added
    for each statement execute function sugang.{kind}_registrations_updated();

create or replace function sugang.{kind}_registrations_deleted() returns trigger language plpgsql as $$
declare
    item record;
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz;
begin
    for item in select {item_id} as id, count(*)::integer as seats from removed where status <> 'cancelled'
            group by 1 order by 1 loop
        update {items} set registration_count = registration_count - item.seats where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry, hash)
        select happened_at, '{kind}', id, '{kind}', {item_id}, user_id, 'deleted', 0, i.seats, actor, request,
               history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('{kind}', id, history_entries), null, history_entries + 1,
                                 happened_at, '{kind}', id, '{kind}', {item_id}, user_id, 'deleted', 0, i.seats,
                                 actor, request)
        from removed
        cross join lateral (select case when status = 'cancelled' then 0 else -1 end as seats) i
        order by id;
    return null;
end $$;
create or replace trigger sugang_registrations_deleted after delete on {registrations}
    referencing old table as removed
    for each statement execute function sugang.{kind}_registrations_deleted();

-- Before the rows are gone.
create or replace function sugang.{kind}_registrations_truncated() returns trigger language plpgsql as $$
declare
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz := clock_timestamp();
begin
    update {items} set registration_count = 0 where registration_count <> 0;
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry, hash)
        select happened_at, '{kind}', id, '{kind}', {item_id}, user_id, 'deleted', 0, i.seats, actor, request,
               history_entries + 1,
               sugang.entry_hash(sugang.hash_of_entry('{kind}', id, history_entries), null, history_entries + 1,
                                 happened_at, '{kind}', id, '{kind}', {item_id}, user_id, 'deleted', 0, i.seats,
                                 actor, request)
        from {registrations}
        cross join lateral (select case when status = 'cancelled' then 0 else -1 end as seats) i
        order by id;
    update payments set registration_id = null
        where registration_id is not null
          and content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}');
    return null;
end $$;
create or replace trigger sugang_registrations_truncated before truncate on {registrations}
    for each statement execute function sugang.{kind}_registrations_truncated();

-- The times follow the status, for a program that changes the status alone; and the entries of the registration in the
-- audit log are counted. The functions of the API count by themselves, which is faster.
create or replace function sugang.follow_{kind}_registration() returns trigger language plpgsql as $$
begin
    if (new.status = 'completed') <> (new.completed_at is not null)
       or (new.status = 'cancelled') <> (new.cancelled_at is not null) then
        new.completed_at := case when new.status = 'completed' then coalesce(new.completed_at, clock_timestamp()) end;
        new.cancelled_at := case when new.status = 'cancelled' then coalesce(new.cancelled_at, clock_timestamp()) end;
    end if;
    if tg_op = 'INSERT' or new.history_entries = old.history_entries + 1 and new.status <> old.status
       or sugang.recounts() then
        return new;
    end if;
    new.history_entries := case
        when new.id <> old.id then 1
        when (new.user_id, new.{item_id}) <> (old.user_id, old.{item_id}) then old.history_entries + 2
        when (new.status, new.{registered_at}, new.completed_at, new.cancelled_at)
            is distinct from (old.status, old.{registered_at}, old.completed_at, old.cancelled_at)
            then old.history_entries + 1
        else old.history_entries
    end;
    return new;
end $$;
-- As on payments, in audit_log.sql.
create or replace trigger sugang_z_follow before insert or update on {registrations}
    for each row execute function sugang.follow_{kind}_registration();

-- Whether this transaction has registered the user of an order that holds a seat of this item. The order gives its seat
-- up afterwards, since the row of the item is locked last.
create or replace function sugang.{kind}_hold_is_taken(p_id bigint) returns boolean language sql stable as $$
    select exists (
        select from sugang.orders o
        join {registrations} r on r.user_id = o.user_id and r.{item_id} = o.item_id and r.status <> 'cancelled'
        where o.id = nullif(current_setting('sugang.taken_hold', true), '')::bigint
          and o.kind = '{kind}' and o.item_id = p_id and o.is_live)
$$;

-- Guards the counts of an item, of registrations and of seats that orders hold: only triggers change them, and none
-- takes a seat that the capacity does not have. The Django service counts for itself, and writes back what it read
-- before; both are ignored.
create or replace function sugang.guard_{kind}_seats() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.id = old.id then
        if new.registration_count = old.registration_count and new.held_count = old.held_count
           or pg_trigger_depth() > 1 and new.registration_count >= 0 and new.held_count >= 0
              and (new.registration_count + new.held_count < old.registration_count + old.held_count
                   or new.registration_count + new.held_count <= coalesce(new.capacity, 2147483647)
                   or new.registration_count = old.registration_count + 1 and new.held_count = old.held_count
                      and sugang.{kind}_hold_is_taken(new.id)) then
            return new;
        elsif pg_trigger_depth() = 1 and not sugang.recounts() then
            new.registration_count := old.registration_count;
            new.held_count := old.held_count;
            return new;
        elsif new.registration_count >= 0 and new.held_count >= 0 and not sugang.recounts() then
            raise check_violation using
                message = format('{kind} %s has no seat left', new.id), table = '{items}',
                constraint = '{items}_capacity_kept', hint = 'Raise its capacity first.';
        end if;
    end if;
    new.registration_count :=
        (select count(*) from {registrations} where {item_id} = new.id and status <> 'cancelled');
    new.held_count := (select count(*) from sugang.orders where kind = '{kind}' and item_id = new.id and is_live);
    -- The history knows the seats under the id of before.
    if tg_op = 'UPDATE' and new.id <> old.id then new.seats_taken := 0; end if;
    return new;
end $$;
-- Without a condition, as on payments.
create or replace trigger sugang_seats before update of id, registration_count, held_count on {items}
    for each row execute function sugang.guard_{kind}_seats();
create or replace trigger sugang_seats_insert before insert on {items}
    for each row when (new.registration_count <> 0 or new.held_count <> 0)
    execute function sugang.guard_{kind}_seats();

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
