-- The result of each request that came with an idempotency key, stored in the transaction of its effect: the database
-- has both or neither.
create table sugang.idempotency_keys (
    user_id bigint not null references users (id) on delete cascade,
    key text not null,
    fingerprint text not null, -- a hash of the request
    outcome text not null,
    body text,
    created_at timestamptz not null default clock_timestamp(),
    primary key (user_id, key)
);
create index idempotency_keys_created on sugang.idempotency_keys (created_at);
