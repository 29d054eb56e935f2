-- One kind: the trigger that writes the audit log of its registrations.
create or replace function sugang.log_{kind}_registration() returns trigger language plpgsql as $$
declare
    before integer := 0;
    after  integer := 0;
begin
    if tg_op <> 'INSERT' and old.status <> 'cancelled' then before := 1; end if;
    if tg_op <> 'DELETE' and new.status <> 'cancelled' then after := 1; end if;
    if tg_op = 'DELETE' then
        new := old;
        new.status := 'deleted';
    end if;
    perform sugang.append_audit_log('{kind}', new.id, '{kind}', new.{item_id}, new.user_id, new.status, 0,
                                    after - before);
    return null;
end $$;
create or replace trigger sugang_audit_log after insert or delete on {registrations}
    for each row execute function sugang.log_{kind}_registration();
create or replace trigger sugang_audit_log_update after update of status on {registrations}
    for each row when (old.status is distinct from new.status) execute function sugang.log_{kind}_registration();
