-- Indexes for what operators look for in payments, and for figures by day.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

-- The order of the list of all payments, of those with one status, and of those with one amount. The first two replace
-- indexes of the Django service, whose columns they begin with. Replacing them locks the table as an
-- alter table payments does.
drop index if exists idx_payment_paid_at, idx_payment_status_date;
create index idx_payment_paid_at on payments (paid_at desc, id desc);
create index idx_payment_status_date on payments (status, paid_at desc, id desc);
create index payments_amount on payments (amount, paid_at desc, id desc);
-- Beside payments_external_id, which has the ids that this service gives: writing one of those does not touch it.
create index payments_external_id_of_others on payments (external_transaction_id)
    where not starts_with(external_transaction_id, 'sugang_');
-- The payments for one item: its figures, and whether it may be deleted.
create index payments_of_item on payments (object_id, content_type_id);

-- Rows are added at the end of these tables in the order of their time, so a few bytes for each stretch of them find a
-- span of days, and writing a row costs next to nothing.
create index ledger_at on sugang.ledger using brin (at) with (pages_per_range = 32, autosummarize = on);
create index audit_log_at on sugang.audit_log using brin (at) with (pages_per_range = 32, autosummarize = on);

-- Usernames by their beginnings, in the bytes of their key, whatever the collation.
create index users_username_prefix on users ((normalize(username, nfkc)) text_pattern_ops);
create index users_email_prefix on users ((
    translate(normalize(email, nfc), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')) text_pattern_ops);
