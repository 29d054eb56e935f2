-- Webhooks: what other services are told of changes, by Standard Webhooks. See functions/outbox.sql.

-- Who is told, and of what.
create table sugang.webhooks (
    id bigint generated always as identity primary key,
    url text not null,
    types text[] collate "C" not null, -- none means all
    status text collate "C" not null default 'active', -- `ended` by the receiver, with 410
    paused_by text collate "C", -- `operator`, or `failures` that went on for days
    secret text not null,
    old_secret text, -- signs as well until then, while the receiver takes over the new one
    old_secret_until timestamptz,
    failing_since timestamptz, -- nothing was delivered since then
    first_change bigint, -- what sugang.audit_log has after this id is in the outbox
    created_at timestamptz not null default clock_timestamp(),
    created_by bigint,
    constraint webhooks_status_known check (
        status in ('active', 'paused', 'ended') and (status = 'paused') = (paused_by is not null)
    )
);

-- One row for each change that a webhook is told of, written in the transaction of the change.
create table sugang.outbox (
    id bigint generated always as identity primary key,
    key uuid not null default gen_random_uuid(), -- the `webhook-id` of each try
    type text collate "C" not null,
    subject text collate "C" not null, -- changes of one subject are told in their order
    subject_id bigint not null,
    data json not null,
    at timestamptz not null default clock_timestamp(),
    change_id bigint -- the row of sugang.audit_log, if the change has one
);
create unique index outbox_change on sugang.outbox (change_id) where change_id is not null;
create index outbox_opened on sugang.outbox (subject, subject_id) where type = 'item.opened';

-- What is told to one webhook. No foreign keys: a change never fails because of a webhook.
create table sugang.deliveries (
    id bigint generated always as identity primary key,
    webhook_id bigint not null,
    event_id bigint not null, -- of the outbox
    subject text collate "C" not null,
    subject_id bigint not null,
    status text collate "C" not null default 'pending',
    tries integer not null default 0,
    next_at timestamptz not null default clock_timestamp(),
    lease_until timestamptz, -- until then, the sweep that has claimed it looks after it
    last_at timestamptz,
    last_status integer, -- the receiver's HTTP status
    last_error text collate "C",
    ended_at timestamptz,
    constraint deliveries_status_known check (
        status in ('pending', 'delivered', 'failed') and (status = 'pending') = (ended_at is null)
    )
);
create unique index deliveries_of_event on sugang.deliveries (event_id, webhook_id);
create index deliveries_due on sugang.deliveries (webhook_id, next_at) where status = 'pending';
create index deliveries_in_order on sugang.deliveries (webhook_id, subject, subject_id, event_id)
    where status = 'pending';
create index deliveries_leased on sugang.deliveries (webhook_id) where lease_until is not null;
create index deliveries_newest on sugang.deliveries (webhook_id, id desc);

-- Until when it is known which items have opened.
create table sugang.openings (
    known_until timestamptz not null
);
insert into sugang.openings values (now());
