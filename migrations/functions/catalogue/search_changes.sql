-- The changes of items that a search can see, in sugang.search_changes: search_table_of_items.sql and
-- search_changes_of_items.sql record them.

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
