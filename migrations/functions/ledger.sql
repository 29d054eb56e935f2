-- Refunds, and the ledger of all money.
--
-- The triggers of payments write both, whichever program changes a payment: a payment that appears is captured, and one
-- that is no longer paid gives back what is left of it. Where no order has brought the money, that is all there is to
-- do, and a refund is `done` when it is written; else it is `requested`, and gateway_refunds.sql sends it, or an
-- operator notes that it was paid out. Only a refund of a part is a row that a function writes; its trigger adds it to
-- the payment.

create or replace trigger append_only before update or delete or truncate on sugang.ledger
    for each statement execute function sugang.refuse_audit_log_change();
create or replace trigger append_only before delete or truncate on sugang.refunds
    for each statement execute function sugang.refuse_audit_log_change();

-- Whether a refund with this status has moved money.
create or replace function sugang.is_given_back(p_status text) returns boolean
language sql immutable parallel safe as $$
    select p_status in ('done', 'external')
$$;

-- What was given back of a payment.
create or replace function sugang.given_back(p_payment bigint) returns numeric language sql stable as $$
    select coalesce(sum(amount), 0) from sugang.refunds
    where payment_id = p_payment and sugang.is_given_back(status)
$$;

-- Books what was paid. False for an id that was booked before: it was deleted, and comes back.
create or replace function sugang.book_capture(p_payment bigint, p_amount numeric, p_at timestamptz, p_actor bigint,
                                               p_request_id text)
returns boolean language plpgsql as $$
begin
    -- Nothing was paid for a free item.
    if p_amount = 0 then return true; end if;
    insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount, actor_id, request_id)
        values (p_at, 'payment', p_payment, 'captured', p_payment, 'cash', 'sales', p_amount, p_actor, p_request_id)
        on conflict do nothing;
    return found;
end $$;

-- The status of a refund that no gateway was asked for yet.
create or replace function sugang.first_refund_status(p_payment bigint) returns text language sql stable as $$
    select case when exists (select from sugang.payment_attempts where payment_id = p_payment) then 'requested'
                else 'done' end
$$;

-- Gives back what is left of a payment that is no longer paid: in the statement that changes its status.
create or replace function sugang.give_rest_back(p_payment bigint, p_rest numeric, p_reason text, p_at timestamptz,
                                                 p_actor bigint, p_request_id text)
returns void language plpgsql as $$
declare
    t sugang.payment_attempts;
begin
    if p_rest = 0 then return; end if;
    select * into t from sugang.payment_attempts where payment_id = p_payment;
    with refund as (
        insert into sugang.refunds
            (payment_id, amount, status, ends_payment, reason, requested_by, requested_at, code, due_at)
            values (p_payment, p_rest, sugang.first_refund_status(p_payment), true, p_reason, p_actor, p_at,
                    case when sugang.needs_account(t) then 'account_required' end,
                    case when sugang.gives_back(t.gateway) and not sugang.needs_account(t) then clock_timestamp() end)
            returning id, status
    )
    insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount, actor_id, request_id)
        select p_at, 'refund', id, case when sugang.reversed_order() is null then 'done' else 'reversed' end, p_payment,
               'sales_returns', 'cash', p_rest, p_actor, p_request_id
        from refund where status = 'done';
end $$;

-- Books a payment that another program has written in another way than the API does.
create or replace function sugang.book_payment(p_old payments, p_new payments, p_entry sugang.audit_log)
returns void language plpgsql as $$
declare
    captured numeric := p_old.amount;
begin
    if (p_old.id, p_old.amount, p_old.status = 'paid') = (p_new.id, p_new.amount, p_new.status = 'paid') then
        return;
    end if;
    if p_old.id is distinct from p_new.id then
        update sugang.refunds set payment_id = p_new.id where payment_id = p_old.id;
        captured := sugang.given_back(p_new.id);
    end if;
    if p_old.id is null
       and sugang.book_capture(p_new.id, p_new.amount, p_entry.at, p_entry.actor_id, p_entry.request_id) then
        captured := captured + p_new.amount;
    end if;
    perform sugang.book_again(p_new, captured, p_entry);
end $$;

-- Books out what is left of a payment that is deleted, or gets another id. What was given back stays in the books.
create or replace function sugang.book_removal(p payments, p_entry sugang.audit_log) returns void
language plpgsql as $$
begin
    perform sugang.book_correction(p.id, sugang.given_back(p.id) - p.amount, p_entry);
end $$;

-- Books what another program has changed beyond the status: p_amount more was paid, or less if it is negative.
create or replace function sugang.book_correction(p_payment bigint, p_amount numeric, p_entry sugang.audit_log)
returns void language plpgsql as $$
begin
    if p_amount = 0 then return; end if;
    insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount, actor_id, request_id)
        values (p_entry.at, 'history', p_entry.id, 'corrected', p_payment,
                case when p_amount > 0 then 'cash' else 'sales' end,
                case when p_amount > 0 then 'sales' else 'cash' end,
                abs(p_amount), p_entry.actor_id, p_entry.request_id);
end $$;

-- Brings the books of a payment to what it is now. p_captured: what they have as paid for it.
create or replace function sugang.book_again(p payments, p_captured numeric, p_entry sugang.audit_log) returns void
language plpgsql as $$
declare
    part numeric;
    rest numeric;
    has_ended boolean;
    recounted text := coalesce(current_setting('sugang.recount', true), '');
begin
    select coalesce(sum(amount) filter (where not ends_payment), 0),
           coalesce(sum(amount) filter (where ends_payment), 0)
        into part, rest from sugang.refunds where payment_id = p.id and status <> 'refused';
    if p.partly_refunded <> part then
        perform set_config('sugang.recount', 'on', true);
        update payments set partly_refunded = part where id = p.id;
        perform set_config('sugang.recount', recounted, true);
    end if;
    has_ended := p.status <> 'paid' and rest = p.amount - part;
    -- A payment that is paid again has what had ended it: that was not given back.
    if not has_ended then
        update sugang.refunds set status = 'refused', account = null
            where payment_id = p.id and ends_payment and status <> 'refused';
    end if;
    perform sugang.book_correction(p.id, p.amount - p_captured, p_entry);
    if p.status <> 'paid' and not has_ended then
        perform sugang.give_rest_back(p.id, p.amount - part, p.refund_reason, p_entry.at, p_entry.actor_id,
                                      p_entry.request_id);
    end if;
end $$;

-- Brings the books to the payments whose history was written down late: in the entries after p_known_until.
create or replace function sugang.book_unbooked_payments(p_known_until bigint) returns void language plpgsql as $$
declare
    late record;
begin
    perform set_config('sugang.recount', 'on', true);
    for late in
        select h as entry, p as payment, coalesce(l.cash, 0) as cash
        from sugang.audit_log h
        left join payments p on p.id = h.subject_id
        left join (select payment_id as id,
                          sum(case 'cash' when debit then amount when credit then -amount else 0 end) as cash
                   from sugang.ledger group by 1) l on l.id = h.subject_id
        where h.subject = 'payment' and h.id > p_known_until loop
        if (late.payment).id is null then
            perform sugang.book_correction((late.entry).subject_id, -late.cash, late.entry);
        else
            perform sugang.book_again(late.payment, late.cash + sugang.given_back((late.payment).id), late.entry);
        end if;
    end loop;
    perform set_config('sugang.recount', '', true);
end $$;

-- Adds a refund to its payment, whose row it locks: refunds of one payment never pass each other, nor its cancellation.
-- One that is refused from the start is a decision: the user cannot cancel the payment any more.
-- What ends a payment is written, and booked, by the trigger of the payment.
create or replace function sugang.refund_made() returns trigger language plpgsql as $$
begin
    if pg_trigger_depth() > 1 or sugang.recounts() then return null; end if;
    if new.status = 'refused' then
        update payments set refund_refused = true where id = new.payment_id;
        return null;
    end if;
    if not new.ends_payment then
        update payments set partly_refunded = partly_refunded + new.amount
            where id = new.payment_id and status = 'paid';
    end if;
    if new.ends_payment or not found then
        raise check_violation using message = format('payment %s is not paid', new.payment_id),
            hint = 'A payment is ended by its status.', table = 'refunds', constraint = 'refunds_of_paid';
    end if;
    if sugang.is_given_back(new.status) then perform sugang.book_refund(new, new.status); end if;
    return null;
end $$;
create or replace trigger sugang_refund_made after insert on sugang.refunds
    for each row execute function sugang.refund_made();

-- Books a step of a refund.
create or replace function sugang.book_refund(p sugang.refunds, p_step text) returns void language plpgsql as $$
begin
    insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount, actor_id, request_id)
        values (clock_timestamp(), 'refund', p.id, p_step, p.payment_id,
                case when p_step = 'refused' then 'cash' else 'sales_returns' end,
                case when p_step = 'refused' then 'sales_returns' else 'cash' end,
                p.amount, sugang.actor(), sugang.request());
end $$;

-- A status leads to few others. What is done is taken back only by a payment that is paid again, or by a gateway that
-- shows it as failed: see sugang.take_refund_back.
create or replace function sugang.refund_changed() returns trigger language plpgsql as $$
declare
    may_follow boolean;
    has_failed boolean := sugang.is_given_back(old.status) and new.status = 'refused' and new.code = 'FAILED'
                          and new.gateway_id is not null;
begin
    may_follow := has_failed is true or case old.status
        when 'requested' then new.status in ('sent', 'done', 'refused')
        -- What is owed stays owed when a gateway refuses it.
        when 'sent' then new.status in ('done', 'refused', 'requested')
        else new.status = 'refused' and new.ends_payment and (pg_trigger_depth() > 1 or sugang.recounts())
    end;
    if not may_follow then
        raise check_violation using message = format('a refund that is %s cannot become %s', old.status, new.status),
            table = 'refunds', constraint = 'refunds_status_follows';
    end if;
    if sugang.is_given_back(old.status) or sugang.is_given_back(new.status) then
        perform sugang.book_refund(new, new.status);
    end if;
    if new.status = 'refused' and not new.ends_payment then
        update payments set partly_refunded = partly_refunded - new.amount where id = new.payment_id;
    end if;
    if has_failed then
        insert into sugang.refunds (payment_id, amount, status, ends_payment, keeps_registration, reason, requested_by,
                                    code)
            select id, new.amount, 'requested', true, new.keeps_registration, new.reason, new.requested_by, new.code
            from payments where id = new.payment_id and status <> 'paid';
    end if;
    return null;
end $$;
create or replace trigger sugang_refund_changed after update of status on sugang.refunds
    for each row when (old.status <> new.status) execute function sugang.refund_changed();

-- What the triggers keep is not written by hand.
create or replace function sugang.refuse_change() returns trigger language plpgsql as $$
begin
    if sugang.recounts() then return new; end if;
    raise exception '%.% is kept by triggers; write sugang.refunds', tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege';
end $$;
create or replace trigger sugang_partly_refunded before update of partly_refunded, refund_refused on payments
    for each row
    when ((old.partly_refunded, old.refund_refused) <> (new.partly_refunded, new.refund_refused)
          and pg_trigger_depth() = 0)
    execute function sugang.refuse_change();
create or replace trigger sugang_refund_fixed before update of id, payment_id, amount, ends_payment on sugang.refunds
    for each row
    when ((old.id, old.payment_id, old.amount, old.ends_payment)
          is distinct from (new.id, new.payment_id, new.amount, new.ends_payment) and pg_trigger_depth() = 0)
    execute function sugang.refuse_change();
