-- One kind: as in V28.
alter table {registrations}
    -- squawk-ignore ban-drop-constraint
    drop constraint {registrations}_status_known,
    add constraint {registrations}_status_known check (status ~ '^({active}|completed|cancelled)$') not valid;
