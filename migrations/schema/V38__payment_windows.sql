-- What a client opens the payment window of a gateway with. See functions/payment_windows.sql.
alter table sugang.orders add column window_keys jsonb; -- public keys of the contract, a snapshot
-- Whether the gateway itself opens the window, on a request of ours.
alter table sugang.orders add column needs_opening boolean not null default false;
alter table sugang.payment_attempts add column opened jsonb; -- what the gateway has answered to that request
-- What the window has returned to the client.
alter table sugang.payment_attempts add column window_key text collate "C";
