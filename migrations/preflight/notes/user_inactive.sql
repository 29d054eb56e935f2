-- finds: Users are inactive. They cannot log in.

select 'user ' || id from users where not is_active order by id;
