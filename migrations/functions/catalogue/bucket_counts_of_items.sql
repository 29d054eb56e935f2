-- One kind: the triggers that keep sugang.bucket_counts.
create or replace trigger sugang_bucket_counts_insert after insert on {items} referencing new table as changed
    for each statement execute function sugang.bucket_counts_after_statement('{kind}', '1');
create or replace trigger sugang_bucket_counts_delete after delete on {items} referencing old table as changed
    for each statement execute function sugang.bucket_counts_after_statement('{kind}', '-1');
-- Once for a statement, except within a trigger: there, nearly all are those of registrations that change
-- registration_count, and the condition of a row costs them nothing.
create or replace trigger sugang_bucket_counts_update after update on {items}
    referencing old table as removed new table as added
    for each statement when (pg_trigger_depth() = 0) execute function sugang.bucket_counts_after_update('{kind}');
create or replace trigger sugang_bucket_counts_nested_update
    after update of created_at, start_at, end_at, hidden on {items} for each row
    when (pg_trigger_depth() > 0
          and (old.created_at, old.start_at, old.end_at, old.hidden)
              is distinct from (new.created_at, new.start_at, new.end_at, new.hidden))
    execute function sugang.bucket_counts_after_row('{kind}');
create or replace trigger sugang_bucket_counts_truncate after truncate on {items}
    for each statement execute function sugang.bucket_counts_after_truncate('{kind}');
