-- One kind: the seats that orders hold, without a registration yet. Kept by the triggers of
-- functions/orders_of_kind.sql.
alter table {items} add column held_count integer not null default 0;
