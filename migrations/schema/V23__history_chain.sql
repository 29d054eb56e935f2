-- Each row of the audit log becomes an entry in the chain of its payment or registration. An entry has a digest of what
-- it leaves behind, and a hash over itself and the entry before it; the payment or registration counts its entries. So
-- the audit sees what is changed, removed or added without the triggers. See functions/audit_log.sql.

-- No row may be written between its first entry, below and in V24, and the triggers that count its entries. The items
-- come first, as in V12.
do $$
declare
    items name;
begin
    for items in select app_label from django_content_type join sugang.kinds on content_type_id = id order by kind loop
        execute format('lock table %I in access exclusive mode', items);
    end loop;
end $$;

alter table payments add column history_entries integer not null default 1;

alter table sugang.audit_log
    add column entry integer, -- 1, 2, ... of the payment or registration; null in the rows from before
    add column state bytea, -- a digest of the payment or registration; null where it is gone
    add column hash bytea; -- a digest of this row and of the entry before it

-- Digests of the rows from before, a thousand at a time.
create table sugang.audit_seals (
    first_id bigint primary key,
    last_id bigint not null,
    n bigint not null,
    digest bytea not null
);

-- Every payment that is there gets its first entry. It adds nothing to the sums.
insert into sugang.audit_log
    (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, at, entry, state, hash)
select 'payment', p.id, i.kind, p.object_id, p.user_id, p.status, 0, 0, i.at, 1, s.state, substr(sha256(
        '\x00'::bytea || '\x01'::bytea || s.state || int4send(1) || timestamptz_send(i.at) || int8send(p.id)
        || int8send(p.object_id) || int8send(p.user_id) || numeric_send(0::numeric(12, 2)) || int4send(0)
        || '\x00'::bytea || convert_to(quote_nullable('payment') || ',' || quote_nullable(i.kind) || ','
                                    || quote_nullable(p.status) || ',NULL', 'UTF8')), 1, 16)
from payments p
left join sugang.kinds k using (content_type_id)
cross join lateral (select now() as at, coalesce(k.kind, p.payment_type) as kind) i
cross join lateral (select substr(sha256(
        int8send(p.id) || int8send(p.user_id) || int4send(p.content_type_id) || int8send(p.object_id)
        || numeric_send(p.amount) || timestamptz_send(p.paid_at)
        || coalesce('\x01' || timestamptz_send(p.cancelled_at), '\x00')
        || coalesce('\x01' || int8send(p.registration_id), '\x00')
        || coalesce('\x01' || timestamptz_send(p.registration_time), '\x00')
        || convert_to(quote_nullable(p.payment_type) || ',' || quote_nullable(p.payment_method) || ','
                      || quote_nullable(p.external_transaction_id) || ',' || quote_nullable(p.status) || ','
                      || quote_nullable(p.refund_reason) || ',' || quote_nullable(p.target_title),
                      'UTF8')), 1, 16) as state
) s
order by p.id;

-- What guards the data, as it is defined. Written after each migration.
create table sugang.schema_definitions (
    -- 'function', 'table', 'not null', 'trigger', 'constraint', 'foreign key', 'index', or 'server': its version
    kind text not null,
    relation text not null default '', -- the table that it belongs to
    name text not null,
    definition text not null,
    primary key (kind, relation, name)
);

-- The words of a kept count, by which the audit counts again. A count from before is taken once more.
alter table sugang.search_counts add column words tsquery;
truncate sugang.search_counts;
