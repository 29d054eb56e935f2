-- One kind: the triggers that keep sugang.bucket_counts.
create or replace trigger sugang_bucket_counts_insert after insert on {items} referencing new table as changed
    for each statement execute function sugang.bucket_counts_after_statement('{kind}', '1');
create or replace trigger sugang_bucket_counts_delete after delete on {items} referencing old table as changed
    for each statement execute function sugang.bucket_counts_after_statement('{kind}', '-1');
-- For each row, because a statement's trigger would run on every change of registration_count.
create or replace trigger sugang_bucket_counts_update after update of created_at, start_at, end_at on {items}
    for each row
    when ((old.created_at, old.start_at, old.end_at) is distinct from (new.created_at, new.start_at, new.end_at))
    execute function sugang.bucket_counts_after_row('{kind}');
create or replace trigger sugang_bucket_counts_truncate after truncate on {items}
    for each statement execute function sugang.bucket_counts_after_truncate('{kind}');
