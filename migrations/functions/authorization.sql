-- Whether a user may send requests, and the epoch before which the user's tokens have ended.

-- The reason why this user may not send requests with a token of this epoch; null if there is none. A p_epoch of null
-- stands for a caller without a token, such as a tool.
create or replace function sugang.authorization_error(p_user bigint, p_epoch bigint) returns sugang.outcome
language plpgsql stable as $$
declare
    active boolean;
    ended boolean;
begin
    select is_active, p_epoch < token_epoch into active, ended from users where id = p_user;
    return case
        when not active then 'user_inactive' when active is null then 'user_not_found' when ended then 'login_ended'
    end;
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
    perform from users where id = p_user and is_active for key share;
    if not found then perform sugang.check_user(p_user); end if;
end $$;

-- Whether another transaction keeps the row of a user locked. If none does, this one has it locked now.
create or replace function sugang.is_locked(p_user bigint) returns boolean language plpgsql as $$
begin
    perform from users where id = p_user for no key update skip locked;
    return not found;
end $$;

-- Ends the tokens of a user whose password changes, whichever program changes it. A new epoch is the time, and later
-- than any before, even if the clock was set back. It calls no function of this schema: the role of another program may
-- have no rights on it.
create or replace function sugang.advance_token_epoch() returns trigger language plpgsql as $$
begin
    -- sugang.logged_in stores the same password under a new hash.
    if new.token_epoch is distinct from old.token_epoch
        or current_setting('sugang.rehashed_user', true) is distinct from new.id::text then
        new.token_epoch := greatest(old.token_epoch + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint);
    end if;
    return new;
end $$;
create or replace trigger sugang_token_epoch before update of password, token_epoch on users for each row
    when (old.password is distinct from new.password or old.token_epoch is distinct from new.token_epoch)
    execute function sugang.advance_token_epoch();
