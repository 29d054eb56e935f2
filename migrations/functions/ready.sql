create or replace function sugang.ready() returns sugang.function_row language sql stable as $$
    select row('ok', null, null, null, null, null)::sugang.function_row
$$;
