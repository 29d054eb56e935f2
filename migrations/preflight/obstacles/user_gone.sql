-- finds: Payments belong to a user that is gone.
-- advice: This keeps them under an inactive account that no password opens.

select format('user %s: payments %s', p.user_id, string_agg(p.id::text, ', ' order by p.id))
from payments p where p.user_id is not null and not exists (select from users u where u.id = p.user_id)
group by p.user_id order by 1;

-- remedy:
insert into users
select (jsonb_populate_record(example, jsonb_build_object(
    'id', gone.id, 'email', 'gone-' || gone.id || '@invalid', 'username', 'gone-' || gone.id, 'password', '!',
    'is_active', false, 'is_staff', false, 'is_superuser', false, 'last_login', null))).*
from (select distinct p.user_id as id from payments p
      where p.user_id is not null and not exists (select from users u where u.id = p.user_id)) gone
cross join (select u from users u order by u.id limit 1) first (example);
