-- Records the changes of items that a search can see, in sugang.search_changes. For triggers: the first argument is the
-- kind; the second one, after a statement, is the sign.

-- Recording more than 1,000 changes would take longer than counting again.
create or replace function sugang.record_search_changes() returns trigger language plpgsql as $$
begin
    if exists (select from changed offset 1000) then
        insert into sugang.search_changes (kind) values (tg_argv[0]);
    else
        insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
            select tg_argv[0], tg_argv[1]::integer, search_vector, start_at, end_at from changed;
    end if;
    return null;
end $$;
create or replace function sugang.record_search_update() returns trigger language plpgsql as $$
begin
    insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
        values (tg_argv[0], -1, old.search_vector, old.start_at, old.end_at),
               (tg_argv[0], 1, new.search_vector, new.start_at, new.end_at);
    return null;
end $$;
create or replace function sugang.record_search_truncate() returns trigger language plpgsql as $$
begin
    insert into sugang.search_changes (kind) values (tg_argv[0]);
    return null;
end $$;
