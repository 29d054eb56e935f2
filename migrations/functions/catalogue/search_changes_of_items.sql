-- One kind: the triggers that record its changes in sugang.search_changes.
create or replace trigger sugang_search_insert after insert on sugang.{kind}_search referencing new table as changed
    for each statement execute function sugang.record_search_changes('{kind}', '1');
create or replace trigger sugang_search_delete after delete on sugang.{kind}_search referencing old table as changed
    for each statement execute function sugang.record_search_changes('{kind}', '-1');
create or replace trigger sugang_search_update after update on sugang.{kind}_search
    referencing old table as removed new table as added
    for each statement execute function sugang.record_search_update('{kind}');
create or replace trigger sugang_search_truncate after truncate on sugang.{kind}_search
    for each statement execute function sugang.record_search_truncate('{kind}');
