-- One kind: items that an operator hides from users. A user who is registered for one stays registered.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

alter table {items} add column hidden boolean not null default false;

-- What the lists read: only the items that are shown, so that a page costs the same however many are hidden.
drop index if exists {items}_newest, {items}_end, idx_{item_index}_popular, idx_{item_index}_dates;
create index {items}_newest on {items} (created_at desc, id desc) include (start_at, end_at) where not hidden;
create index {items}_end on {items} (end_at) include (start_at) where not hidden;
create index idx_{item_index}_popular on {items} (registration_count desc, created_at desc, id desc)
    include (start_at, end_at) where not hidden;
-- The Django service, which knows no hidden items, finds dates by idx_{item_index}_composite, which begins with these
-- columns.
create index idx_{item_index}_dates on {items} (start_at, end_at) where not hidden;
-- For operators.
create index {items}_hidden on {items} (created_at desc, id desc) include (start_at, end_at, registration_count)
    where hidden;

-- The registrations for one item in the order of their list; PostgreSQL needs it as well when an item is deleted.
-- Replacing it locks the table as an alter table {registrations} does.
drop index if exists {registrations}_{item_id};
create index {registrations}_{item_id} on {registrations} ({item_id}, {registered_at} desc, id desc) include (status);
