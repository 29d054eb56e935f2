create or replace function sugang.ready(p_function text) returns sugang.function_row language plpgsql stable as $$
begin
    if p_function is distinct from 'ready' then perform sugang.misrouted(p_function, 'ready'); end if;
    return row('ok', null, null, null, null, null)::sugang.function_row;
end $$;
