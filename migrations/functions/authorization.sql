-- The reason why this user may not send requests; null for an active user.
create or replace function sugang.authorization_error(p_user bigint) returns sugang.outcome
language plpgsql stable as $$
declare
    active boolean;
begin
    select is_active into active from users where id = p_user;
    return case when active then null when not active then 'user_inactive' else 'user_not_found' end;
end $$;

-- Refuses to go on with a change whose user was deleted or deactivated while it waited for a lock. The API sends the
-- statement once more, and finds the reason.
create or replace function sugang.check_user(p_user bigint) returns void language plpgsql as $$
begin
    if not exists (select from users where id = p_user and is_active) then
        raise serialization_failure using message = 'the user was deleted or deactivated meanwhile';
    end if;
end $$;

-- Locks the row of a user as the foreign keys of what is written do at the end of the statement, or at its commit. Done
-- before the row of an item is locked, it lets no other user wait for this one.
create or replace function sugang.lock_user(p_user bigint) returns void language plpgsql as $$
begin
    perform from users where id = p_user for key share;
    perform sugang.check_user(p_user);
end $$;

-- Whether another transaction keeps the row of a user locked. If none does, this one has it locked now.
create or replace function sugang.is_locked(p_user bigint) returns boolean language plpgsql as $$
begin
    perform from users where id = p_user for no key update skip locked;
    return not found;
end $$;
