-- Sequences that lag behind the ids of their tables, as after a restore.

-- The sequence that numbers the ids of a table, null if there is none: that of their default, even if it belongs to
-- another column or stands in another schema, else that of the identity. Names tell nothing: Django and this service
-- name it differently.
create or replace function sugang.id_sequence(p_table regclass) returns regclass language sql stable as $$
    select coalesce(
        (select s.oid::regclass
         from pg_attribute a
         join pg_attrdef f on (f.adrelid, f.adnum) = (a.attrelid, a.attnum)
         join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
             and d.refclassid = 'pg_class'::regclass
         join pg_class s on s.oid = d.refobjid and s.relkind = 'S'
         where a.attrelid = p_table and a.attname = 'id' and not a.attisdropped
         order by s.oid limit 1),
        pg_get_serial_sequence(p_table::text, 'id')::regclass)
$$;

-- Moves the sequence of an id on to the highest id.
create or replace function sugang.advance_sequence(p_table regclass) returns void language plpgsql as $$
declare
    sequence regclass := sugang.id_sequence(p_table);
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
