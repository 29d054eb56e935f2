-- finds: A user has several registrations for one item. This service keeps one.
-- advice: This keeps the completed one, else an active one, else the first, and deletes the others.

select format('user %s, {kind} %s: registrations %s', user_id, {item_id}, string_agg(id::text, ', ' order by id))
from {registrations} where user_id is not null and {item_id} is not null
group by user_id, {item_id} having count(*) > 1 order by min(id);

-- remedy:
delete from {registrations} r using (
    select
        id,
        row_number()
            over (partition by user_id, {item_id} order by status = 'cancelled', status <> 'completed', id)
            as n
    from {registrations}) q
where q.id = r.id and q.n > 1;
