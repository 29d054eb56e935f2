-- One row for each change of a payment or a registration. Triggers write it in the transaction of the change, whichever
-- program makes the change. A correction is a new row, and the sums of the rows equal the current state: `amount` gives
-- the active payments, `seats` gives registration_count. `cargo xtask audit` checks that on any database.

create table sugang.audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    subject text not null, -- 'payment', or the kind of a registration
    subject_id bigint not null, -- the id of the payment or registration
    item_kind text not null,
    item_id bigint not null,
    user_id bigint not null, -- the owner of the payment or registration
    status text not null, -- the new status; 'deleted' for a deleted row
    amount numeric(12, 2) not null, -- added to the sum of active payments
    seats integer not null, -- added to registration_count
    actor_id bigint, -- the user that sent the request; null when another program made the change
    request_id text -- null when another program made the change
);
create index audit_log_subject on sugang.audit_log (subject, subject_id);
