-- finds: A value is missing that every row must have.
-- advice: This fills in what no reader takes for a real value: an item without a start or an end is over.

select '{items} ' || id from {items}
where title is null or price is null or start_at is null or end_at is null or created_at is null or updated_at is null
union all
select '{registrations} ' || id from {registrations}
where user_id is null or {item_id} is null or {registered_at} is null
order by 1;

-- remedy:
update {items}
set title = coalesce(title, '({kind} ' || id || ')'), price = coalesce(price, 99999999.99),
    start_at = coalesce(start_at, least(end_at, created_at, now())),
    end_at = coalesce(end_at, start_at, least(created_at, now())),
    created_at = coalesce(created_at, updated_at, start_at, now()),
    updated_at = coalesce(updated_at, created_at, now())
where title is null or price is null or start_at is null or end_at is null or created_at is null or updated_at is null;
update {registrations} set {registered_at} = coalesce(completed_at, cancelled_at, now()) where {registered_at} is null;
delete from {registrations} where user_id is null or {item_id} is null;
