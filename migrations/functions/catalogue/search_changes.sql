-- Records the changes of items that a search can see, in sugang.search_changes. For triggers: the first argument is the
-- kind; the second one, after a statement, is the sign.

-- Whether the next p_n changes of this transaction are to be recorded. Recording and reading more than 1,000 would take
-- longer than counting again, so one row stands for all changes of a transaction that makes more.
create or replace function sugang.records_search_changes(p_kind text, p_n bigint) returns boolean
language plpgsql as $$
declare
    setting text := 'sugang.search_changes_of_' || p_kind;
    made bigint := coalesce(nullif(current_setting(setting, true), '')::bigint, 0);
begin
    if p_n = 0 or made > 1000 then return false; end if;
    -- Ends with the transaction.
    perform set_config(setting, (made + p_n)::text, true);
    if made + p_n > 1000 then
        insert into sugang.search_changes (kind) values (p_kind);
        return false;
    end if;
    return true;
end $$;

create or replace function sugang.record_search_changes() returns trigger language plpgsql as $$
begin
    if sugang.records_search_changes(tg_argv[0], (select count(*) from (select from changed limit 1001) c)) then
        insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
            select tg_argv[0], tg_argv[1]::integer, search_vector, start_at, end_at from changed;
    end if;
    return null;
end $$;
create or replace function sugang.record_search_update() returns trigger language plpgsql as $$
begin
    if sugang.records_search_changes(tg_argv[0], 2 * (select count(*) from (select from added limit 501) a)) then
        insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
            select tg_argv[0], -1, search_vector, start_at, end_at from removed
            union all
            select tg_argv[0], 1, search_vector, start_at, end_at from added;
    end if;
    return null;
end $$;
create or replace function sugang.record_search_truncate() returns trigger language plpgsql as $$
begin
    insert into sugang.search_changes (kind) values (tg_argv[0]);
    return null;
end $$;

-- Each hundred changes prune once on average, so the table stays short however seldom searches are counted. At the
-- commit, so that a transaction that stays open keeps no other from it.
create or replace function sugang.prune_search_changes_at_commit() returns trigger language plpgsql as $$
begin
    perform sugang.prune_search_changes(new.kind);
    return null;
end $$;
-- PostgreSQL cannot replace a constraint trigger, so it is made once.
do $$
begin
    if not exists (select from pg_trigger where tgrelid = 'sugang.search_changes'::regclass and tgname = 'prune') then
        create constraint trigger prune after insert on sugang.search_changes deferrable initially deferred
            for each row when (new.sign is null or new.sign <> 0 and random() < 0.01)
            execute function sugang.prune_search_changes_at_commit();
    end if;
end $$;
