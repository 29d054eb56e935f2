-- Orders: the wish of one user to register for one item at one price, from the pre-order to its end; and the attempts
-- to pay them. See functions/orders.sql.
create table sugang.orders (
    id bigint generated always as identity primary key,
    user_id bigint not null references users (id) on delete cascade,
    kind text collate "C" not null,
    item_id bigint not null, -- no foreign key, as in payments: kinds have tables of their own
    title text not null, -- title and price are a snapshot
    price numeric(10, 2) not null,
    payment_method text collate "C" not null,
    gateway text collate "C" not null,
    status text collate "C" not null default 'held',
    -- A live order holds a seat, which the item counts in held_count.
    is_live boolean not null generated always as (status in ('held', 'approving', 'awaiting_deposit')) stored,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    ended_at timestamptz,
    payment_id bigint, -- no foreign key: another program may delete the payment, and the order remains
    registration_id bigint,
    history_entries integer not null default 1, -- as in payments
    constraint orders_price_positive check (price > 0),
    constraint orders_status_known check (
        status in ('held', 'approving', 'awaiting_deposit', 'paid', 'expired', 'cancelled', 'refund_due')
    ),
    constraint orders_end_has_time check (is_live = (ended_at is null)),
    -- Money without a seat is owed back; a seat has its money.
    constraint orders_money_known check (
        case status
            when 'paid' then payment_id is not null and registration_id is not null
            when 'refund_due' then payment_id is not null
            else payment_id is null and registration_id is null
        end
    )
);
-- The database admits one live order per user and item.
create unique index orders_one_live on sugang.orders (user_id, kind, item_id) where is_live;
-- What has expired.
create index orders_due on sugang.orders (expires_at) where is_live;
-- The orders for one item: its expired holds, and whether it may be deleted.
create index orders_of_item on sugang.orders (kind, item_id, expires_at);
-- The lists of a user and of operators.
create index orders_of_user on sugang.orders (user_id, created_at desc, id desc);
create index orders_newest on sugang.orders (created_at desc, id desc);
create index orders_status on sugang.orders (status, created_at desc, id desc);

-- One attempt to pay an order at one gateway. An attempt that is `captured` pays its order; one that is `surplus` has
-- brought money that pays for nothing and is owed back.
create table sugang.payment_attempts (
    id bigint generated always as identity primary key,
    order_id bigint not null references sugang.orders (id) on delete cascade,
    gateway text collate "C" not null,
    status text collate "C" not null default 'open',
    is_live boolean not null generated always as (status in ('open', 'sent', 'waiting')) stored,
    reference text collate "C" not null, -- by which the gateway knows the attempt
    idempotency_key text collate "C", -- stored before it is sent, and the same until the outcome is known
    gateway_key text collate "C", -- the gateway's own id of the payment
    amount numeric(10, 2) not null,
    currency text collate "C" not null default 'KRW',
    captured numeric(10, 2), -- the amount that has arrived
    payment_id bigint,
    tries integer not null default 0,
    lease_until timestamptz, -- sent: until then, the process that has sent it looks after it
    due_at timestamptz, -- waiting: the deadline of the deposit
    secret text, -- the gateway's proof of a later deposit
    code text, -- why it was declined
    facts jsonb, -- what the gateway, or an operator, has said
    created_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz,
    ended_at timestamptz,
    constraint payment_attempts_reference_safe check (reference ~ '^[A-Za-z0-9_-]{6,64}$'),
    constraint payment_attempts_status_known check (
        status in ('open', 'sent', 'waiting', 'captured', 'surplus', 'declined', 'void')
    ),
    constraint payment_attempts_money_known check (
        (status in ('captured', 'surplus')) = (payment_id is not null and captured > 0)
    ),
    constraint payment_attempts_captured_is_price check (status <> 'captured' or captured is not distinct from amount)
);
create unique index payment_attempts_reference on sugang.payment_attempts (reference);
create unique index payment_attempts_gateway_key on sugang.payment_attempts (gateway, gateway_key);
create unique index payment_attempts_payment on sugang.payment_attempts (payment_id);
create unique index payment_attempts_one_live on sugang.payment_attempts (order_id) where is_live;
create unique index payment_attempts_one_captured on sugang.payment_attempts (order_id) where status = 'captured';
create index payment_attempts_of_order on sugang.payment_attempts (order_id, id);
-- What has to be looked up at the gateway.
create index payment_attempts_due on sugang.payment_attempts ((coalesce(lease_until, due_at)))
    where status in ('sent', 'waiting');
