-- finds: Payments do not keep the title of their item, and the time of their registration.
-- repair: Copied from the item and the registration.

select p.id::text
from (select null::varchar as target_title) absent
-- Where payments has no such column yet, the name means that of the row beside.
cross join lateral (select id, object_id, payment_type, target_title from payments) p
where p.target_title is null and p.payment_type = '{kind}' and exists (select from {items} i where i.id = p.object_id)
order by p.id;

-- remedy:
do $$ begin
    if exists (select from pg_attribute
               where attrelid = 'payments'::regclass and attname = 'target_title' and not attisdropped) then
        update payments p
        set target_title = i.title,
            registration_id = coalesce(p.registration_id, r.id),
            registration_time = coalesce(p.registration_time, r.{registered_at}, p.paid_at),
            search_vector = coalesce(p.search_vector, to_tsvector('simple', i.title))
        from payments q
        join {items} i on i.id = q.object_id
        left join {registrations} r on r.{item_id} = i.id and r.user_id = q.user_id
        where q.id = p.id and p.payment_type = '{kind}' and p.target_title is null;
    end if;
end $$;
