-- What another program deletes: a payment stays as long as its money is not settled.

-- Whether money of a payment is owed, on its way back, or held by a gateway. Without the payment, nothing says what the
-- gateway holds, and a refund that is settled afterwards is booked out once more.
create or replace function sugang.has_unsettled_money(p_payment bigint) returns boolean language sql stable as $$
    select exists (select from sugang.refunds where payment_id = p_payment and status in ('requested', 'sent'))
        or exists (select from sugang.payment_attempts
                   where payment_id = p_payment and sugang.gives_back(gateway)
                     and captured > sugang.given_back(p_payment))
$$;

-- Another id counts as a deletion: a refund that is under way names the payment by the id of before.
create or replace function sugang.guard_payment_deletion() returns trigger language plpgsql as $$
begin
    if sugang.has_unsettled_money(old.id) then
        raise check_violation using message = format('money of payment %s is not settled', old.id), table = 'payments',
            constraint = 'payments_outcome_known',
            hint = 'Cancel the payment, and wait until its money is given back, or give it back by hand.';
    end if;
    if tg_op = 'DELETE' then return old; end if;
    return new;
end $$;
create or replace trigger sugang_guard_deletion before delete on payments
    for each row execute function sugang.guard_payment_deletion();
create or replace trigger sugang_guard_renumbering before update of id on payments
    for each row when (new.id <> old.id) execute function sugang.guard_payment_deletion();

-- Afterwards: what is truncated together with its orders leaves no attempt behind.
create or replace function sugang.guard_payment_truncation() returns trigger language plpgsql as $$
begin
    if exists (select from sugang.refunds where status in ('requested', 'sent'))
       or exists (select from sugang.payment_attempts
                  where payment_id is not null and sugang.has_unsettled_money(payment_id)) then
        raise check_violation using message = 'money of a payment is not settled', table = 'payments',
            constraint = 'payments_outcome_known';
    end if;
    return null;
end $$;
create or replace trigger sugang_guard_truncation after truncate on payments
    for each statement execute function sugang.guard_payment_truncation();
