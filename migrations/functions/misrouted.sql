-- Every function that the API calls is told the name that it is called by. Behind a connection pooler, a session may
-- execute another prepared statement than the one that was meant; the function that is reached then refuses the call,
-- before it reads or writes anything.

-- Raises the error by which the API recognizes such a call.
create or replace function sugang.misrouted(p_called text, p_reached text) returns void language plpgsql as $$
begin
    raise sqlstate 'SG001' using message = format('a call of %s reached %s', coalesce(p_called, 'nothing'), p_reached);
end $$;
