-- One kind: the chains of its registrations, and for each item how often a seat was taken. See V23.

alter table {items} add column seats_taken bigint not null default 0;
alter table {registrations} add column history_entries integer not null default 1;

-- The rows from before. Those of V08 come here for a kind that is added to a running service.
insert into sugang.audit_seals (first_id, last_id, n, digest)
select min(id), max(id), count(*),
       sha256(convert_to(string_agg(row(
           id, extract(epoch from at), subject, subject_id, item_kind, item_id, user_id, status, amount, seats,
           actor_id, request_id)::text, '' order by id), 'UTF8'))
from sugang.audit_log
where entry is null and id > coalesce((select max(last_id) from sugang.audit_seals), 0)
group by id / 1000;

-- Every registration that is there gets its first entry.
insert into sugang.audit_log
    (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, at, entry, state, hash)
select '{kind}', r.id, '{kind}', r.{item_id}, r.user_id, r.status, 0, 0, i.at, 1, s.state, substr(sha256(
        '\x00'::bytea || '\x01'::bytea || s.state || int4send(1) || timestamptz_send(i.at) || int8send(r.id)
        || int8send(r.{item_id}) || int8send(r.user_id) || numeric_send(0::numeric(12, 2)) || int4send(0)
        || '\x00'::bytea || convert_to(quote_nullable('{kind}') || ',' || quote_nullable('{kind}') || ','
                                    || quote_nullable(r.status) || ',NULL', 'UTF8')), 1, 16)
from {registrations} r
cross join lateral (select now() as at) i
cross join lateral (select substr(sha256(
        int8send(r.id) || int8send(r.user_id) || int8send(r.{item_id}) || timestamptz_send(r.{registered_at})
        || coalesce('\x01' || timestamptz_send(r.completed_at), '\x00')
        || coalesce('\x01' || timestamptz_send(r.cancelled_at), '\x00')
        || convert_to(r.status, 'UTF8')), 1, 16) as state
) s
order by r.id;
