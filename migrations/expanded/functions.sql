-- ===== accounts

-- Accounts. The API hashes and verifies passwords; the database stores the hashes.

-- The key that all spellings of an e-mail address share: case is ignored for ASCII letters alone, whatever the collation, and
-- composed and decomposed characters are equal. The index users_email_key_unique has this expression.
create or replace function sugang.email_key(p_email text) returns text language sql immutable as $$
    select translate(normalize(p_email, nfc), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')
$$;

-- The key that all spellings of a username share. The index users_username_key_unique has this expression.
create or replace function sugang.username_key(p_username text) returns text language sql immutable as $$
    select normalize(p_username, nfkc)
$$;

create or replace function sugang.user_json(users) returns text language sql stable as $$
    select json_build_object('id', $1.id, 'email', $1.email, 'username', $1.username)::text
$$;

-- p_ascii_key is the key of the address with its domain in ASCII, if it has another domain: another program may have stored
-- it like that.
create or replace function sugang.signup(p_function text, p_email text, p_ascii_key text, p_username text,
                                         p_password text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    created users;
begin
    if p_function is distinct from 'signup' then perform sugang.misrouted(p_function, 'signup'); end if;
    -- Without a check first: the unique indexes decide, between concurrent requests as well.
    insert into users (email, username, password)
        select p_email, p_username, p_password
        where not exists (select from users where sugang.email_key(email) = p_ascii_key)
        on conflict do nothing returning * into created;
    if found then
        a.outcome := 'ok';
        a.body := sugang.user_json(created);
    else
        a.outcome := 'taken';
        a.body := (select coalesce(json_agg(field), '[]') from (
            select 'email' as field where exists (
                select from users where sugang.email_key(email) in (sugang.email_key(p_email), p_ascii_key))
            union all
            select 'username' where exists (
                select from users where sugang.username_key(username) = sugang.username_key(p_username))) taken)::text;
    end if;
    return a;
end $$;

-- The stored hash that a login is verified against. The keys are those of the address in its one spelling, as the client
-- sent it, and with its domain in ASCII; where another program stored several, that of the client counts. An unknown and an
-- inactive user give the same outcome, so that a client cannot tell them apart.
create or replace function sugang.credentials(p_function text, p_key text, p_typed_key text, p_ascii_key text)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'credentials' then perform sugang.misrouted(p_function, 'credentials'); end if;
    select 'ok', json_build_object('id', id, 'email', email, 'username', username, 'password', password)::text
        into a.outcome, a.body from users
        where sugang.email_key(email) in (p_key, p_typed_key, p_ascii_key) and is_active
        order by sugang.email_key(email) = p_typed_key desc, sugang.email_key(email) = p_key desc
        limit 1;
    a.outcome := coalesce(a.outcome, 'unknown');
    return a;
end $$;

-- Records a login, and replaces a hash of the Django service, unless the password has changed in the meantime.
create or replace function sugang.logged_in(p_function text, p_user bigint, p_old_password text, p_new_password text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'logged_in' then perform sugang.misrouted(p_function, 'logged_in'); end if;
    update users
        set last_login = now(),
            password = case when password = p_old_password then coalesce(p_new_password, password) else password end
        where id = p_user and is_active;
    a.outcome := case when found then 'ok' else 'unknown' end;
    return a;
end $$;

-- ===== audit_log

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

-- ===== audit_log_of_registrations (course)

-- One kind: the trigger that writes the audit log of its registrations.
create or replace function sugang.log_course_registration() returns trigger language plpgsql as $$
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
    perform sugang.append_audit_log('course', new.id, 'course', new.course_id, new.user_id, new.status, 0,
                                    after - before);
    return null;
end $$;
create or replace trigger sugang_audit_log after insert or delete on course_registrations
    for each row execute function sugang.log_course_registration();
create or replace trigger sugang_audit_log_update after update of status on course_registrations
    for each row when (old.status is distinct from new.status) execute function sugang.log_course_registration();

-- ===== audit_log_of_registrations (test)

-- One kind: the trigger that writes the audit log of its registrations.
create or replace function sugang.log_test_registration() returns trigger language plpgsql as $$
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
    perform sugang.append_audit_log('test', new.id, 'test', new.test_id, new.user_id, new.status, 0,
                                    after - before);
    return null;
end $$;
create or replace trigger sugang_audit_log after insert or delete on test_registrations
    for each row execute function sugang.log_test_registration();
create or replace trigger sugang_audit_log_update after update of status on test_registrations
    for each row when (old.status is distinct from new.status) execute function sugang.log_test_registration();

-- ===== authorization

-- The reason why this user may not send requests; null for an active user.
create or replace function sugang.authorization_error(p_user bigint) returns sugang.outcome
language plpgsql stable as $$
declare
    active boolean;
begin
    select is_active into active from users where id = p_user;
    return case when active then null when not active then 'user_inactive' else 'user_not_found' end;
end $$;

-- ===== cancellation

-- Cancels a payment, and with it the registration.

-- Locks are taken in the order that functions/registrations.sql describes.
create or replace function sugang.do_cancel_payment(p_user bigint, p_id bigint, p_reason text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    payment payments;
    kind text;
    released boolean;
    happened_at timestamptz;
begin
    select * into payment from payments where id = p_id;
    a.outcome := case
        when payment.id is null then 'not_found'
        when payment.user_id <> p_user then 'not_owner'
    end;
    if a.outcome is not null then return a; end if;
    -- The lock that a registration takes first: a cancellation and a new registration never overtake each other.
    select k.kind into strict kind from sugang.kinds k where content_type_id = payment.content_type_id;
    perform pg_advisory_xact_lock(hashtextextended(kind || ' ' || payment.object_id, p_user));
    select * into payment from payments where id = p_id for update;
    if payment.status is distinct from 'paid' then
        a.outcome := 'already_cancelled';
        return a;
    end if;
    happened_at := clock_timestamp();
    execute format('select sugang.%I($1, $2, $3)', 'cancel_' || kind || '_registration')
        into released using p_user, payment.object_id::bigint, happened_at;
    if not released then
        a.outcome := 'item_completed';
        a.body := json_build_object('payment_type', kind)::text;
        return a;
    end if;
    update payments set status = 'cancelled', cancelled_at = happened_at, refund_reason = p_reason where id = p_id;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', p_id, 'cancelled_at', sugang.iso(happened_at))::text;
    return a;
end $$;

create or replace function sugang.cancel_payment(p_function text, p_user bigint, p_id bigint, p_reason text,
                                                 p_request_id text, p_key text, p_fingerprint text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'cancel_payment' then perform sugang.misrouted(p_function, 'cancel_payment'); end if;
    a := sugang.begin_idempotent(p_user, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_cancel_payment(p_user, p_id, p_reason));
end $$;

-- ===== catalogue/available_count (course)

-- One kind: the number of items that are available now, kept in sugang.available_counts.

create or replace function sugang.course_available_count(p_now timestamptz) returns bigint
language plpgsql stable as $$
declare
    known bigint;
begin
    select n into known from sugang.available_counts
        where kind = 'course' and valid_from <= p_now and p_now < valid_until;
    return coalesce(known, sugang.course_count_available(p_now));
end $$;

-- Counts the items that have started less those that have ended, and keeps the result until the next one starts or
-- ends. Volatile, so that each statement sees what was committed before it. On a large table the planner expects a
-- statement that reads a few rows to read many; compiling it or starting parallel workers would take longer than the
-- rows.
create or replace function sugang.course_count_available(p_now timestamptz) returns bigint
language plpgsql set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    this_hour timestamptz := date_trunc('hour', p_now, 'UTC');
    counted bigint;
    keeps boolean;
begin
    -- While this row is locked, every writer that invalidates the count does so after it is kept. Without the lock
    -- nothing is kept: another request counts, or a writer is at work.
    perform from sugang.available_counts where kind = 'course' for update skip locked;
    keeps := found;
    counted := sugang.count_before_hour('course', 'start', p_now) - sugang.count_before_hour('course', 'end', p_now)
        + (select count(*) from courses where start_at >= this_hour and start_at <= p_now and start_at <= end_at)
        - (select count(*) from courses where end_at >= this_hour and end_at < p_now and start_at <= end_at);
    if keeps then
        update sugang.available_counts
            set n = counted,
                valid_from = greatest('-infinity', (select max(start_at) from courses where start_at <= p_now),
                                      (select max(end_at) from courses where end_at < p_now)
                                          + interval '1 microsecond'),
                valid_until = least((select min(start_at) from courses where start_at > p_now),
                                    (select min(end_at) from courses where end_at >= p_now)
                                        + interval '1 microsecond', 'infinity')
            where kind = 'course';
        -- A count that is lost in a crash is taken again.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    return counted;
end $$;

-- ===== catalogue/available_count (test)

-- One kind: the number of items that are available now, kept in sugang.available_counts.

create or replace function sugang.test_available_count(p_now timestamptz) returns bigint
language plpgsql stable as $$
declare
    known bigint;
begin
    select n into known from sugang.available_counts
        where kind = 'test' and valid_from <= p_now and p_now < valid_until;
    return coalesce(known, sugang.test_count_available(p_now));
end $$;

-- Counts the items that have started less those that have ended, and keeps the result until the next one starts or
-- ends. Volatile, so that each statement sees what was committed before it. On a large table the planner expects a
-- statement that reads a few rows to read many; compiling it or starting parallel workers would take longer than the
-- rows.
create or replace function sugang.test_count_available(p_now timestamptz) returns bigint
language plpgsql set jit = off set max_parallel_workers_per_gather = 0 as $$
declare
    this_hour timestamptz := date_trunc('hour', p_now, 'UTC');
    counted bigint;
    keeps boolean;
begin
    -- While this row is locked, every writer that invalidates the count does so after it is kept. Without the lock
    -- nothing is kept: another request counts, or a writer is at work.
    perform from sugang.available_counts where kind = 'test' for update skip locked;
    keeps := found;
    counted := sugang.count_before_hour('test', 'start', p_now) - sugang.count_before_hour('test', 'end', p_now)
        + (select count(*) from tests where start_at >= this_hour and start_at <= p_now and start_at <= end_at)
        - (select count(*) from tests where end_at >= this_hour and end_at < p_now and start_at <= end_at);
    if keeps then
        update sugang.available_counts
            set n = counted,
                valid_from = greatest('-infinity', (select max(start_at) from tests where start_at <= p_now),
                                      (select max(end_at) from tests where end_at < p_now)
                                          + interval '1 microsecond'),
                valid_until = least((select min(start_at) from tests where start_at > p_now),
                                    (select min(end_at) from tests where end_at >= p_now)
                                        + interval '1 microsecond', 'infinity')
            where kind = 'test';
        -- A count that is lost in a crash is taken again.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    return counted;
end $$;

-- ===== catalogue/bucket_counts

-- Keeps and reads sugang.bucket_counts.

-- Adds the sign of each given item to its buckets, and invalidates the available count, in the transaction of the
-- change. Buckets are always locked in the same order, so two writers never deadlock on them.
create or replace function sugang.add_to_bucket_counts(p_kind text, p_sign integer[], p_created timestamptz[],
                                                       p_start timestamptz[], p_end timestamptz[])
returns void language sql as $$
    with edges as (
        select 'created' as edge, at, sign from unnest(p_created, p_sign) s (at, sign)
        union all
        select e.edge, e.at, sign from unnest(p_start, p_end, p_sign) s (start_at, end_at, sign)
            cross join lateral (values ('start', s.start_at), ('end', s.end_at)) e (edge, at)
            where s.start_at <= s.end_at
    ), hours as (
        select edge, date_trunc('hour', at, 'UTC') as bucket, sum(sign) as n from edges group by 1, 2
    )
    insert into sugang.bucket_counts (kind, edge, level, bucket, n)
        select p_kind, edge, level, date_trunc(level, bucket, 'UTC'), sum(n)
        from hours cross join (values ('month'), ('day'), ('hour')) l (level)
        group by 1, 2, 3, 4 having sum(n) <> 0 order by 2, 3, 4
    on conflict (kind, edge, level, bucket) do update set n = bucket_counts.n + excluded.n;
    update sugang.available_counts set valid_from = 'infinity' where kind = p_kind;
$$;

-- For triggers. The first argument is the kind; the second one, after a statement, is the sign.
create or replace function sugang.bucket_counts_after_statement() returns trigger language plpgsql as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array_agg(tg_argv[1]::integer), array_agg(created_at),
                                        array_agg(start_at), array_agg(end_at)) from changed having count(*) > 0;
    return null;
end $$;
create or replace function sugang.bucket_counts_after_row() returns trigger language plpgsql as $$
begin
    perform sugang.add_to_bucket_counts(tg_argv[0], array[-1, 1], array[old.created_at, new.created_at],
                                        array[old.start_at, new.start_at], array[old.end_at, new.end_at]);
    return null;
end $$;
create or replace function sugang.bucket_counts_after_truncate() returns trigger language plpgsql as $$
begin
    delete from sugang.bucket_counts where kind = tg_argv[0];
    update sugang.available_counts set valid_from = 'infinity' where kind = tg_argv[0];
    return null;
end $$;

-- The number of items whose edge is before the hour of p_at.
create or replace function sugang.count_before_hour(p_kind text, p_edge text, p_at timestamptz) returns bigint
language plpgsql stable as $$
declare
    this_month timestamptz := date_trunc('month', p_at, 'UTC');
    this_day   timestamptz := date_trunc('day', p_at, 'UTC');
    this_hour  timestamptz := date_trunc('hour', p_at, 'UTC');
begin
    return (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'month' and bucket < this_month)
         + (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'day' and bucket >= this_month and bucket < this_day)
         + (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = p_edge and level = 'hour' and bucket >= this_day and bucket < this_hour);
end $$;

-- The number of all items.
create or replace function sugang.total_count(p_kind text) returns bigint language plpgsql stable as $$
begin
    return (select coalesce(sum(n), 0) from sugang.bucket_counts
            where kind = p_kind and edge = 'created' and level = 'month');
end $$;

-- Finds the item at p_offset in newest-first order: it was created before created_before, after `skip` other items of
-- that hour. Nulls when there are fewer items.
create or replace function sugang.seek_newest(p_kind text, p_offset bigint, out created_before timestamptz,
                                              out skip bigint)
language plpgsql stable as $$
declare
    finer text;
    begins timestamptz := '-infinity'::timestamptz;
begin
    created_before := 'infinity';
    skip := p_offset;
    foreach finer in array array['month', 'day', 'hour'] loop
        select t.bucket, skip - (t.upto - t.n) into begins, skip from (
            select bucket, n, sum(n) over (order by bucket desc) as upto from sugang.bucket_counts
            where kind = p_kind and edge = 'created' and level = finer
              and bucket >= begins and bucket < created_before) t
        where t.upto > skip order by t.bucket desc limit 1;
        created_before := (begins at time zone 'UTC' + ('1 ' || finer)::interval) at time zone 'UTC';
    end loop;
end $$;

-- ===== catalogue/bucket_counts_of_items (course)

-- One kind: the triggers that keep sugang.bucket_counts.
create or replace trigger sugang_bucket_counts_insert after insert on courses referencing new table as changed
    for each statement execute function sugang.bucket_counts_after_statement('course', '1');
create or replace trigger sugang_bucket_counts_delete after delete on courses referencing old table as changed
    for each statement execute function sugang.bucket_counts_after_statement('course', '-1');
-- For each row, because a statement's trigger would run on every change of registration_count.
create or replace trigger sugang_bucket_counts_update after update of created_at, start_at, end_at on courses
    for each row
    when ((old.created_at, old.start_at, old.end_at) is distinct from (new.created_at, new.start_at, new.end_at))
    execute function sugang.bucket_counts_after_row('course');
create or replace trigger sugang_bucket_counts_truncate after truncate on courses
    for each statement execute function sugang.bucket_counts_after_truncate('course');

-- ===== catalogue/bucket_counts_of_items (test)

-- One kind: the triggers that keep sugang.bucket_counts.
create or replace trigger sugang_bucket_counts_insert after insert on tests referencing new table as changed
    for each statement execute function sugang.bucket_counts_after_statement('test', '1');
create or replace trigger sugang_bucket_counts_delete after delete on tests referencing old table as changed
    for each statement execute function sugang.bucket_counts_after_statement('test', '-1');
-- For each row, because a statement's trigger would run on every change of registration_count.
create or replace trigger sugang_bucket_counts_update after update of created_at, start_at, end_at on tests
    for each row
    when ((old.created_at, old.start_at, old.end_at) is distinct from (new.created_at, new.start_at, new.end_at))
    execute function sugang.bucket_counts_after_row('test');
create or replace trigger sugang_bucket_counts_truncate after truncate on tests
    for each statement execute function sugang.bucket_counts_after_truncate('test');

-- ===== catalogue/items (course)

-- One kind: the list of its items, and a single item.

-- The JSON objects of the API in the order of the ids, separated by commas.
create or replace function sugang.course_json(p_user bigint, p_ids bigint[]) returns text
language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
        select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join courses i on i.id = wanted.id
        cross join lateral (select
            i.id, i.title, i.description, i.price::text as price,
            sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
            sugang.iso(i.created_at) as created_at,
            exists (select from course_registrations r
                    where r.user_id = p_user and r.course_id = i.id and r.status <> 'cancelled') as is_registered,
            i.registration_count, i.capacity, i.capacity - i.registration_count as remaining) o)
        page (o_ordinality, o));
end $$;

-- A search without a letter or a digit raises a notice that no caller reads and that some drivers mishandle; hence
-- client_min_messages.
create or replace function sugang.list_course(p_function text, p_user bigint, p_page bigint, p_available boolean,
                                              p_search text, p_popular boolean)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.function_row;
    ids bigint[];
    query tsquery;
    from_row bigint;
    asked_at timestamptz := now();
begin
    if p_function is distinct from 'list_course' then perform sugang.misrouted(p_function, 'list_course'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    if btrim(p_search) <> '' then
        query := sugang.search_query(p_search);
        a := sugang.paginate(sugang.course_search_count(p_available, query, asked_at), p_page);
    elsif p_available then
        a := sugang.paginate(sugang.course_available_count(asked_at), p_page);
    else
        a := sugang.paginate(sugang.total_count('course'), p_page);
    end if;
    if a.outcome is not null then return a; end if;
    from_row := (a.page - 1) * sugang.page_size();
    -- The way that reads fewer rows: all matches, or the order of the list until the page is full.
    if a.count = 0 then
        ids := '{}';
    elsif query is not null and a.count::float8 * a.count
            <= (from_row + sugang.page_size())::float8 * sugang.total_count('course') then
        ids := sugang.course_matching_page(p_available, query, p_popular, from_row, asked_at);
    elsif p_popular then
        ids := sugang.course_popular_page(p_available, query, from_row, a.count, asked_at);
    else
        ids := sugang.course_newest_page(p_available, query, from_row, a.count, asked_at);
    end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce(sugang.course_json(p_user, ids), '') || ']';
    return a;
end $$;

create or replace function sugang.get_course(p_function text, p_user bigint, p_id bigint) returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_course' then perform sugang.misrouted(p_function, 'get_course'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    a.body := sugang.course_json(p_user, array[p_id]);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- ===== catalogue/items (test)

-- One kind: the list of its items, and a single item.

-- The JSON objects of the API in the order of the ids, separated by commas.
create or replace function sugang.test_json(p_user bigint, p_ids bigint[]) returns text
language plpgsql stable as $$
begin
    return (select string_agg(row_to_json(o)::text, ',' order by o_ordinality) from (
        select wanted.ordinality as o_ordinality, o from unnest(p_ids) with ordinality wanted (id, ordinality)
        join tests i on i.id = wanted.id
        cross join lateral (select
            i.id, i.title, i.description, i.price::text as price,
            sugang.iso(i.start_at) as start_at, sugang.iso(i.end_at) as end_at,
            sugang.iso(i.created_at) as created_at,
            exists (select from test_registrations r
                    where r.user_id = p_user and r.test_id = i.id and r.status <> 'cancelled') as is_registered,
            i.registration_count, i.capacity, i.capacity - i.registration_count as remaining) o)
        page (o_ordinality, o));
end $$;

-- A search without a letter or a digit raises a notice that no caller reads and that some drivers mishandle; hence
-- client_min_messages.
create or replace function sugang.list_test(p_function text, p_user bigint, p_page bigint, p_available boolean,
                                              p_search text, p_popular boolean)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning as $$
declare
    a sugang.function_row;
    ids bigint[];
    query tsquery;
    from_row bigint;
    asked_at timestamptz := now();
begin
    if p_function is distinct from 'list_test' then perform sugang.misrouted(p_function, 'list_test'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    if btrim(p_search) <> '' then
        query := sugang.search_query(p_search);
        a := sugang.paginate(sugang.test_search_count(p_available, query, asked_at), p_page);
    elsif p_available then
        a := sugang.paginate(sugang.test_available_count(asked_at), p_page);
    else
        a := sugang.paginate(sugang.total_count('test'), p_page);
    end if;
    if a.outcome is not null then return a; end if;
    from_row := (a.page - 1) * sugang.page_size();
    -- The way that reads fewer rows: all matches, or the order of the list until the page is full.
    if a.count = 0 then
        ids := '{}';
    elsif query is not null and a.count::float8 * a.count
            <= (from_row + sugang.page_size())::float8 * sugang.total_count('test') then
        ids := sugang.test_matching_page(p_available, query, p_popular, from_row, asked_at);
    elsif p_popular then
        ids := sugang.test_popular_page(p_available, query, from_row, a.count, asked_at);
    else
        ids := sugang.test_newest_page(p_available, query, from_row, a.count, asked_at);
    end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce(sugang.test_json(p_user, ids), '') || ']';
    return a;
end $$;

create or replace function sugang.get_test(p_function text, p_user bigint, p_id bigint) returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_test' then perform sugang.misrouted(p_function, 'get_test'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    a.body := sugang.test_json(p_user, array[p_id]);
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- ===== catalogue/pages (course)

-- One kind: the ids of one page of its items. p_query null means no search.

-- Newest first. Without a search p_count is exact, and a page in the second half is reached from the other end.
create or replace function sugang.course_newest_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                     p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    created_before timestamptz := 'infinity'::timestamptz;
begin
    if p_query is not null then
        -- Along the order until the page is full: bitmap scans are off because the planner cannot know that the
        -- word is frequent.
        return array(select item_id from sugang.course_search
            where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now))
            order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
    end if;
    if p_available and p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at from courses
            where start_at <= p_now and end_at >= p_now
            order by created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by created_at desc, id desc);
    end if;
    if not p_available and p_offset > 0 then
        select * into created_before, p_offset from sugang.seek_newest('course', p_offset);
    end if;
    return array(select id from courses
        where created_at < created_before and (not p_available or (start_at <= p_now and end_at >= p_now))
        order by created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- Most registrations first.
create or replace function sugang.course_popular_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                      p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    if p_query is not null then
        -- Along the order until the page is full. Not a join, which the planner would begin at the other table.
        return array(select id from courses i
            where (not p_available or (start_at <= p_now and end_at >= p_now))
              and (select search_vector from sugang.course_search where item_id = i.id) @@ p_query
            order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
    end if;
    if p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at, registration_count from courses
            where not p_available or (start_at <= p_now and end_at >= p_now)
            order by registration_count, created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by registration_count desc, created_at desc, id desc);
    end if;
    return array(select id from courses
        where not p_available or (start_at <= p_now and end_at >= p_now)
        order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- For a search with few matches: sorts all of them.
create or replace function sugang.course_matching_page(p_available boolean, p_query tsquery, p_popular boolean,
                                                       p_offset bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
begin
    -- Materialized, since the planner would hope that a walk along the order soon fills the page.
    if p_popular then
        return array(
            with found as materialized (
                select item_id from sugang.course_search
                where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now)))
            select i.id from found join courses i on i.id = item_id
            order by i.registration_count desc, i.created_at desc, i.id desc
            offset p_offset limit sugang.page_size());
    end if;
    return array(
        with found as materialized (
            select item_id, created_at from sugang.course_search
            where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now)))
        select item_id from found order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
end $$;

-- ===== catalogue/pages (test)

-- One kind: the ids of one page of its items. p_query null means no search.

-- Newest first. Without a search p_count is exact, and a page in the second half is reached from the other end.
create or replace function sugang.test_newest_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                     p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    created_before timestamptz := 'infinity'::timestamptz;
begin
    if p_query is not null then
        -- Along the order until the page is full: bitmap scans are off because the planner cannot know that the
        -- word is frequent.
        return array(select item_id from sugang.test_search
            where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now))
            order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
    end if;
    if p_available and p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at from tests
            where start_at <= p_now and end_at >= p_now
            order by created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by created_at desc, id desc);
    end if;
    if not p_available and p_offset > 0 then
        select * into created_before, p_offset from sugang.seek_newest('test', p_offset);
    end if;
    return array(select id from tests
        where created_at < created_before and (not p_available or (start_at <= p_now and end_at >= p_now))
        order by created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- Most registrations first.
create or replace function sugang.test_popular_page(p_available boolean, p_query tsquery, p_offset bigint,
                                                      p_count bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_bitmapscan = off set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    if p_query is not null then
        -- Along the order until the page is full. Not a join, which the planner would begin at the other table.
        return array(select id from tests i
            where (not p_available or (start_at <= p_now and end_at >= p_now))
              and (select search_vector from sugang.test_search where item_id = i.id) @@ p_query
            order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
    end if;
    if p_offset > p_count / 2 then
        return array(select id from (
            select id, created_at, registration_count from tests
            where not p_available or (start_at <= p_now and end_at >= p_now)
            order by registration_count, created_at, id offset greatest(p_count - p_offset - sugang.page_size(), 0)
            limit least(p_count - p_offset, sugang.page_size())) page
            order by registration_count desc, created_at desc, id desc);
    end if;
    return array(select id from tests
        where not p_available or (start_at <= p_now and end_at >= p_now)
        order by registration_count desc, created_at desc, id desc offset p_offset limit sugang.page_size());
end $$;

-- For a search with few matches: sorts all of them.
create or replace function sugang.test_matching_page(p_available boolean, p_query tsquery, p_popular boolean,
                                                       p_offset bigint, p_now timestamptz)
returns bigint[] language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set max_parallel_workers_per_gather = 0 as $$
begin
    -- Materialized, since the planner would hope that a walk along the order soon fills the page.
    if p_popular then
        return array(
            with found as materialized (
                select item_id from sugang.test_search
                where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now)))
            select i.id from found join tests i on i.id = item_id
            order by i.registration_count desc, i.created_at desc, i.id desc
            offset p_offset limit sugang.page_size());
    end if;
    return array(
        with found as materialized (
            select item_id, created_at from sugang.test_search
            where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now)))
        select item_id from found order by created_at desc, item_id desc offset p_offset limit sugang.page_size());
end $$;

-- ===== catalogue/search_changes

-- Records the changes of items that a search can see, in sugang.search_changes. For triggers: the first argument is the
-- kind; the second one, after a statement, is the sign.

-- Recording more than 1,000 changes would take longer than counting again.
create or replace function sugang.record_search_changes() returns trigger language plpgsql as $$
begin
    if exists (select from changed offset 1000) then
        insert into sugang.search_changes (kind) values (tg_argv[0]);
    else
        insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
            select tg_argv[0], tg_argv[1]::integer, search_vector, start_at, end_at from changed;
    end if;
    return null;
end $$;
create or replace function sugang.record_search_update() returns trigger language plpgsql as $$
begin
    insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
        values (tg_argv[0], -1, old.search_vector, old.start_at, old.end_at),
               (tg_argv[0], 1, new.search_vector, new.start_at, new.end_at);
    return null;
end $$;
create or replace function sugang.record_search_truncate() returns trigger language plpgsql as $$
begin
    insert into sugang.search_changes (kind) values (tg_argv[0]);
    return null;
end $$;

-- ===== catalogue/search_changes_of_items (course)

-- One kind: the triggers that record its changes in sugang.search_changes.
create or replace trigger sugang_search_insert after insert on sugang.course_search referencing new table as changed
    for each statement execute function sugang.record_search_changes('course', '1');
create or replace trigger sugang_search_delete after delete on sugang.course_search referencing old table as changed
    for each statement execute function sugang.record_search_changes('course', '-1');
create or replace trigger sugang_search_update
    after update on sugang.course_search for each row
    when ((old.search_vector, old.start_at, old.end_at) is distinct from (new.search_vector, new.start_at, new.end_at))
    execute function sugang.record_search_update('course');
create or replace trigger sugang_search_truncate after truncate on sugang.course_search
    for each statement execute function sugang.record_search_truncate('course');

-- ===== catalogue/search_changes_of_items (test)

-- One kind: the triggers that record its changes in sugang.search_changes.
create or replace trigger sugang_search_insert after insert on sugang.test_search referencing new table as changed
    for each statement execute function sugang.record_search_changes('test', '1');
create or replace trigger sugang_search_delete after delete on sugang.test_search referencing old table as changed
    for each statement execute function sugang.record_search_changes('test', '-1');
create or replace trigger sugang_search_update
    after update on sugang.test_search for each row
    when ((old.search_vector, old.start_at, old.end_at) is distinct from (new.search_vector, new.start_at, new.end_at))
    execute function sugang.record_search_update('test');
create or replace trigger sugang_search_truncate after truncate on sugang.test_search
    for each statement execute function sugang.record_search_truncate('test');

-- ===== catalogue/search_count_of_items (course)

-- One kind: the number of items that a search matches.

-- Adjusts a stored count to p_as_of and returns it with the snapshot that it now includes; nulls when that is
-- impossible. Comparing with `is true` keeps the planner from the search index: few items start or end in between.
create or replace function sugang.course_adjust_search_count(p_known sugang.search_counts, p_query tsquery,
                                                             p_as_of timestamptz, out n bigint,
                                                             out snapshot pg_snapshot)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    select p_known.n
        + coalesce(sum(c.sign) filter (
            where c.search_vector @@ p_query and (not p_known.available
                or (c.start_at <= p_known.as_of and c.end_at >= p_known.as_of))), 0)
        + case when p_known.available then
            (select count(*) from courses i join sugang.course_search s on s.item_id = i.id
             where i.start_at > p_known.as_of and i.start_at <= p_as_of and i.start_at <= i.end_at
               and (s.search_vector @@ p_query) is true)
          - (select count(*) from courses i join sugang.course_search s on s.item_id = i.id
             where i.end_at >= p_known.as_of and i.end_at < p_as_of and i.start_at <= i.end_at
               and (s.search_vector @@ p_query) is true)
          else 0 end,
        pg_current_snapshot()
        into n, snapshot
        from sugang.search_changes c
        where c.kind = 'course' and c.xid >= pg_snapshot_xmin(p_known.snapshot)
          and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, p_known.snapshot))
        having coalesce(bool_and(c.sign <> 0), true) and count(*) = count(c.sign);
end $$;

create or replace function sugang.course_search_count(p_available boolean, p_query tsquery, p_now timestamptz)
returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '32MB' set jit = off as $$
declare
    -- Not the hash of the query alone: a session may still count as it did before V17.
    fingerprint text := md5('lexemes ' || p_query::text);
    lock_key bigint := hashtextextended('course ' || p_available || ' ' || p_query::text, 0);
    negated_terms tsquery := sugang.negated_terms(p_query);
    known sugang.search_counts;
    begun timestamptz;
    found_n bigint;
    snapshot_now pg_snapshot;
begin
    if negated_terms is not null then
        found_n := case when p_available then sugang.course_available_count(p_now)
                        else sugang.total_count('course') end
            - sugang.course_search_count(p_available, negated_terms, p_now);
        if found_n > sugang.search_count_exact_limit() then return found_n; end if;
    end if;
    known := sugang.stored_search_count('course', p_available, fingerprint);
    -- One request counts before the stored count is too old to show, and no other request waits for it. Requests
    -- without a count to show wait for the one that counts, and use its result.
    if known.counted_at > clock_timestamp() - sugang.search_count_max_age() / 2 then return known.n; end if;
    if not pg_try_advisory_xact_lock(lock_key) then
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
        perform pg_advisory_xact_lock_shared(lock_key);
        known := sugang.stored_search_count('course', p_available, fingerprint);
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
    end if;
    begun := clock_timestamp();
    if known.n is not null then
        p_now := greatest(p_now, known.as_of);
        select n, snapshot into found_n, snapshot_now
            from sugang.course_adjust_search_count(known, p_query, p_now);
    -- A few matches are counted with a cached plan. (When no term is required, finding a few costs as much as counting
    -- all.)
    elsif querytree(p_query) <> 'T' then
        with found as materialized (
            select from sugang.course_search
            where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now)))
        select count(*) into found_n from (select from found limit sugang.search_count_exact_limit() + 1) probe;
        if found_n <= sugang.search_count_exact_limit() then return found_n; end if;
    end if;
    if snapshot_now is null then
        -- Planned for these very words: for some of them reading the whole table is faster.
        perform set_config('enable_seqscan', 'on', true);
        execute 'select count(*), pg_current_snapshot() from sugang.course_search
                 where search_vector @@ $1 and (not $2 or (start_at <= $3 and end_at >= $3))'
            into found_n, snapshot_now using p_query, p_available, p_now;
    end if;
    -- A transaction sees its own changes, which no snapshot shows.
    if pg_current_xact_id_if_assigned() is not null then return found_n; end if;
    if found_n > sugang.search_count_exact_limit() then
        insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid)
            values ('course', p_available, fingerprint, found_n, p_now, snapshot_now, begun,
                    'sugang.search_counts'::regclass)
            on conflict (kind, available, query) do update
            set n = excluded.n, as_of = excluded.as_of, snapshot = excluded.snapshot, counted_at = excluded.counted_at,
                table_oid = excluded.table_oid;
    elsif known.n is not null then
        delete from sugang.search_counts
            where kind = 'course' and available = p_available and query = fingerprint;
    end if;
    if known.n is null or random() < 0.1 then perform sugang.prune_search_counts('course'); end if;
    return found_n;
end $$;

-- ===== catalogue/search_count_of_items (test)

-- One kind: the number of items that a search matches.

-- Adjusts a stored count to p_as_of and returns it with the snapshot that it now includes; nulls when that is
-- impossible. Comparing with `is true` keeps the planner from the search index: few items start or end in between.
create or replace function sugang.test_adjust_search_count(p_known sugang.search_counts, p_query tsquery,
                                                             p_as_of timestamptz, out n bigint,
                                                             out snapshot pg_snapshot)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
begin
    select p_known.n
        + coalesce(sum(c.sign) filter (
            where c.search_vector @@ p_query and (not p_known.available
                or (c.start_at <= p_known.as_of and c.end_at >= p_known.as_of))), 0)
        + case when p_known.available then
            (select count(*) from tests i join sugang.test_search s on s.item_id = i.id
             where i.start_at > p_known.as_of and i.start_at <= p_as_of and i.start_at <= i.end_at
               and (s.search_vector @@ p_query) is true)
          - (select count(*) from tests i join sugang.test_search s on s.item_id = i.id
             where i.end_at >= p_known.as_of and i.end_at < p_as_of and i.start_at <= i.end_at
               and (s.search_vector @@ p_query) is true)
          else 0 end,
        pg_current_snapshot()
        into n, snapshot
        from sugang.search_changes c
        where c.kind = 'test' and c.xid >= pg_snapshot_xmin(p_known.snapshot)
          and (c.sign = 0 or not pg_visible_in_snapshot(c.xid, p_known.snapshot))
        having coalesce(bool_and(c.sign <> 0), true) and count(*) = count(c.sign);
end $$;

create or replace function sugang.test_search_count(p_available boolean, p_query tsquery, p_now timestamptz)
returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '32MB' set jit = off as $$
declare
    -- Not the hash of the query alone: a session may still count as it did before V17.
    fingerprint text := md5('lexemes ' || p_query::text);
    lock_key bigint := hashtextextended('test ' || p_available || ' ' || p_query::text, 0);
    negated_terms tsquery := sugang.negated_terms(p_query);
    known sugang.search_counts;
    begun timestamptz;
    found_n bigint;
    snapshot_now pg_snapshot;
begin
    if negated_terms is not null then
        found_n := case when p_available then sugang.test_available_count(p_now)
                        else sugang.total_count('test') end
            - sugang.test_search_count(p_available, negated_terms, p_now);
        if found_n > sugang.search_count_exact_limit() then return found_n; end if;
    end if;
    known := sugang.stored_search_count('test', p_available, fingerprint);
    -- One request counts before the stored count is too old to show, and no other request waits for it. Requests
    -- without a count to show wait for the one that counts, and use its result.
    if known.counted_at > clock_timestamp() - sugang.search_count_max_age() / 2 then return known.n; end if;
    if not pg_try_advisory_xact_lock(lock_key) then
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
        perform pg_advisory_xact_lock_shared(lock_key);
        known := sugang.stored_search_count('test', p_available, fingerprint);
        if known.counted_at > clock_timestamp() - sugang.search_count_max_age() then return known.n; end if;
    end if;
    begun := clock_timestamp();
    if known.n is not null then
        p_now := greatest(p_now, known.as_of);
        select n, snapshot into found_n, snapshot_now
            from sugang.test_adjust_search_count(known, p_query, p_now);
    -- A few matches are counted with a cached plan. (When no term is required, finding a few costs as much as counting
    -- all.)
    elsif querytree(p_query) <> 'T' then
        with found as materialized (
            select from sugang.test_search
            where search_vector @@ p_query and (not p_available or (start_at <= p_now and end_at >= p_now)))
        select count(*) into found_n from (select from found limit sugang.search_count_exact_limit() + 1) probe;
        if found_n <= sugang.search_count_exact_limit() then return found_n; end if;
    end if;
    if snapshot_now is null then
        -- Planned for these very words: for some of them reading the whole table is faster.
        perform set_config('enable_seqscan', 'on', true);
        execute 'select count(*), pg_current_snapshot() from sugang.test_search
                 where search_vector @@ $1 and (not $2 or (start_at <= $3 and end_at >= $3))'
            into found_n, snapshot_now using p_query, p_available, p_now;
    end if;
    -- A transaction sees its own changes, which no snapshot shows.
    if pg_current_xact_id_if_assigned() is not null then return found_n; end if;
    if found_n > sugang.search_count_exact_limit() then
        insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid)
            values ('test', p_available, fingerprint, found_n, p_now, snapshot_now, begun,
                    'sugang.search_counts'::regclass)
            on conflict (kind, available, query) do update
            set n = excluded.n, as_of = excluded.as_of, snapshot = excluded.snapshot, counted_at = excluded.counted_at,
                table_oid = excluded.table_oid;
    elsif known.n is not null then
        delete from sugang.search_counts
            where kind = 'test' and available = p_available and query = fingerprint;
    end if;
    if known.n is null or random() < 0.1 then perform sugang.prune_search_counts('test'); end if;
    return found_n;
end $$;

-- ===== catalogue/search_counts

-- What the counts of searches for all kinds have in common. See sugang.search_counts.

-- Up to this number the count of a search is exact. Above it, the count may be as old as search_count_max_age().
create or replace function sugang.search_count_exact_limit() returns bigint language sql immutable as $$
    select 1000::bigint
$$;
create or replace function sugang.search_count_max_age() returns interval language sql immutable as $$
    select interval '30 seconds'
$$;

-- A count that has not been refreshed for this long is deleted.
create or replace function sugang.search_count_lifetime() returns interval language sql immutable as $$
    select interval '1 day'
$$;

-- A search that only excludes terms matches nearly every row, and no index helps to count that. So the rows that it
-- excludes are counted: this returns the search for them, and null for any other search.
create or replace function sugang.negated_terms(p_query tsquery) returns tsquery language plpgsql immutable as $$
declare
    word text;
    words text := '';
    depth integer := 0;
    begins boolean := true;
begin
    -- 'T': no term is required. Blanks separate the operators of a query and occur in no word.
    if querytree(p_query) <> 'T' then return null; end if;
    foreach word in array string_to_array(p_query::text, ' ') loop
        if depth = 0 and word = '&' then
            words := words || ' |';
            begins := true;
        elsif depth = 0 and (word = '|' or begins and word not like '!%') then
            return null;
        else
            words := words || ' ' || case when begins then substr(word, 2) else word end;
            depth := depth + length(replace(word, ')', '')) - length(replace(word, '(', ''));
            begins := false;
        end if;
    end loop;
    return words::tsquery;
end $$;

-- The stored count of a search, whatever its age; nulls when there is none. Volatile, so that it sees what was
-- committed before it.
create or replace function sugang.stored_search_count(p_kind text, p_available boolean, p_fingerprint text)
returns sugang.search_counts language plpgsql as $$
declare
    known sugang.search_counts;
begin
    select * into known from sugang.search_counts
        where kind = p_kind and available = p_available and query = p_fingerprint and table_oid = tableoid
          and counted_at > clock_timestamp() - sugang.search_count_lifetime();
    return known;
end $$;

-- Deletes expired counts, all but the latest 10,000, and the changes that every remaining count includes. A count that
-- is being taken may not include them, so the last pruned change stays as a marker for all before it.
create or replace function sugang.prune_search_counts(p_kind text) returns void language plpgsql as $$
declare
    needed xid8;
begin
    -- One at a time; another session prunes soon enough.
    if not pg_try_advisory_xact_lock(hashtextextended('prune_search_counts ' || p_kind, 0)) then return; end if;
    delete from sugang.search_counts
        where kind = p_kind
          and (table_oid <> tableoid or counted_at < clock_timestamp() - sugang.search_count_lifetime()
              or counted_at < (select counted_at from sugang.search_counts where kind = p_kind
                               order by counted_at desc offset 10000 limit 1));
    needed := coalesce((select pg_snapshot_xmin(snapshot) from sugang.search_counts where kind = p_kind
                        order by 1 limit 1), pg_snapshot_xmin(pg_current_snapshot()));
    with pruned as (
        -- A change of a future transaction comes from a restored dump.
        delete from sugang.search_changes
            where kind = p_kind and (xid < needed or xid >= pg_snapshot_xmax(pg_current_snapshot())) returning xid)
    insert into sugang.search_changes (kind, xid, sign)
        select p_kind, xid, 0 from pruned where xid < needed order by xid desc limit 1;
end $$;

-- ===== catalogue/search_table_of_items (course)

-- One kind: the triggers that keep sugang.course_search.

create or replace function sugang.course_search_inserted() returns trigger language plpgsql as $$
begin
    insert into sugang.course_search (item_id, created_at, start_at, end_at, search_vector)
        select id, created_at, start_at, end_at, sugang.search_vector(title, description)
        from changed order by created_at;
    return null;
end $$;
create or replace function sugang.course_search_updated() returns trigger language plpgsql as $$
begin
    if old.id <> new.id then delete from sugang.course_search where item_id = old.id; end if;
    insert into sugang.course_search as s (item_id, created_at, start_at, end_at, search_vector)
        values (new.id, new.created_at, new.start_at, new.end_at, sugang.search_vector(new.title, new.description))
        on conflict (item_id) do update
        set created_at = excluded.created_at, start_at = excluded.start_at, end_at = excluded.end_at,
            search_vector = excluded.search_vector;
    return null;
end $$;
create or replace function sugang.course_search_deleted() returns trigger language plpgsql as $$
begin
    delete from sugang.course_search where item_id in (select id from changed);
    return null;
end $$;
create or replace function sugang.course_search_truncated() returns trigger language plpgsql as $$
begin
    truncate sugang.course_search;
    return null;
end $$;

create or replace trigger sugang_search_table_insert after insert on courses referencing new table as changed
    for each statement execute function sugang.course_search_inserted();
-- For each row, because a statement's trigger would run on every change of registration_count.
create or replace trigger sugang_search_table_update
    after update of id, title, description, created_at, start_at, end_at on courses for each row
    when ((old.id, old.title, old.description, old.created_at, old.start_at, old.end_at)
          is distinct from (new.id, new.title, new.description, new.created_at, new.start_at, new.end_at))
    execute function sugang.course_search_updated();
create or replace trigger sugang_search_table_delete after delete on courses referencing old table as changed
    for each statement execute function sugang.course_search_deleted();
create or replace trigger sugang_search_table_truncate after truncate on courses
    for each statement execute function sugang.course_search_truncated();

-- ===== catalogue/search_table_of_items (test)

-- One kind: the triggers that keep sugang.test_search.

create or replace function sugang.test_search_inserted() returns trigger language plpgsql as $$
begin
    insert into sugang.test_search (item_id, created_at, start_at, end_at, search_vector)
        select id, created_at, start_at, end_at, sugang.search_vector(title, description)
        from changed order by created_at;
    return null;
end $$;
create or replace function sugang.test_search_updated() returns trigger language plpgsql as $$
begin
    if old.id <> new.id then delete from sugang.test_search where item_id = old.id; end if;
    insert into sugang.test_search as s (item_id, created_at, start_at, end_at, search_vector)
        values (new.id, new.created_at, new.start_at, new.end_at, sugang.search_vector(new.title, new.description))
        on conflict (item_id) do update
        set created_at = excluded.created_at, start_at = excluded.start_at, end_at = excluded.end_at,
            search_vector = excluded.search_vector;
    return null;
end $$;
create or replace function sugang.test_search_deleted() returns trigger language plpgsql as $$
begin
    delete from sugang.test_search where item_id in (select id from changed);
    return null;
end $$;
create or replace function sugang.test_search_truncated() returns trigger language plpgsql as $$
begin
    truncate sugang.test_search;
    return null;
end $$;

create or replace trigger sugang_search_table_insert after insert on tests referencing new table as changed
    for each statement execute function sugang.test_search_inserted();
-- For each row, because a statement's trigger would run on every change of registration_count.
create or replace trigger sugang_search_table_update
    after update of id, title, description, created_at, start_at, end_at on tests for each row
    when ((old.id, old.title, old.description, old.created_at, old.start_at, old.end_at)
          is distinct from (new.id, new.title, new.description, new.created_at, new.start_at, new.end_at))
    execute function sugang.test_search_updated();
create or replace trigger sugang_search_table_delete after delete on tests referencing old table as changed
    for each statement execute function sugang.test_search_deleted();
create or replace trigger sugang_search_table_truncate after truncate on tests
    for each statement execute function sugang.test_search_truncated();

-- ===== catalogue/search_vector (course)

-- One kind: the words of an item, those of the title before those of the description.
create or replace function sugang.course_search_vector() returns trigger language plpgsql as $$
begin
    new.search_vector := setweight(to_tsvector('simple', coalesce(new.title, '')), 'A')
                      || setweight(to_tsvector('simple', coalesce(new.description, '')), 'B');
    return new;
end $$;
create or replace trigger sugang_search_vector before insert or update of title, description on courses
    for each row execute function sugang.course_search_vector();

-- ===== catalogue/search_vector (test)

-- One kind: the words of an item, those of the title before those of the description.
create or replace function sugang.test_search_vector() returns trigger language plpgsql as $$
begin
    new.search_vector := setweight(to_tsvector('simple', coalesce(new.title, '')), 'A')
                      || setweight(to_tsvector('simple', coalesce(new.description, '')), 'B');
    return new;
end $$;
create or replace trigger sugang_search_vector before insert or update of title, description on tests
    for each row execute function sugang.test_search_vector();

-- ===== idempotency

-- What every change has in common: authorization, the actor for the audit log, and the idempotency key.

create or replace function sugang.idempotency_lifetime() returns interval language sql immutable as $$
    select interval '24 hours'
$$;

-- Begins a change. A null outcome means that the caller makes the change; any other row is the result to return.
create or replace function sugang.begin_idempotent(p_user bigint, p_request_id text, p_key text, p_fingerprint text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    stored sugang.idempotency_keys;
begin
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    perform sugang.set_actor(p_user, p_request_id);
    if p_key is null then return a; end if;
    -- Held until the effect commits: a request that does not get the lock has met the first one still at work.
    -- The prefix keeps a key that reads like an item apart from the lock of that item.
    if not pg_try_advisory_xact_lock(hashtextextended('key ' || p_key, p_user)) then
        a.outcome := 'in_progress';
        return a;
    end if;
    select * into stored from sugang.idempotency_keys where user_id = p_user and key = p_key;
    if stored.created_at > clock_timestamp() - sugang.idempotency_lifetime() then
        if stored.fingerprint = p_fingerprint then
            a.outcome := stored.outcome;
            a.body := stored.body;
            a.replayed := true;
        else
            a.outcome := 'key_reused';
        end if;
    end if;
    return a;
end $$;

-- Ends a change: stores its result under the key, and deletes a few expired keys, so no scheduled job is needed.
create or replace function sugang.end_idempotent(p_user bigint, p_key text, p_fingerprint text,
                                                 p_row sugang.function_row)
returns sugang.function_row language plpgsql as $$
begin
    -- A 403 is never stored: it depends on the user, not on what has happened.
    if p_key is not null and p_row.outcome <> 'not_owner' then
        insert into sugang.idempotency_keys (user_id, key, fingerprint, outcome, body)
            values (p_user, p_key, p_fingerprint, p_row.outcome, p_row.body)
            on conflict (user_id, key) do update
                set fingerprint = excluded.fingerprint, outcome = excluded.outcome, body = excluded.body,
                    created_at = excluded.created_at;
        delete from sugang.idempotency_keys where ctid = any (array(
            select ctid from sugang.idempotency_keys
            where created_at < clock_timestamp() - sugang.idempotency_lifetime()
            order by created_at limit 10 for update skip locked));
    end if;
    return p_row;
end $$;

-- ===== misrouted

-- Every function that the API calls is told the name that it is called by. Behind a connection pooler, a session may
-- execute another prepared statement than the one that was meant; the function that is reached then refuses the call,
-- before it reads or writes anything.

-- Raises the error by which the API recognizes such a call.
create or replace function sugang.misrouted(p_called text, p_reached text) returns void language plpgsql as $$
begin
    raise sqlstate 'SG001' using message = format('a call of %s reached %s', coalesce(p_called, 'nothing'), p_reached);
end $$;

-- ===== outcomes

-- Every word that a function may return as its outcome. The API turns each into a status and a message.
alter domain sugang.outcome drop constraint if exists known;
alter domain sugang.outcome add constraint known check (value in (
    'ok',
    -- the user
    'user_not_found', 'user_inactive', 'taken', 'unknown', 'token_ended', 'token_reused',
    -- the idempotency key
    'in_progress', 'key_reused',
    -- lists and details
    'invalid_page', 'not_found',
    -- registering and completing
    'already_registered', 'not_open', 'amount_mismatch', 'amount_out_of_bounds', 'sold_out',
    'not_registered', 'already_completed', 'cancelled',
    -- cancelling a payment
    'not_owner', 'already_cancelled', 'item_completed'
));

-- ===== pagination

create or replace function sugang.page_size() returns integer language sql immutable parallel safe as $$ select 20 $$;

-- Fills count, page and pages of a list; the outcome is null when the page exists. Page 0 is the last page. An empty
-- list has one page.
create or replace function sugang.paginate(p_count bigint, p_page bigint) returns sugang.function_row
language plpgsql immutable as $$
declare
    a sugang.function_row;
begin
    a.count := p_count;
    a.pages := greatest((p_count + sugang.page_size() - 1) / sugang.page_size(), 1);
    a.page := case p_page when 0 then a.pages else p_page end;
    if a.page not between 1 and a.pages then a.outcome := 'invalid_page'; end if;
    return a;
end $$;

-- ===== payment_snapshot

-- Fills the snapshot of a payment that another program writes without it, as the Django service does.
create or replace function sugang.payment_snapshot() returns trigger language plpgsql as $$
declare
    title text;
    registration_id bigint;
    registration_time timestamptz;
begin
    execute format('select * from sugang.%I($1, $2)',
                   (select kind from sugang.kinds where content_type_id = new.content_type_id) || '_payment_snapshot')
        into title, registration_id, registration_time using new.user_id, new.object_id::bigint;
    new.target_title := title;
    new.registration_id := registration_id;
    new.registration_time := coalesce(registration_time, new.paid_at);
    new.search_vector := coalesce(new.search_vector, to_tsvector('simple', coalesce(title, '')));
    return new;
end $$;
create or replace trigger sugang_payment_snapshot before insert on payments
    for each row when (new.target_title is null) execute function sugang.payment_snapshot();

-- ===== payment_snapshot_of_kind (course)

-- One kind: the title and the registration that a payment for it copies.
create or replace function sugang.course_payment_snapshot(p_user bigint, p_item bigint, out title text,
                                                          out registration_id bigint,
                                                          out registration_time timestamptz)
language sql stable as $$
    select i.title, r.id, r.enrolled_at
    from courses i left join course_registrations r on r.course_id = i.id and r.user_id = p_user
    where i.id = p_item
$$;

-- ===== payment_snapshot_of_kind (test)

-- One kind: the title and the registration that a payment for it copies.
create or replace function sugang.test_payment_snapshot(p_user bigint, p_item bigint, out title text,
                                                          out registration_id bigint,
                                                          out registration_time timestamptz)
language sql stable as $$
    select i.title, r.id, r.applied_at
    from tests i left join test_registrations r on r.test_id = i.id and r.user_id = p_user
    where i.id = p_item
$$;

-- ===== payment_title

-- Keeps payments.title_vector, whatever writes the title.
create or replace function sugang.payment_title() returns trigger language plpgsql as $$
begin
    new.title_vector := sugang.search_vector(new.target_title, null);
    return new;
end $$;
-- After sugang_payment_snapshot, which fills the title: triggers run in the order of their names.
create or replace trigger sugang_payment_title_insert before insert on payments
    for each row when (new.title_vector is null) execute function sugang.payment_title();
create or replace trigger sugang_payment_title_update before update of target_title on payments
    for each row when (old.target_title is distinct from new.target_title) execute function sugang.payment_title();

-- ===== payments

-- The payments of one user.

-- Returns a set of one row, since PostgreSQL inlines only such a function into the statement that calls it.
create or replace function sugang.payment_json(p payments) returns table (object text) language sql stable as $$
    select row_to_json(o)::text from (select
        p.id, p.payment_type, p.target_title, c.model as target_type, p.object_id as target_id,
        p.amount::text as amount, p.payment_method, p.status,
        sugang.iso(p.paid_at) as paid_at, sugang.iso(p.cancelled_at) as cancelled_at,
        sugang.iso(coalesce(p.registration_time, p.paid_at)) as registration_time
        from django_content_type c where c.id = p.content_type_id) o
$$;

-- p_from and p_to are days in UTC, both inclusive. A long list costs no more than a short one: a page is read along the
-- index in the order of the list and never sorted, and the count of all payments is an index-only scan.
create or replace function sugang.list_payments(p_function text, p_user bigint, p_page bigint, p_status text,
                                                p_type text, p_from text, p_to text, p_search text)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_generic_plan
set client_min_messages = warning set enable_bitmapscan = off set enable_sort = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    found_n bigint;
    query tsquery;
    not_before timestamptz;
    before timestamptz;
begin
    if p_function is distinct from 'list_payments' then perform sugang.misrouted(p_function, 'list_payments'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    not_before := (p_from || ' 00:00:00+00')::timestamptz;
    before := (p_to || ' 00:00:00+00')::timestamptz + interval '24 hours';
    if btrim(p_search) <> '' then query := sugang.search_query(p_search); end if;
    if coalesce(p_status, p_type, p_from, p_to, query::text) is null then
        select count(*) into found_n from payments where user_id = p_user;
    else
        select count(*) into found_n from payments
            where user_id = p_user and (p_status is null or status = p_status)
              and (p_type is null or payment_type = p_type)
              and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
              and (query is null or coalesce(title_vector, sugang.search_vector(target_title, null)) @@ query);
    end if;
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(object, ',' order by paid_at desc, id desc) from (
        select * from payments
        where user_id = p_user and (p_status is null or status = p_status) and (p_type is null or payment_type = p_type)
          and (not_before is null or paid_at >= not_before) and (before is null or paid_at < before)
          and (query is null or coalesce(title_vector, sugang.search_vector(target_title, null)) @@ query)
        order by paid_at desc, id desc
        offset (a.page - 1) * sugang.page_size() limit sugang.page_size()) p, sugang.payment_json(p)), '') || ']';
    return a;
end $$;

create or replace function sugang.get_payment(p_function text, p_user bigint, p_id bigint) returns sugang.function_row
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'get_payment' then perform sugang.misrouted(p_function, 'get_payment'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    select object into a.body from payments p, sugang.payment_json(p) where id = p_id and user_id = p_user;
    a.outcome := case when a.body is null then 'not_found' else 'ok' end;
    return a;
end $$;

-- ===== ready

create or replace function sugang.ready(p_function text) returns sugang.function_row language plpgsql stable as $$
begin
    if p_function is distinct from 'ready' then perform sugang.misrouted(p_function, 'ready'); end if;
    return row('ok', null, null, null, null, null)::sugang.function_row;
end $$;

-- ===== registrations (course)

-- One kind: registers a user for an item, completes a registration, cancels one. Each is one statement that checks,
-- locks, writes and builds the response.
--
-- Locks are always taken in this order: idempotency key, user and item (advisory), payment, registration, item. The
-- item is last because all registrations for it contend for its row: the row stays locked only until the commit.

create or replace function sugang.do_register_course(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                     p_min numeric, p_max numeric, p_external_id text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item courses;
    registration course_registrations;
    payment_id bigint;
    happened_at timestamptz;
    content_type integer;
begin
    -- Serializes the requests of one user for one item, even before there is a row to lock.
    perform pg_advisory_xact_lock(hashtextextended('course ' || p_id, p_user));
    happened_at := clock_timestamp();
    select * into item from courses where id = p_id;
    if not found then
        a.outcome := 'not_found';
        return a;
    end if;
    select * into registration from course_registrations where user_id = p_user and course_id = p_id for update;
    a.outcome := case
        when registration.status <> 'cancelled' then 'already_registered'
        when happened_at not between item.start_at and item.end_at then 'not_open'
        when p_amount <> item.price then 'amount_mismatch'
        when p_amount not between p_min and p_max then 'amount_out_of_bounds'
        when item.registration_count >= item.capacity then 'sold_out'
    end;
    if a.outcome is not null then return a; end if;

    -- Checked once more where it is decided: under the lock of the row.
    update courses set registration_count = registration_count + 1
        where id = p_id and price = item.price and registration_count < coalesce(capacity, 2147483647);
    if not found then
        select case when price <> item.price then 'amount_mismatch' else 'sold_out' end
            into a.outcome from courses where id = p_id;
        a.outcome := coalesce(a.outcome, 'not_found');
        return a;
    end if;
    if registration.id is null then
        insert into course_registrations (user_id, course_id, status, enrolled_at)
            values (p_user, p_id, 'enrolled', happened_at) returning * into registration;
    else
        update course_registrations
            set status = 'enrolled', enrolled_at = happened_at, completed_at = null, cancelled_at = null
            where id = registration.id;
    end if;
    select content_type_id into content_type from sugang.kinds where kind = 'course';
    insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                          external_transaction_id, status, paid_at, search_vector, title_vector,
                          target_title, registration_id, registration_time)
        values (p_user, 'course', content_type, p_id, p_amount, p_method,
                p_external_id, 'paid', happened_at, to_tsvector('simple', item.title),
                (select ts_filter(search_vector, array['a'::"char"]) from sugang.course_search where item_id = p_id),
                item.title, registration.id, happened_at)
        returning id into payment_id;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', payment_id, 'registration_id', registration.id)::text;
    return a;
end $$;

create or replace function sugang.register_course(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                  p_method text, p_min text, p_max text, p_external_id text,
                                                  p_request_id text, p_key text, p_fingerprint text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'register_course' then
        perform sugang.misrouted(p_function, 'register_course');
    end if;
    a := sugang.begin_idempotent(p_user, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_register_course(
        p_user, p_id, p_amount::numeric, p_method, p_min::numeric, p_max::numeric, p_external_id));
end $$;

create or replace function sugang.complete_course(p_function text, p_user bigint, p_id bigint, p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    registration course_registrations;
begin
    if p_function is distinct from 'complete_course' then
        perform sugang.misrouted(p_function, 'complete_course');
    end if;
    a := sugang.begin_idempotent(p_user, p_request_id, null, null);
    if a.outcome is not null then return a; end if;
    select * into registration from course_registrations where user_id = p_user and course_id = p_id for update;
    a.outcome := case
        when registration.id is null then 'not_registered'
        when registration.status = 'completed' then 'already_completed'
        when registration.status = 'cancelled' then 'cancelled'
    end;
    if a.outcome is not null then return a; end if;
    update course_registrations set status = 'completed', completed_at = clock_timestamp()
        where id = registration.id returning * into registration;
    a.outcome := 'ok';
    a.body := json_build_object('registration_id', registration.id,
                                'completed_at', sugang.iso(registration.completed_at))::text;
    return a;
end $$;

-- Cancels a registration and frees its seat. Returns false for a completed one, which stays as it is.
create or replace function sugang.cancel_course_registration(p_user bigint, p_id bigint, p_now timestamptz)
returns boolean language plpgsql as $$
declare
    registration course_registrations;
begin
    select * into registration from course_registrations where user_id = p_user and course_id = p_id for update;
    if registration.status = 'completed' then return false; end if;
    if registration.status = 'enrolled' then
        update course_registrations set status = 'cancelled', cancelled_at = p_now where id = registration.id;
        update courses set registration_count = registration_count - 1 where id = p_id;
    end if;
    return true;
end $$;

-- ===== registrations (test)

-- One kind: registers a user for an item, completes a registration, cancels one. Each is one statement that checks,
-- locks, writes and builds the response.
--
-- Locks are always taken in this order: idempotency key, user and item (advisory), payment, registration, item. The
-- item is last because all registrations for it contend for its row: the row stays locked only until the commit.

create or replace function sugang.do_register_test(p_user bigint, p_id bigint, p_amount numeric, p_method text,
                                                     p_min numeric, p_max numeric, p_external_id text)
returns sugang.function_row language plpgsql as $$
declare
    a sugang.function_row;
    item tests;
    registration test_registrations;
    payment_id bigint;
    happened_at timestamptz;
    content_type integer;
begin
    -- Serializes the requests of one user for one item, even before there is a row to lock.
    perform pg_advisory_xact_lock(hashtextextended('test ' || p_id, p_user));
    happened_at := clock_timestamp();
    select * into item from tests where id = p_id;
    if not found then
        a.outcome := 'not_found';
        return a;
    end if;
    select * into registration from test_registrations where user_id = p_user and test_id = p_id for update;
    a.outcome := case
        when registration.status <> 'cancelled' then 'already_registered'
        when happened_at not between item.start_at and item.end_at then 'not_open'
        when p_amount <> item.price then 'amount_mismatch'
        when p_amount not between p_min and p_max then 'amount_out_of_bounds'
        when item.registration_count >= item.capacity then 'sold_out'
    end;
    if a.outcome is not null then return a; end if;

    -- Checked once more where it is decided: under the lock of the row.
    update tests set registration_count = registration_count + 1
        where id = p_id and price = item.price and registration_count < coalesce(capacity, 2147483647);
    if not found then
        select case when price <> item.price then 'amount_mismatch' else 'sold_out' end
            into a.outcome from tests where id = p_id;
        a.outcome := coalesce(a.outcome, 'not_found');
        return a;
    end if;
    if registration.id is null then
        insert into test_registrations (user_id, test_id, status, applied_at)
            values (p_user, p_id, 'applied', happened_at) returning * into registration;
    else
        update test_registrations
            set status = 'applied', applied_at = happened_at, completed_at = null, cancelled_at = null
            where id = registration.id;
    end if;
    select content_type_id into content_type from sugang.kinds where kind = 'test';
    insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                          external_transaction_id, status, paid_at, search_vector, title_vector,
                          target_title, registration_id, registration_time)
        values (p_user, 'test', content_type, p_id, p_amount, p_method,
                p_external_id, 'paid', happened_at, to_tsvector('simple', item.title),
                (select ts_filter(search_vector, array['a'::"char"]) from sugang.test_search where item_id = p_id),
                item.title, registration.id, happened_at)
        returning id into payment_id;
    a.outcome := 'ok';
    a.body := json_build_object('payment_id', payment_id, 'registration_id', registration.id)::text;
    return a;
end $$;

create or replace function sugang.register_test(p_function text, p_user bigint, p_id bigint, p_amount text,
                                                  p_method text, p_min text, p_max text, p_external_id text,
                                                  p_request_id text, p_key text, p_fingerprint text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'register_test' then
        perform sugang.misrouted(p_function, 'register_test');
    end if;
    a := sugang.begin_idempotent(p_user, p_request_id, p_key, p_fingerprint);
    if a.outcome is not null then return a; end if;
    return sugang.end_idempotent(p_user, p_key, p_fingerprint, sugang.do_register_test(
        p_user, p_id, p_amount::numeric, p_method, p_min::numeric, p_max::numeric, p_external_id));
end $$;

create or replace function sugang.complete_test(p_function text, p_user bigint, p_id bigint, p_request_id text)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
    registration test_registrations;
begin
    if p_function is distinct from 'complete_test' then
        perform sugang.misrouted(p_function, 'complete_test');
    end if;
    a := sugang.begin_idempotent(p_user, p_request_id, null, null);
    if a.outcome is not null then return a; end if;
    select * into registration from test_registrations where user_id = p_user and test_id = p_id for update;
    a.outcome := case
        when registration.id is null then 'not_registered'
        when registration.status = 'completed' then 'already_completed'
        when registration.status = 'cancelled' then 'cancelled'
    end;
    if a.outcome is not null then return a; end if;
    update test_registrations set status = 'completed', completed_at = clock_timestamp()
        where id = registration.id returning * into registration;
    a.outcome := 'ok';
    a.body := json_build_object('registration_id', registration.id,
                                'completed_at', sugang.iso(registration.completed_at))::text;
    return a;
end $$;

-- Cancels a registration and frees its seat. Returns false for a completed one, which stays as it is.
create or replace function sugang.cancel_test_registration(p_user bigint, p_id bigint, p_now timestamptz)
returns boolean language plpgsql as $$
declare
    registration test_registrations;
begin
    select * into registration from test_registrations where user_id = p_user and test_id = p_id for update;
    if registration.status = 'completed' then return false; end if;
    if registration.status = 'applied' then
        update test_registrations set status = 'cancelled', cancelled_at = p_now where id = registration.id;
        update tests set registration_count = registration_count - 1 where id = p_id;
    end if;
    return true;
end $$;

-- ===== search

-- How text is searched: what a title, a description and a query are made of.
--
-- A text is a sequence of runs: of syllables (Hangul, and other scripts that write no blank between words), of digits,
-- or of letters. A run of letters or digits is one lexeme. A run of syllables is one lexeme for each pair of neighbors,
-- at the position of the first one (정보처리 is 정보, 보처, 처리), so that every part of two syllables or more is found by
-- exact look-ups; a run of a single syllable is that syllable. In a title, the last syllable of a run also pairs with
-- the first one of the next run, with _ between them, so that a query may leave out blanks that the title has.

-- The form in which texts and queries are compared: NFKC, lower case, without invisible characters. A + or # behind a
-- letter belongs to it (C++, C#, A+): private characters stand for them.
create or replace function sugang.search_fold(p_text text) returns text
language plpgsql immutable strict parallel safe as $$
declare
    folded text := lower(normalize(translate(p_text, U&'\00AD\200B\200C\200D\2060\FEFF', ''), nfkc));
begin
    if folded ~ '[+#]' then
        folded := regexp_replace(folded, '([a-z])\+\+', U&'\\1\E000', 'g');
        folded := regexp_replace(folded, '([a-z])#', U&'\\1\E001', 'g');
        folded := regexp_replace(folded, '([a-z])\+(?![a-z0-9])', U&'\\1\E002', 'g');
    end if;
    return folded;
end $$;

-- For bracket expressions: the syllables (Hangul, Kana, Han), and what separates runs.
create or replace function sugang.search_syllables() returns text language sql immutable parallel safe as $$
    select '\uAC00-\uD7A3\u1100-\u115E\u1161-\u119D\u119F-\u11FF\u3041-\u3096\u309D-\u30FA\u30FC-\u30FF\u31F0-\u31FF'
        '\u3005-\u3007\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\U00020000-\U000323AF'
$$;
create or replace function sugang.search_separators() returns text language sql immutable parallel safe as $$
    select '\u0001-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u00A9\u00AB-\u00B4\u00B6-\u00B9\u00BB-\u00BF\u00D7\u00F7'
        '\u060C\u061B\u061F\u0964\u0965\u115F\u1160\u119E\u2000-\u206F\u20A0-\u2BFF\u2E00-\u2E7F\u3000-\u3004'
        '\u3008-\u3020\u3030-\u303F\u3099-\u309C\u30FB\uFE00-\uFE6F\uFFF0-\uFFFF\U0001F000-\U0001FAFF'
        '\U000E0000-\U000E0FFF'
$$;

-- The lexemes of a text, separated by blanks, one for each position; a dot is a position without a lexeme.
-- With p_joined, each run of syllables is paired with the next one: x_y, or x~y when x is a run by itself.
-- Cut off after 16,000 characters: a tsvector has not more positions.
create or replace function sugang.search_lexemes(p_text text, p_joined boolean) returns text
language plpgsql immutable strict parallel safe as $$
declare
    t text := left(sugang.search_fold(p_text), 16000);
begin
    -- Blanks around each run of digits or letters, and one blank for all else that separates.
    t := regexp_replace(t, '[0-9]+|[^0-9' || sugang.search_syllables() || sugang.search_separators() || ']+', ' \& ', 'g');
    t := btrim(regexp_replace(t, '[' || sugang.search_separators() || ']+', ' ', 'g'));
    -- ab cde f g: ab. cde. f g
    t := regexp_replace(t, '[' || sugang.search_syllables() || ']{2,}', '\&.', 'g');
    if p_joined then
        -- ab_cde_f~g
        t := regexp_replace(t, '\. (?=[' || sugang.search_syllables() || '])', '_', 'g');
        t := regexp_replace(t, '(?<=[' || sugang.search_syllables() || ']) (?=[' || sugang.search_syllables() || '])',
                            '~', 'g');
    end if;
    -- ab b_c cd de e_f f~g g, or ab. cd de. f g
    t := regexp_replace(t, '(?<=[_~' || sugang.search_syllables() || '])[' || sugang.search_syllables() || '](?=[_~'
                           || sugang.search_syllables() || '])|(?<=[_~])[' || sugang.search_syllables() || ']',
                        '\& \&', 'g');
    return replace(t, '.', ' .');
end $$;

-- The lexemes of a title and a description, with the weights A and B. No phrase reaches from one into the other.
create or replace function sugang.search_vector(p_title text, p_description text) returns tsvector
language plpgsql immutable parallel safe as $$
declare
    title text := coalesce(sugang.search_lexemes(p_title, true), '');
    title_length integer := length(title) - length(replace(title, ' ', '')) + 1;
    lexemes text := concat_ws(' . ', title, sugang.search_lexemes(p_description, false));
begin
    return (select coalesce(string_agg(left(lexeme, 64) || case when n > title_length then ':' || n || 'B'
                                       else ':' || n || 'A' end, ' '), '')
            from string_to_table(lexemes, ' ') with ordinality l (lexeme, n) where lexeme not in ('', '.'))::tsvector;
end $$;

-- The query for one word or quoted phrase, in the syntax of a tsquery; null when it has nothing to look for.
--
-- Its runs stand side by side. Parts of a run of syllables match; the last run of letters or digits is a beginning,
-- unless quoted; a single syllable alone is a run of its own. A run of four syllables or more also matches across the
-- runs of a title, unless quoted.
create or replace function sugang.search_term(p_term text, p_quoted boolean) returns text
language plpgsql immutable strict parallel safe as $$
declare
    runs text[] := array(select m[1] from regexp_matches(p_term,
        '[' || sugang.search_syllables() || ']+|[0-9]+|[^0-9' || sugang.search_syllables()
            || sugang.search_separators() || ']+', 'g') m);
    run text;
    term text;
    steps integer := 0; -- positions since the last lexeme
begin
    for i in 1..cardinality(runs) loop
        run := runs[i];
        if run !~ ('^[' || sugang.search_syllables() || ']') then
            run := '''' || left(run, 64) || case when i = cardinality(runs) and not p_quoted then ''':*' else '''' end;
            term := concat_ws(' <' || steps || '> ', term, run);
            steps := 1;
        elsif length(run) = 1 then
            -- Behind another run, it is the beginning of its own.
            run := case when i = cardinality(runs) and i > 1 and not p_quoted then '''' || run || ''':*'
                        else '(''' || run || ''' | ''' || run || '~'':*)' end;
            term := concat_ws(' <' || steps || '> ', term, run);
            steps := 1;
        else
            for j in 1..length(run) - 1 loop
                term := concat_ws(' <' || steps || '> ', term,
                    case when p_quoted or length(run) < 4 then '''' || substr(run, j, 2) || ''''
                         else format('(''%1$s%2$s'' | ''%1$s_%2$s'' | ''%1$s~%2$s'')', substr(run, j, 1),
                                     substr(run, j + 1, 1)) end);
                steps := 1;
            end loop;
            steps := 2;
        end if;
    end loop;
    return '(' || term || ')';
end $$;

-- A search as websearch_to_tsquery reads it: words are and-ed; "phrase", or, -not. PostgreSQL reads a text in which a
-- name stands for each word and phrase, and the names are replaced by what they stand for.
create or replace function sugang.search_query(p_search text) returns tsquery
language plpgsql immutable strict parallel safe as $$
declare
    terms text[] := array[]::text[];
    names text := '';
    term text;
    word record;
begin
    for word in select m[1] as dashes, m[2] as phrase, m[3] as plain
            from regexp_matches(translate(sugang.search_fold(p_search), '“”„‟«»!&|()', '""""""     '),
                                '(-*)(?:"([^"]*)"?|([^\s"]+))', 'g') m loop
        if word.plain = 'or' and word.dashes = '' then
            names := names || ' or';
        elsif word.plain ~ '^-+$' then
            names := names || ' ' || word.plain;
        else
            term := sugang.search_term(coalesce(word.phrase, word.plain), word.phrase is not null);
            if term is not null then terms := terms || term; end if;
            -- What has nothing to look for is a word that PostgreSQL ignores.
            names := names || ' ' || word.dashes || case when term is null then '+' else 'w' || cardinality(terms) end;
        end if;
    end loop;
    -- In the text of a tsquery, every second part is between quotes.
    return (select coalesce(string_agg(case when n % 2 = 1 then part when part = 'or' then '''or'':*'
                                       else terms[substr(part, 2)::integer] end, '' order by n), '')
            from string_to_table(websearch_to_tsquery('simple', names)::text, '''') with ordinality p (part, n))::tsquery;
end $$;

-- ===== time

-- A time as the Django service writes it: ISO 8601 in UTC, with microseconds only where they are not zero.
create or replace function sugang.iso(timestamptz) returns text language sql stable parallel safe as $$
    select replace(to_char($1 at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z'
$$;

-- ===== tokens

-- Refresh tokens: use, rotation and logout.

-- Returns false for a token or family that is revoked already. Deletes a few rows that no token can outlive, so no
-- scheduled job is needed.
create or replace function sugang.revoke_token(p_name text, p_user bigint, p_keep_seconds bigint) returns boolean
language plpgsql as $$
begin
    delete from sugang.revoked_tokens where ctid = any (array(
        select ctid from sugang.revoked_tokens
        where expires_at < now() order by expires_at limit 10 for update skip locked));
    insert into sugang.revoked_tokens values (p_name, p_user, now() + make_interval(secs => p_keep_seconds))
        on conflict do nothing;
    return found;
end $$;

-- Uses a refresh token. With rotation each token is used once. A token that is used again means that it or its
-- successor was stolen; the two cases cannot be told apart, so the whole family is revoked. p_keep_seconds: the longest
-- lifetime that any token of the family may have.
create or replace function sugang.refresh(p_function text, p_user bigint, p_jti text, p_family text,
                                          p_keep_seconds bigint, p_rotate boolean)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'refresh' then perform sugang.misrouted(p_function, 'refresh'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    if exists (select from sugang.revoked_tokens where name = 'family ' || p_family) then
        a.outcome := 'token_ended';
        return a;
    end if;
    if p_rotate and not sugang.revoke_token('token ' || p_jti, p_user, p_keep_seconds) then
        perform sugang.revoke_token('family ' || p_family, p_user, p_keep_seconds);
        a.outcome := 'token_reused';
        return a;
    end if;
    a.outcome := 'ok';
    select sugang.user_json(u) into a.body from users u where id = p_user;
    return a;
end $$;

create or replace function sugang.logout(p_function text, p_user bigint, p_family text, p_keep_seconds bigint)
returns sugang.function_row language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    a sugang.function_row;
begin
    if p_function is distinct from 'logout' then perform sugang.misrouted(p_function, 'logout'); end if;
    a.outcome := sugang.authorization_error(p_user);
    if a.outcome is not null then return a; end if;
    perform sugang.revoke_token('family ' || p_family, p_user, p_keep_seconds);
    a.outcome := 'ok';
    return a;
end $$;
