-- The history of what operators decide: see sugang.change_log. The triggers of items are in change_log_of_items.sql.

create or replace trigger append_only before update or delete or truncate on sugang.change_log
    for each statement execute function sugang.refuse_audit_log_change();

-- Writes down a change. Of an edit, only the fields that differ.
create or replace function sugang.log_change(p_subject text, p_id bigint, p_action text, p_before jsonb, p_after jsonb)
returns void language plpgsql as $$
begin
    if p_action = 'edited' then
        select jsonb_object_agg(key, b.value), jsonb_object_agg(key, a.value) into p_before, p_after
            from jsonb_each(p_before) b join jsonb_each(p_after) a using (key) where a.value <> b.value;
    end if;
    insert into sugang.change_log (subject, subject_id, action, before, after, actor_id, request_id)
        values (p_subject, p_id, p_action, p_before, p_after, sugang.actor(), sugang.request());
end $$;

-- Whether an item of any kind has this id and this version.
create or replace function sugang.is_version(p_id bigint, p_version text) returns boolean language plpgsql stable as $$
declare
    k record;
    found_version text;
begin
    for k in select kind from sugang.kinds loop
        execute format('select sugang.%I($1)', k.kind || '_version_of_id') into found_version using p_id;
        if found_version = p_version then return true; end if;
    end loop;
    return false;
end $$;

-- What is logged of a user.
create or replace function sugang.user_rights(u users) returns jsonb language sql stable as $$
    select jsonb_build_object('is_active', u.is_active, 'is_staff', u.is_staff, 'is_superuser', u.is_superuser)
$$;

create or replace function sugang.log_user_rights() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform sugang.log_change('user', new.id, 'created', null, sugang.user_rights(new));
    else
        perform sugang.log_change('user', new.id, 'edited', sugang.user_rights(old), sugang.user_rights(new));
    end if;
    return null;
end $$;
-- A sign-up makes no operator.
create or replace trigger sugang_change_log_insert after insert on users
    for each row when (new.is_staff or new.is_superuser) execute function sugang.log_user_rights();
create or replace trigger sugang_change_log_update after update of is_active, is_staff, is_superuser on users
    for each row
    when ((old.is_active, old.is_staff, old.is_superuser)
          is distinct from (new.is_active, new.is_staff, new.is_superuser))
    execute function sugang.log_user_rights();
