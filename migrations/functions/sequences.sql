-- Sequences that lag behind the ids of their tables, as after a restore.

-- Moves the sequence of an id on to the highest id, whatever it is named: Django and this service name it differently.
create or replace function sugang.advance_sequence(p_table regclass) returns void language plpgsql as $$
declare
    sequence regclass := pg_get_serial_sequence(p_table::text, 'id');
    highest bigint;
begin
    execute format('select max(id) from %s', p_table) into highest;
    if highest > coalesce(pg_sequence_last_value(sequence), 0) then perform setval(sequence, highest); end if;
end $$;

-- Moves all sequences on. The lock serializes the sessions that find one behind, so none moves a sequence back.
-- It works as its owner: with a right of its own, the role that serves requests could move a sequence back.
create or replace function sugang.advance_sequences(p_function text) returns sugang.function_row
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    kind text;
    numbered regclass;
begin
    if p_function is distinct from 'advance_sequences' then
        perform sugang.misrouted(p_function, 'advance_sequences');
    end if;
    perform pg_advisory_xact_lock(hashtextextended('sugang.advance_sequences', 0));
    perform sugang.advance_sequence('users'), sugang.advance_sequence('payments');
    -- A table that is added to the schema needs no line here.
    for numbered in select pg_class.oid::regclass from pg_class join pg_attribute on attrelid = pg_class.oid
            where relnamespace = 'sugang'::regnamespace and relkind = 'r' and attname = 'id' and attidentity <> '' loop
        perform sugang.advance_sequence(numbered);
    end loop;
    for kind in select k.kind from sugang.kinds k loop
        execute format('select sugang.%I()', 'advance_' || kind || '_sequences');
    end loop;
    return row('ok', null, null, null, null, null)::sugang.function_row;
end $$;
