-- What the gateways have told us, once each, and as it came. An event is a hint: what has become of its attempt, only a
-- look-up tells. See functions/gateway_events.sql. Rows are removed after some days.
create table sugang.gateway_events (
    id bigint generated always as identity primary key,
    gateway text collate "C" not null,
    event_key text collate "C" not null, -- the gateway's own id of the event, or a hash of its bytes
    -- `due`: the attempt has to be looked up. `ignored`: the event is about nothing that is known.
    status text collate "C" not null default 'due',
    attempt_id bigint, -- no foreign key: the event outlives an attempt that is deleted with its user
    body text not null,
    is_signed boolean not null,
    tries integer not null default 1, -- each look-up has a number, under which it is settled
    claimed_at timestamptz not null default clock_timestamp(), -- the last look-up began after this
    lease_until timestamptz, -- until then, the process that has begun the look-up looks after it
    received_at timestamptz not null default clock_timestamp(),
    outcome text collate "C", -- what the look-up has found
    constraint gateway_events_status_known check (status in ('due', 'done', 'ignored')),
    constraint gateway_events_due_has_attempt check (
        status <> 'due' or attempt_id is not null and lease_until is not null
    )
);
-- An event takes effect once.
create unique index gateway_events_key on sugang.gateway_events (gateway, event_key);
create index gateway_events_due on sugang.gateway_events (lease_until) where status = 'due';
create index gateway_events_received on sugang.gateway_events (received_at);
