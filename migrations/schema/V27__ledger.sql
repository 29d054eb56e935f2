-- Money that goes back, and the books of all money. See functions/ledger.sql.

-- What was given back of a payment that stays paid. The check holds the sum of its refunds, whichever program writes
-- one: each adds to this row, and so under its lock. What was left of a payment that is no longer paid went back with
-- its status.
alter table payments add column partly_refunded numeric(10, 2) not null default 0;
alter table payments add constraint payments_partly_refunded_known
    check (partly_refunded between 0 and amount) not valid;

-- One row for each time that money goes back, whole or in part. A row is never removed, and only its status changes.
create table sugang.refunds (
    id bigint generated always as identity,
    payment_id bigint not null, -- no foreign key: another program may delete the payment, and the money went back
    amount numeric(10, 2) not null,
    -- `external` was made at the gateway's own console. One that is `refused` has given nothing back.
    status text collate "C" not null,
    ends_payment boolean not null default false, -- it gave all that was left, and the payment is no longer paid
    keeps_registration boolean not null default false, -- the user may keep the seat without the money
    reason text,
    requested_by bigint, -- the user or the operator; null when another program made the change
    requested_at timestamptz not null default clock_timestamp(),
    reference text, -- the gateway's name for it
    constraint refunds_amount_positive check (amount > 0),
    constraint refunds_status_known check (status ~ '^(requested|sent|done|refused|external)$')
);

-- One row for each movement of money, by double entry: the amount goes from the account `credit` to the account
-- `debit`, so the balances of all accounts sum to zero. A correction is a new row. The accounts:
--   cash            what is at the gateways and in the bank (an asset)
--   sales           what was paid (income)
--   sales_returns   what was given back of it (deducted from income)
create table sugang.ledger (
    at timestamptz not null,
    -- What moved the money, and which step of it: `payment` captured; `refund` done, external, or refused after it was
    -- done; `history` corrected, for what another program has changed. A step is booked once.
    source text collate "C" not null,
    source_id bigint not null, -- the id of the payment, of the refund, or of the row of sugang.audit_log
    step text collate "C" not null,
    payment_id bigint not null,
    debit text collate "C" not null,
    credit text collate "C" not null,
    amount numeric(12, 2) not null,
    actor_id bigint, -- as in sugang.audit_log
    request_id text,
    constraint ledger_amount_positive check (amount > 0),
    -- As patterns, which take PostgreSQL less time than lists: it parses a check in each statement that writes.
    constraint ledger_accounts_known check (
        debit <> credit and debit ~ '^(cash|sales|sales_returns)$' and credit ~ '^(cash|sales|sales_returns)$'
    )
);

-- What was paid before, and what of it was given back.
insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount)
select paid_at, 'payment', id, 'captured', id, 'cash', 'sales', amount from payments where amount > 0;

with given_back as (
    insert into sugang.refunds (payment_id, amount, status, ends_payment, reason, requested_at)
    select id, amount, 'done', true, refund_reason, coalesce(cancelled_at, paid_at)
    from payments where status <> 'paid' and amount > 0 order by id
    returning id, payment_id, amount, requested_at
)
insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount)
select requested_at, 'refund', id, 'done', payment_id, 'sales_returns', 'cash', amount from given_back;

-- One index each, so that writing costs little. A refund is looked up by its payment.
alter table sugang.refunds add primary key (payment_id, id);
alter table sugang.ledger add primary key (source, source_id, step);
