-- finds: A value is missing that every row must have.
-- advice: This fills in what no reader takes for a real value, and moves payments without a user or an item out of the
-- table.

select 'user ' || id from users where email is null or username is null or password is null or is_active is null
union all
select 'payment ' || id from payments
where user_id is null or content_type_id is null or object_id is null or payment_method is null or paid_at is null
order by 1;

-- remedy:
update users
set email = coalesce(email, 'missing-' || id || '@invalid'), username = coalesce(username, 'missing-' || id),
    password = coalesce(password, '!'), is_active = coalesce(is_active, false)
where email is null or username is null or password is null or is_active is null;
update payments
set payment_method = coalesce(payment_method, 'unknown'), paid_at = coalesce(paid_at, cancelled_at, now())
where payment_method is null or paid_at is null;
create table if not exists payments_set_aside (like payments including defaults);
with moved as (
    delete from payments where user_id is null or content_type_id is null or object_id is null returning *
) insert into payments_set_aside select * from moved;
