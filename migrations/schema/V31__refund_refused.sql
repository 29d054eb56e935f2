-- An operator has cancelled the registration of this payment, and keeps the money: only an operator gives it back. The
-- refund with the status `refused` says by whom and why. See functions/ledger.sql.
alter table payments add column refund_refused boolean not null default false;
