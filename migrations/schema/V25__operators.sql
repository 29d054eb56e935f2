-- Operators: users who manage exams, courses and other users. Django has these columns already.
alter table users
    add column if not exists is_staff boolean not null default false, -- an operator
    add column if not exists is_superuser boolean not null default false; -- an operator who also makes operators

-- One row for each change of what operators decide: the editable fields of an item, and the rights of a user. Triggers
-- write it in the transaction of the change, whichever program makes the change. See functions/change_log.sql.
create table sugang.change_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    subject text not null, -- 'user', or the kind of an item
    subject_id bigint not null,
    action text not null, -- 'created', 'edited' or 'deleted'
    before jsonb, -- edited: the fields that differ; deleted: all of them
    after jsonb, -- edited: the same fields; created: those of a user. A new item is known by what follows.
    actor_id bigint, -- the user that sent the request; null when another program made the change
    request_id text -- null when another program made the change
);
create index change_log_subject on sugang.change_log (subject, subject_id);
