-- One kind: what an edit of an item leaves behind, a row at a time: its history within a trigger, and its events. One
-- trigger for both, since a call costs more than what there is to do for most of them: a seat that is taken or given
-- back.
create or replace function sugang.{kind}_edited() returns trigger language plpgsql as $$
begin
    -- By itself, a statement is logged by sugang_change_log_update. What counts seats sets none of the fields, and another
    -- id has other seats.
    if pg_trigger_depth() > 1
       and (new.id <> old.id
            or new.registration_count = old.registration_count and new.held_count = old.held_count) then
        perform sugang.log_{kind}_nested_edit(old, new);
    end if;
    if pg_sequence_last_value('sugang.webhooks_id_seq') is not null and sugang.has_webhooks() then
        perform sugang.publish_{kind}_edit(old, new);
    end if;
    return null;
end $$;
create or replace trigger sugang_edited after update on {items}
    for each row execute function sugang.{kind}_edited();
