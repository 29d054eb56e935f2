-- CSV, as spreadsheets read it.

-- What an operator has entered for a payment; null for an id of this service's own.
create or replace function sugang.entered_reference(p_id text) returns text language sql immutable parallel safe as $$
    select case when not starts_with(p_id, 'sugang_') then p_id end
$$;

-- The rows of a page of an export. An item may have a long description, so a page has a tenth of as many.
create or replace function sugang.export_size() returns integer language sql immutable as $$
    select 5000
$$;

-- A cell that begins like a formula is defused by an apostrophe before it, and so is one that begins with such an
-- apostrophe, so that an import tells them apart.
create or replace function sugang.csv_quoted(p_text text) returns text language sql immutable parallel safe as $$
    select case when safe ~ E'[",\\r\\n]' then '"' || replace(safe, '"', '""') || '"' else safe end
    from (select case when p_text ~ E'^[-=+@\\t\\r'']' then '''' || p_text else p_text end) c (safe)
$$;

-- One expression, so that PostgreSQL puts it in place of the call.
create or replace function sugang.csv_cell(p_text text) returns text language sql immutable parallel safe as $$
    select case when p_text ~ E'^[-=+@\\t\\r'']|[",\\r\\n]' then sugang.csv_quoted(p_text) else p_text end
$$;
