-- finds: Registrations belong to a user or an item that is gone.
-- advice: This deletes them.

select format('registration %s: user %s, {kind} %s', r.id, r.user_id, r.{item_id})
from {registrations} r
where r.user_id is not null and not exists (select from users u where u.id = r.user_id)
   or r.{item_id} is not null and not exists (select from {items} i where i.id = r.{item_id})
order by r.id;

-- remedy:
delete from {registrations} r
where not exists (select from users u where u.id = r.user_id)
   or not exists (select from {items} i where i.id = r.{item_id});
