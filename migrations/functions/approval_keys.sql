-- The Idempotency-Key of an approval while its answer is not known. It is kept with the outcome `send`, and with the
-- attempt in place of an answer: for another request it is taken, and the same request finds out what has become of it.

-- p_attempt: what is kept already.
create or replace function sugang.keep_approval(p_user bigint, p_order bigint, p_key text, p_fingerprint text,
                                                p_attempt text)
returns void language plpgsql as $$
declare
    kept sugang.function_row;
begin
    if p_key is null then return; end if;
    kept.outcome := 'send';
    kept.body := (sugang.current_attempt(p_order)).id::text;
    if kept.body is distinct from p_attempt then
        perform sugang.end_idempotent(p_user, p_key, p_fingerprint, kept);
    end if;
end $$;

-- The order of an approval that the gateway has declined since, while no answer told so; null for any other. A request
-- that is repeated after that begins no other attempt.
create or replace function sugang.declined_approval(p_user bigint, p_order bigint, p_attempt text) returns text
language plpgsql as $$
begin
    if p_attempt is null then return null; end if;
    perform sugang.lock_order(p_order, p_user);
    return (select object
            from sugang.payment_attempts t join sugang.orders o on o.id = t.order_id
            cross join lateral sugang.order_json(o)
            where t.id = p_attempt::bigint and t.status = 'declined' and o.status in ('held', 'expired'));
end $$;
