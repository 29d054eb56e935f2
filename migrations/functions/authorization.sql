-- The reason why this user may not send requests; null for an active user.
create or replace function sugang.authorization_error(p_user bigint) returns sugang.outcome
language plpgsql stable as $$
declare
    active boolean;
begin
    select is_active into active from users where id = p_user;
    return case when active then null when not active then 'user_inactive' else 'user_not_found' end;
end $$;
