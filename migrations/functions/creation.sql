-- What operators create many items with; see operator_import.sql.

-- How many items were created, or would be, and the ids of those that were.
create or replace function sugang.created_json(p_count integer, p_ids bigint[]) returns text
language sql immutable as $$
    select json_build_object('count', p_count, 'ids', coalesce(p_ids, '{}'))::text
$$;

-- Only names: PostgreSQL reads much else as a time zone, such as 'KST-9' or a misspelled name with a number in it.
create or replace function sugang.is_time_zone(p_name text) returns boolean language sql stable as $$
    select exists (select from pg_timezone_names where name = p_name)
$$;
