-- One kind: the seats of its items. Triggers keep registration_count, whichever program writes the registrations, and
-- write the history of the registrations while the rows of the items are locked: the log has the order of the seats.
--
-- A statement locks the items that it changes in the order of their ids, so two statements never deadlock on them.

create or replace function sugang.{kind}_registrations_inserted() returns trigger language plpgsql as $$
declare
    item record;
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz;
begin
    for item in select {item_id} as id, count(*)::integer as seats from added where status <> 'cancelled'
            group by 1 order by 1 loop
        update {items}
            set registration_count = registration_count + item.seats, seats_taken = seats_taken + item.seats
            where id = item.id;
    end loop;
    happened_at := clock_timestamp();
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry,
         state, hash)
        select happened_at, '{kind}', id, '{kind}', {item_id}, user_id, status, 0, i.seats, actor, request, 1, i.state,
               sugang.entry_hash(null, i.state, 1, happened_at, '{kind}', id, '{kind}', {item_id}, user_id, status, 0,
                                 i.seats, actor, request)
        from added
        cross join lateral (
            select case when status = 'cancelled' then 0 else 1 end as seats,
                   sugang.registration_state(id, user_id, {item_id}, status, {registered_at}, completed_at,
                                             cancelled_at) as state offset 0) i
        order by id;
    if actor is null then
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
    end if;
    return null;
end $$;
create or replace trigger sugang_registrations_inserted after insert on {registrations}
    referencing new table as added
    for each statement execute function sugang.{kind}_registrations_inserted();

create or replace function sugang.{kind}_registrations_updated() returns trigger language plpgsql as $$
declare
    item record;
    actor bigint := sugang.actor();
    request text := sugang.request();
    happened_at timestamptz;
begin
    if sugang.recounts() then return null; end if;
    if actor is null then
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
    else
        -- The API's functions change one registration at a time, and move none.
        update {items} i
            set registration_count = i.registration_count + c.seats, seats_taken = i.seats_taken + greatest(c.seats, 0)
            from (select n.{item_id} as id,
                         (case when n.status = 'cancelled' then 0 else 1 end)
                         - (case when o.status = 'cancelled' then 0 else 1 end) as seats
                  from added n, removed o) c
            where i.id = c.id and c.seats <> 0;
    end if;
    happened_at := clock_timestamp();
    -- A row that comes to another user or item is a removal and an addition.
    if actor is null then
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
    end if;
    insert into sugang.audit_log
        (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, actor_id, request_id, entry,
         state, hash)
        select happened_at, '{kind}', n.id, '{kind}', n.{item_id}, n.user_id, n.status, 0, i.seats, actor, request,
               n.history_entries, i.state,
               sugang.entry_hash(sugang.hash_of_entry('{kind}', n.id, n.history_entries - 1), i.state,
                                 n.history_entries, happened_at, '{kind}', n.id, '{kind}', n.{item_id}, n.user_id,
                                 n.status, 0, i.seats, actor, request)
        from added n left join removed o on (o.id, o.user_id, o.{item_id}) = (n.id, n.user_id, n.{item_id})
        cross join lateral (
            select case when n.status = 'cancelled' then 0 else 1 end
                   - case when o.status <> 'cancelled' then 1 else 0 end as seats,
                   sugang.registration_state(n.id, n.user_id, n.{item_id}, n.status, n.{registered_at},
                                             n.completed_at, n.cancelled_at) as state offset 0) i
        where n.history_entries is distinct from o.history_entries
        order by n.id;
    if actor is null then
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

create or replace trigger sugang_registration_times before insert or update on {registrations}
    for each row
    when ((new.status = 'completed') <> (new.completed_at is not null)
          or (new.status = 'cancelled') <> (new.cancelled_at is not null))
    execute function sugang.keep_registration_times();

-- Counts the entries of a registration in the audit log. The functions of the API count by themselves, which is faster.
create or replace function sugang.count_{kind}_registration_entries() returns trigger language plpgsql as $$
begin
    if sugang.recounts() then return new; end if;
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
-- After all others, whose changes count as well: triggers run in the order of their names.
create or replace trigger sugang_z_entries_update before update on {registrations}
    for each row
    when (new.history_entries <> old.history_entries + 1 or new.status = old.status)
    execute function sugang.count_{kind}_registration_entries();

-- Guards the count of an item: only the triggers above change it, and none takes a seat that the capacity does not
-- have. The Django service counts for itself, and writes back what it read before; both are ignored.
create or replace function sugang.guard_{kind}_seats() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.id = old.id and pg_trigger_depth() = 1 and not sugang.recounts() then
        new.registration_count := old.registration_count;
    elsif tg_op = 'INSERT' or new.id <> old.id or new.registration_count < 0 or sugang.recounts() then
        new.registration_count :=
            (select count(*) from {registrations} where {item_id} = new.id and status <> 'cancelled');
        -- The history knows the seats under the id of before.
        if tg_op = 'UPDATE' and new.id <> old.id then new.seats_taken := 0; end if;
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

-- Writes down what the history lacks of the registrations as they are, and returns for how many: for the same operator.
create or replace function sugang.log_unlogged_{kind}_registrations() returns bigint language plpgsql as $$
declare
    happened_at timestamptz := clock_timestamp();
    logged bigint;
begin
    lock table {registrations} in share row exclusive mode;
    perform set_config('sugang.recount', 'on', true);
    with sums as (
        select subject_id as id, sum(seats) as seats, max(id) as last_id
        from sugang.audit_log where subject = '{kind}' group by 1
    ), unlogged as (
        select coalesce(r.id, s.id) as id, coalesce(r.{item_id}, l.item_id) as item_id,
               coalesce(r.user_id, l.user_id) as user_id, coalesce(r.status, 'deleted') as status,
               case when r.status <> 'cancelled' then 1 else 0 end - coalesce(s.seats, 0) as seats,
               case when l.status <> 'deleted' then l.entry end as last_entry, l.hash as last_hash, i.state
        from {registrations} r
        full join sums s on s.id = r.id
        left join sugang.audit_log l on l.id = s.last_id
        cross join lateral (select case when r.id is not null then sugang.registration_state(
            r.id, r.user_id, r.{item_id}, r.status, r.{registered_at}, r.completed_at, r.cancelled_at) end as state) i
        where case when r.id is null then (l.status, s.seats) <> ('deleted', 0)
                   else (l.entry, l.state, l.status, s.seats) is distinct from
                        (r.history_entries, i.state, r.status,
                         case when r.status <> 'cancelled' then 1 else 0 end) end
    ), entries as (
        insert into sugang.audit_log
            (at, subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
            select happened_at, '{kind}', id, '{kind}', item_id, user_id, status, 0, seats, i.entry, state,
                   sugang.entry_hash(case when last_entry is not null then last_hash end, state, i.entry, happened_at,
                                     '{kind}', id, '{kind}', item_id, user_id, status, 0, seats::integer, null, null)
            from unlogged cross join lateral (select coalesce(last_entry, 0) + 1 as entry) i
            order by id returning subject_id, entry
    ), counted as (
        update {registrations} r set history_entries = e.entry from entries e where r.id = e.subject_id
    )
    select count(*) into logged from entries;
    perform set_config('sugang.recount', '', true);
    return logged;
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
