-- finds: The status of a registration and its completed_at or cancelled_at do not agree.
-- advice: This follows the status.

select format('registration %s: %s, completed %s, cancelled %s', id, status, coalesce(completed_at::text, 'never'),
              coalesce(cancelled_at::text, 'never'))
from {registrations}
where (status = 'completed') <> (completed_at is not null) or (status = 'cancelled') <> (cancelled_at is not null)
order by id;

-- remedy:
update {registrations}
set completed_at = case when status = 'completed' then coalesce(completed_at, {registered_at}) end,
    cancelled_at = case when status = 'cancelled' then coalesce(cancelled_at, {registered_at}) end
where (status = 'completed') <> (completed_at is not null) or (status = 'cancelled') <> (cancelled_at is not null);
