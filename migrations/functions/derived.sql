-- What the triggers of all kinds have in common.

-- Whether sugang.recount_...() is counting again. Any role can set this setting, so it counts only for the owner of the
-- tables, and for what a trigger does: no other role gets past a guard or the history by it.
create or replace function sugang.recounts() returns boolean language plpgsql stable as $$
begin
    if coalesce(current_setting('sugang.recount', true), '') <> 'on' then return false; end if;
    if pg_trigger_depth() = 1
       and not pg_has_role(session_user, (select nspowner from pg_namespace where nspname = 'sugang'), 'member') then
        raise insufficient_privilege using message = 'only the owner of the tables may set sugang.recount';
    end if;
    return true;
end $$;

-- The audit tells a capacity that an operator has lowered from a seat sold twice by what was taken since.
create or replace function sugang.note_capacity_change() returns trigger language plpgsql as $$
begin
    new.capacity_changed_at := clock_timestamp();
    return new;
end $$;
