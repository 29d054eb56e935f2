-- The id of an item has 64 bits; the Django service gave its copy in payments 32.
--
-- PostgreSQL writes the table and its indexes again and lets no session read it meanwhile: 8 seconds for a million rows
-- on a small machine. A Django model with a PositiveIntegerField reads and writes the wider column as before.
do $$
begin
    if (select atttypid = 'integer'::regtype from pg_attribute
        where attrelid = 'payments'::regclass and attname = 'object_id') then
        -- What earlier files have changed may still wait for a deferred constraint.
        set constraints all immediate;
        alter table payments alter column object_id type bigint;
    end if;
end $$;
