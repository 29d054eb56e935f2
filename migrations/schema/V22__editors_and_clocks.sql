-- The changes of sugang.bucket_counts that are not yet added to it. Writers of items only insert here, so none of them
-- waits for another one, however long that one's transaction stays open. The rows are added when a transaction commits;
-- until then, readers add them up. See functions/catalogue/bucket_counts.sql.
create table sugang.bucket_changes (
    kind text not null,
    edge text not null, -- as in sugang.bucket_counts; 'any' stands for a statement that has changed periods
    bucket timestamptz not null, -- the hour
    n bigint not null
);
create index bucket_changes_edge on sugang.bucket_changes (kind, edge, bucket);
-- Without a primary key, a publication of all tables would refuse the deletions.
alter table sugang.bucket_changes replica identity full;

-- Roles that may write items keep the rights that this takes.
do $$
declare
    granted record;
begin
    for granted in
        select case when grantee = 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end as role, privilege_type
        from pg_class cross join lateral aclexplode(relacl)
        where oid = 'sugang.bucket_counts'::regclass and grantee <> relowner loop
        execute format('grant %s on sugang.bucket_changes to %s', granted.privilege_type, granted.role);
    end loop;
end $$;

-- How the clock has moved, for what is deleted by age. One row. See functions/clock.sql.
create table sugang.clock (
    seen_at timestamptz not null, -- the latest look at it
    jumped_at timestamptz, -- when it was first seen after its latest jump forward
    jumped_by interval not null default '0'
);
insert into sugang.clock (seen_at) values (clock_timestamp());
