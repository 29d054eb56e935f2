-- Refunds that a gateway makes. See functions/gateway_refunds.sql.
-- squawk-ignore-file require-concurrent-index-creation

alter table sugang.refunds
    -- It gives back all that is left, and ends the payment once it is done.
    add column cancels_payment boolean not null default false,
    add column idempotency_key text collate "C", -- stored before it is sent, and the same until the outcome is known
    add column gateway_id text collate "C", -- the gateway's own id of it
    add column due_at timestamptz, -- when the sweep looks after it; null for what a person does
    add column tries integer not null default 0,
    add column code text, -- why the gateway has refused it, or what it needs
    add column account jsonb, -- where it goes, while a gateway needs that: after a deposit
    add column request_key text collate "C", -- the Idempotency-Key of the request that has asked for it
    add column request_fingerprint text collate "C";
-- One at a time is under way for a payment.
create unique index refunds_one_sent on sugang.refunds (payment_id) where status = 'sent';
create unique index refunds_gateway_id on sugang.refunds (payment_id, gateway_id) where gateway_id is not null;
create unique index refunds_request on sugang.refunds (requested_by, request_key) where request_key is not null;
create index refunds_due on sugang.refunds (due_at) where due_at is not null;
-- Those that wait for a person.
create index refunds_waiting on sugang.refunds (payment_id) where status = 'requested' and code is not null;

-- When the gateway is asked the next time what it has given back by itself.
alter table sugang.payment_attempts add column reconcile_at timestamptz;
create index payment_attempts_reconcile on sugang.payment_attempts (reconcile_at) where reconcile_at is not null;
update sugang.payment_attempts set reconcile_at = clock_timestamp()
    where status in ('captured', 'surplus') and gateway in ('toss', 'portone');
-- What is owed already is sent. Where a person has made it at the gateway's console, the look-up before finds it.
update sugang.refunds r set due_at = clock_timestamp()
    from sugang.payment_attempts t
    where t.payment_id = r.payment_id and t.gateway in ('toss', 'portone') and t.due_at is null
      and r.status = 'requested';
update sugang.refunds r set code = 'account_required'
    from sugang.payment_attempts t
    where t.payment_id = r.payment_id and t.gateway in ('toss', 'portone') and t.due_at is not null
      and r.status = 'requested';
