-- One kind: triggers keep registration_count from here on, whichever program writes the registrations. See
-- functions/seats.sql.

-- Lowering a capacity below what is taken is allowed, and means sold out. A trigger guards the taking of a seat.
-- The items come first: transactions of the version before lock an item before its registration.
alter table {items}
    -- squawk-ignore ban-drop-constraint
    drop constraint {items}_capacity_kept,
    add column capacity_changed_at timestamptz;

-- No registration may be written between this count and the triggers that keep it.
lock table {registrations} in share row exclusive mode;

update {items} i
set registration_count = coalesce(r.n, 0)
from {items} j
left join (select {item_id}, count(*) as n from {registrations} where status <> 'cancelled' group by 1) r
    on r.{item_id} = j.id
where i.id = j.id and j.registration_count is distinct from coalesce(r.n, 0);
