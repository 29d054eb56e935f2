-- What holds in every database of this service at any moment. Each check is a query for the rows that break it; without
-- rows it passes. A check with {placeholders} runs once for each kind.
-- An active payment has the status 'paid'; a registration is active unless it is cancelled.

-- check: second_active_payment
select string_agg(id::text, '+' order by id) from payments where status = 'paid'
group by user_id, content_type_id, object_id having count(*) > 1;

-- check: second_registration
select string_agg(id::text, '+' order by id) from {registrations} group by user_id, {item_id} having count(*) > 1;

-- check: active_payment_without_active_registration
select p.id::text from payments p
where p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
  and p.status = 'paid'
  and not exists (select from {registrations} r
                  where r.user_id = p.user_id and r.{item_id} = p.object_id and r.status <> 'cancelled');

-- check: active_registration_without_active_payment
select r.id::text from {registrations} r
where r.status <> 'cancelled'
  and not exists (select from payments p
                  where p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
                    and p.user_id = r.user_id and p.object_id = r.{item_id}
                    -- An operator may give the money for a completed item back.
                    and (p.status = 'paid' or r.completed_at <= coalesce(p.cancelled_at, 'infinity')));

-- check: payment_of_unknown_kind
select p.id::text from payments p left join sugang.kinds k using (content_type_id)
where k.kind is distinct from p.payment_type;

-- check: payment_points_to_another_registration
select p.id::text from payments p join {registrations} r on r.id = p.registration_id
where p.content_type_id = (select content_type_id from sugang.kinds where kind = '{kind}')
  and (r.user_id, r.{item_id}) <> (p.user_id, p.object_id);

-- check: external_id_twice
select string_agg(id::text, '+' order by id) from payments
where starts_with(external_transaction_id, 'sugang_') group by external_transaction_id having count(*) > 1;

-- check: payment_time_against_status
select id::text from payments
where status = 'paid' and cancelled_at is not null or status = 'cancelled' and cancelled_at is null;

-- check: registration_time_against_status
select id::text from {registrations}
where (status = 'completed') <> (completed_at is not null) or (status = 'cancelled') <> (cancelled_at is not null);

-- check: registration_count
select i.id::text from {items} i
left join (select {item_id} as id, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
    using (id)
where i.registration_count is distinct from coalesce(r.n, 0);

-- An operator may lower a capacity below what is taken. Then no seat may have been taken since.
-- check: capacity
select i.id::text from {items} i
left join (select {item_id} as id, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
    using (id)
where i.capacity < greatest(i.registration_count, r.n)
  and exists (select from sugang.audit_log h
              where h.item_kind = '{kind}' and h.item_id = i.id and h.seats > 0
                and h.at > coalesce(i.capacity_changed_at, '-infinity'));

-- check: audit_log_of_payment
select coalesce(p.id, h.id)::text from payments p
full join (select subject_id as id, sum(amount) as amount, sum(seats) as seats,
                  (array_agg(status order by h.id desc))[1] as status
           from sugang.audit_log h where subject = 'payment' group by 1) h using (id)
where (coalesce(h.amount, 0), coalesce(h.seats, 0), coalesce(h.status, ''))
   <> (case when p.status = 'paid' then p.amount else 0 end, 0, coalesce(p.status, 'deleted'));

-- check: audit_log_of_registration
select coalesce(r.id, h.id)::text from {registrations} r
full join (select subject_id as id, sum(amount) as amount, sum(seats) as seats,
                  (array_agg(status order by h.id desc))[1] as status
           from sugang.audit_log h where subject = '{kind}' group by 1) h using (id)
where (coalesce(h.amount, 0), coalesce(h.seats, 0), coalesce(h.status, ''))
   <> (0, case when r.status <> 'cancelled' then 1 else 0 end, coalesce(r.status, 'deleted'));

-- check: audit_log_of_item
select coalesce(i.id, h.id)::text from {items} i
full join (select item_id as id, sum(seats) as seats from sugang.audit_log where subject = '{kind}' group by 1) h
    using (id)
where coalesce(i.registration_count, 0) <> coalesce(h.seats, 0);

-- check: search_table
select coalesce(i.id, s.item_id)::text from {items} i full join sugang.{kind}_search s on s.item_id = i.id
where (i.id, i.created_at, i.start_at, i.end_at)
    is distinct from (s.item_id, s.created_at, s.start_at, s.end_at);

-- check: search_vector
-- Of the latest 10,000 items: to make all of them again takes minutes on a large table.
select i.id::text from (select * from {items} order by id desc limit 10000) i
join sugang.{kind}_search s on s.item_id = i.id
where s.search_vector <> sugang.search_vector(i.title, i.description);

-- check: bucket_counts
with edges as (
    select 'created' as edge, created_at as at from {items}
    union all
    select 'start', start_at from {items} where start_at <= end_at
    union all
    select 'end', end_at from {items} where start_at <= end_at
), hours as (
    select edge, date_trunc('hour', sugang.readable_time(at), 'UTC') as bucket, count(*) as n from edges group by 1, 2
), counted as (
    select edge, level, date_trunc(level, bucket, 'UTC') as bucket, sum(n) as n
    from hours cross join (values ('month'), ('day'), ('hour')) l (level) group by 1, 2, 3
), kept as (
    select edge, level, bucket, sum(n) as n from (
        select edge, level, bucket, n from sugang.bucket_counts where kind = '{kind}'
        union all
        -- What is still to be added to them.
        select edge, level, date_trunc(level, bucket, 'UTC'), n from sugang.bucket_changes
        cross join (values ('month'), ('day'), ('hour')) l (level) where kind = '{kind}' and edge <> 'any') k
    group by 1, 2, 3
)
select concat_ws('/', edge, level, bucket) from counted full join kept using (edge, level, bucket)
where coalesce(counted.n, 0) <> coalesce(kept.n, 0);

-- check: available_count
select kind from sugang.available_counts
where kind = '{kind}' and valid_from <= now() and now() < valid_until
  and not exists (select from sugang.bucket_changes where kind = '{kind}')
  and n <> (select count(*) from {items} where start_at <= now() and end_at >= now());

-- check: idempotency_key_without_user
select user_id || ' ' || key from sugang.idempotency_keys k
where not exists (select from users u where u.id = k.user_id);
