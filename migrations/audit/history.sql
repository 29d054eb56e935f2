-- The history against itself and against the rows. The migration that brought the chains has begun one for each row
-- that was there.

-- check: audit_log_of_payment
-- advice: Compare the payment with its history (select * from sugang.audit_log where subject = 'payment' and
-- subject_id = <id> order by id) and with a backup. Set it to what is right, with the triggers on. If what an import
-- without triggers has written is right: select sugang.log_unlogged_payments();
with sums as (
    select subject_id as id, sum(amount) as amount, sum(seats) as seats, max(id) as last_id,
           max(entry) - min(entry) + 1 as entries, min(entry) as first, count(entry) as n,
           count(*) filter (where entry = 1) as begun,
           count(*) filter (where entry is not null and status = 'deleted') as deleted
    from sugang.audit_log where subject = 'payment' group by 1
)
select concat(coalesce(p.id, s.id), ' ', r.reason)
from payments p
full join sums s on s.id = p.id
left join sugang.audit_log l on l.id = s.last_id
left join sugang.kinds k on k.content_type_id = p.content_type_id
cross join lateral (select case
    when s.id is null then 'has no history'
    when p.id is null and (l.status, s.amount) <> ('deleted', 0) then 'is gone'
    when s.n <> s.entries and s.deleted = 0
         or s.first = 1 and s.begun - s.deleted <> case when p.id is null then 0 else 1 end
        then 'lacks a part of its history'
    when p.id is null then null
    when s.amount <> case when p.status = 'paid' then p.amount else 0 end then 'amount'
    when l.status <> p.status then 'status'
    when l.user_id <> p.user_id then 'user'
    when (l.item_kind, l.item_id) <> (coalesce(k.kind, p.payment_type), p.object_id) then 'item'
    when (l.entry is distinct from p.history_entries) then 'lacks a part of its history'
    when (l.state is distinct from sugang.payment_state(p)) then 'was changed without a trace'
end as reason) r
where r.reason is not null;

-- check: audit_log_of_registration
-- advice: Compare the registration with its history (select * from sugang.audit_log where subject = '{kind}' and
-- subject_id = <id> order by id) and with a backup. Set it to what is right, with the triggers on. If what an import
-- without triggers has written is right: select sugang.log_unlogged_{kind}_registrations();
with sums as (
    select subject_id as id, sum(amount) as amount, sum(seats) as seats, max(id) as last_id,
           max(entry) - min(entry) + 1 as entries, min(entry) as first, count(entry) as n,
           count(*) filter (where entry = 1) as begun,
           count(*) filter (where entry is not null and status = 'deleted') as deleted
    from sugang.audit_log where subject = '{kind}' group by 1
)
select concat(coalesce(r.id, s.id), ' ', w.reason)
from {registrations} r
full join sums s on s.id = r.id
left join sugang.audit_log l on l.id = s.last_id
cross join lateral (select case
    when s.id is null then 'has no history'
    when r.id is null and (l.status, s.seats) <> ('deleted', 0) then 'is gone'
    when s.n <> s.entries and s.deleted = 0
         or s.first = 1 and s.begun - s.deleted <> case when r.id is null then 0 else 1 end
        then 'lacks a part of its history'
    when r.id is null then null
    when s.seats <> case when r.status = 'cancelled' then 0 else 1 end or s.amount <> 0 then 'seats'
    when l.status <> r.status then 'status'
    when l.user_id <> r.user_id then 'user'
    when (l.item_kind, l.item_id) <> ('{kind}', r.{item_id}) then 'item'
    when (l.entry is distinct from r.history_entries) then 'lacks a part of its history'
    when (l.state is distinct from sugang.registration_state(
        r.id, r.user_id, r.{item_id}, r.status, r.{registered_at}, r.completed_at, r.cancelled_at))
        then 'was changed without a trace'
end as reason) w
where w.reason is not null;

-- check: audit_log_of_item
-- advice: Registrations of this item, or their history, were removed or written without the triggers. Look for them
-- in a backup.
select concat(coalesce(i.id, h.id),
              case when coalesce(i.registration_count, 0) = coalesce(h.seats, 0) then ' seats taken' end)
from {items} i
full join (select item_id as id, sum(seats) as seats, count(*) filter (where seats > 0 and entry is not null) as takes
           from sugang.audit_log where subject = '{kind}' group by 1) h using (id)
where coalesce(i.registration_count, 0) <> coalesce(h.seats, 0) or i.seats_taken > coalesce(h.takes, 0);

-- check: audit_log_chain
-- advice: The history was changed by hand. Compare these rows (sugang.audit_log.id) with a backup.
select h.id::text from sugang.audit_log h
where h.entry = 1
  and h.hash is distinct from sugang.entry_hash(null, h.state, h.entry, h.at, h.subject, h.subject_id, h.item_kind,
                                                h.item_id, h.user_id, h.status, h.amount, h.seats, h.actor_id,
                                                h.request_id)
union all
select h.id::text from sugang.audit_log h
where h.entry is distinct from 1 and h.entry is not null
  and not exists (
      select from sugang.audit_log b
      where (b.subject, b.subject_id, b.entry) = (h.subject, h.subject_id, h.entry - 1) and b.id < h.id
        and h.hash = sugang.entry_hash(b.hash, h.state, h.entry, h.at, h.subject, h.subject_id, h.item_kind, h.item_id,
                                       h.user_id, h.status, h.amount, h.seats, h.actor_id, h.request_id))
  -- A row that was imported without triggers begins with its first change.
  and h.hash is distinct from sugang.entry_hash(null, h.state, h.entry, h.at, h.subject, h.subject_id, h.item_kind,
                                                h.item_id, h.user_id, h.status, h.amount, h.seats, h.actor_id,
                                                h.request_id);

-- check: audit_log_seal
-- advice: History from before it had chains was changed by hand. Compare these rows (sugang.audit_log.id) with a
-- backup.
select concat(s.first_id, '-', s.last_id) from sugang.audit_seals s
left join lateral (
    select count(*) as n,
           sha256(convert_to(string_agg(row(
               a.id, extract(epoch from a.at), a.subject, a.subject_id, a.item_kind, a.item_id, a.user_id, a.status,
               a.amount, a.seats, a.actor_id, a.request_id)::text, '' order by a.id), 'UTF8')) as digest
    from sugang.audit_log a where a.id between s.first_id and s.last_id and a.entry is null) a on true
where a.n <> s.n or a.digest is distinct from s.digest
union all
select a.id::text from sugang.audit_log a
where a.entry is null
  and not exists (select from sugang.audit_seals s
                  where s.first_id / 1000 = a.id / 1000 and a.id between s.first_id and s.last_id);

-- check: audit_log_of_order
-- advice: Compare the order with its history (select * from sugang.audit_log where subject = 'order' and subject_id =
-- <id> order by id), its attempts and the gateway's books. Set it to what is right, with the triggers on.
with entries as (
    select subject_id as id, max(id) as last_id, min(entry) as first, max(entry) as last, count(*) as n
    from sugang.audit_log where subject = 'order' group by 1
)
select concat(coalesce(o.id, e.id), ' ', w.reason)
from sugang.orders o
full join entries e on e.id = o.id
left join sugang.audit_log l on l.id = e.last_id
cross join lateral (select case
    when e.id is null then 'has no history'
    when o.id is null and l.status <> 'deleted' then 'is gone'
    when (e.first, e.n) <> (1, e.last) then 'lacks a part of its history'
    when o.id is null then null
    when l.status <> o.status then 'status'
    when (l.user_id, l.item_kind, l.item_id) <> (o.user_id, o.kind, o.item_id) then 'user or item'
    when l.entry <> o.history_entries then 'lacks a part of its history'
    when (l.state is distinct from sugang.order_state(o)) then 'was changed without a trace'
end as reason) w
where w.reason is not null;

-- The API writes a registration and its payment in one request, unless the user has paid before.
-- check: registration_without_its_payment
-- advice: The payment of this registration (the row of sugang.audit_log) and its history were removed. Compare with a
-- backup and the gateway's books.
select h.id::text from sugang.audit_log h
where h.subject = '{kind}' and h.seats > 0 and h.actor_id is not null and h.entry is not null
  and not exists (select from sugang.audit_log p
                  where p.subject = 'payment' and p.request_id = h.request_id and p.user_id = h.user_id
                    and (p.item_kind, p.item_id) = (h.item_kind, h.item_id))
  and not exists (select from payments p
                  join sugang.audit_log l on l.subject = 'payment' and l.subject_id = p.id and l.id < h.id
                  where p.user_id = h.user_id and p.object_id = h.item_id and p.payment_type = '{kind}'
                    and l.status = 'paid');

-- check: payment_without_its_registration
-- advice: The registration of this payment (the row of sugang.audit_log) and its history were removed. Compare with a
-- backup.
select p.id::text from sugang.audit_log p
where p.subject = 'payment' and p.entry = 1 and p.actor_id is not null and p.item_kind = '{kind}'
  -- Money that is set aside is cancelled from the start.
  and p.status = 'paid'
  and not exists (select from sugang.audit_log h
                  where h.subject = '{kind}' and h.seats > 0 and h.request_id = p.request_id
                    and (h.user_id, h.item_id) = (p.user_id, p.item_id));
