-- All payments, for operators: those that match what is given of these.

-- Each condition is decided while the statement is planned, so the plan is as if the others were not there. The ids
-- that this service gives have an index of their own, and so have those of the Django service.
create or replace function sugang.found_payments(p_users bigint[], p_external_id text, p_amount numeric,
                                                 p_status text, p_not_before timestamptz, p_before timestamptz)
returns setof payments language sql stable as $$
    select * from payments
    where (p_users is null or user_id = any (p_users))
      and (p_external_id is null or external_transaction_id = p_external_id)
      and (p_external_id is null
           or starts_with(external_transaction_id, 'sugang_') = starts_with(p_external_id, 'sugang_'))
      and (p_amount is null or amount = p_amount)
      and (p_status is null or status = p_status)
      and (p_not_before is null or paid_at >= p_not_before)
      and (p_before is null or paid_at < p_before)
$$;

-- The users of an e-mail address, given by its keys as in sugang.credentials. Null, for any user, without an address.
create or replace function sugang.users_of_email(p_key text, p_typed_key text, p_ascii_key text) returns bigint[]
language sql stable as $$
    select case when p_key is not null then array(
        select id from users where sugang.email_key(email) in (p_key, p_typed_key, p_ascii_key)) end
$$;

-- The users whose payments are wanted: by id, by an e-mail address, or by both. Null, for any user, without either.
create or replace function sugang.payment_owners(p_owner text, p_key text, p_typed_key text, p_ascii_key text)
returns bigint[] language sql stable as $$
    select case when p_owner is null then owners
                else array(select p_owner::bigint where owners is null or p_owner::bigint = any (owners)) end
    from sugang.users_of_email(p_key, p_typed_key, p_ascii_key) owners
$$;

-- Newest first. A page is read along an index in the order of the list, from the nearer end of it. p_from and p_to are
-- days in UTC, both inclusive.
create or replace function sugang.list_payments_for_operator(p_function text, p_user bigint, p_page bigint,
                                                             p_owner text, p_key text, p_typed_key text,
                                                             p_ascii_key text, p_external_id text, p_amount text,
                                                             p_status text, p_from text, p_to text,
                                                             p_epoch bigint default null)
returns sugang.function_row language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
    a sugang.function_row;
    found_n bigint;
    skipped bigint;
    ids bigint[];
    owners bigint[];
    paid numeric := p_amount::numeric;
    not_before timestamptz;
    before timestamptz;
begin
    if p_function is distinct from 'list_payments_for_operator' then
        perform sugang.misrouted(p_function, 'list_payments_for_operator');
    end if;
    a.outcome := sugang.operator_error(p_user, p_epoch);
    if a.outcome is not null then return a; end if;
    not_before := sugang.day_begin(p_from);
    before := sugang.day_end(p_to);
    owners := sugang.payment_owners(p_owner, p_key, p_typed_key, p_ascii_key);
    p_external_id := sugang.stored_external_id(p_external_id);
    select count(*) into found_n
        from sugang.found_payments(owners, p_external_id, paid, p_status, not_before, before);
    a := sugang.paginate(found_n, p_page);
    if a.outcome is not null then return a; end if;
    skipped := (a.page - 1) * sugang.page_size();
    if skipped > found_n / 2 then
        ids := array(select id from (
            select id, paid_at from sugang.found_payments(owners, p_external_id, paid, p_status, not_before, before)
            order by paid_at, id offset greatest(found_n - skipped - sugang.page_size(), 0)
            limit least(found_n - skipped, sugang.page_size())) page
            order by paid_at desc, id desc);
    else
        ids := array(select id
            from sugang.found_payments(owners, p_external_id, paid, p_status, not_before, before)
            order by paid_at desc, id desc offset skipped limit sugang.page_size());
    end if;
    a.outcome := 'ok';
    a.body := '[' || coalesce((select string_agg(body, ',' order by place)
        from unnest(ids) with ordinality wanted (id, place)
        join payments p on p.id = wanted.id cross join lateral sugang.payment_for_operator_json(p)), '') || ']';
    return a;
end $$;
