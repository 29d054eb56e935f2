-- Records the changes of items that a search can see, in sugang.search_changes. For triggers: the first argument is the
-- kind; the second one, after a statement, is the sign.

-- Whether the next p_n changes of this transaction are to be recorded. Recording and reading more than 1,000 would take
-- longer than counting again, so one row stands for all changes of a transaction that makes more. Each hundred changes
-- prune once on average, so the table stays short however seldom searches are counted.
create or replace function sugang.records_search_changes(p_kind text, p_n bigint) returns boolean
language plpgsql as $$
declare
    setting text := 'sugang.search_changes_of_' || p_kind;
    made bigint := coalesce(nullif(current_setting(setting, true), '')::bigint, 0);
begin
    if p_n = 0 or made > 1000 then return false; end if;
    -- Ends with the transaction.
    perform set_config(setting, (made + p_n)::text, true);
    if random() < p_n / 100.0 then perform sugang.prune_search_changes(p_kind); end if;
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
    if sugang.records_search_changes(tg_argv[0], 2) then
        insert into sugang.search_changes (kind, sign, search_vector, start_at, end_at)
            values (tg_argv[0], -1, old.search_vector, old.start_at, old.end_at),
                   (tg_argv[0], 1, new.search_vector, new.start_at, new.end_at);
    end if;
    return null;
end $$;
create or replace function sugang.record_search_truncate() returns trigger language plpgsql as $$
begin
    insert into sugang.search_changes (kind) values (tg_argv[0]);
    return null;
end $$;
