-- What gateways show as given back: by us, or in their own consoles. A look-up after a refund was sent, before it is
-- sent, because of an event, and once a day all note it by the same function.

-- What a gateway had given back of money before the rest of it was set aside: our books have none of that.
create or replace function sugang.given_back_before(t sugang.payment_attempts) returns numeric
language sql immutable as $$
    select case when t.status = 'surplus' then coalesce((t.facts ->> 'given_back')::numeric, 0) else 0 end
$$;

-- What a gateway has left of a payment, by what it shows as given back.
create or replace function sugang.left_at_gateway(p_payment bigint, p_shown jsonb) returns numeric
language sql stable as $$
    select captured + sugang.given_back_before(t) - coalesce((
        select sum((x ->> 'amount')::numeric) from jsonb_array_elements(p_shown) x where x ->> 'state' <> 'failed'), 0)
    from sugang.payment_attempts t where payment_id = p_payment
$$;

-- Books in again what a gateway had given back, and now shows as failed: the user's bank has returned the money. If the
-- payment has ended, it is owed again, and a person decides how it is given back.
create or replace function sugang.take_refund_back(r sugang.refunds) returns void language sql as $$
    update sugang.refunds set status = 'refused', code = 'FAILED' where payment_id = r.payment_id and id = r.id
$$;

-- Notes what the gateway shows as given back of a payment: [{"id", "amount", "key", "state"}]. Ours is recognized by
-- the key that was sent along. A gateway that returns no such key (null) is believed by the amount, if it has not shown
-- that before ours was sent; so is a refund that a person has made at the gateway's console ("") in place of one that
-- was owed and not sent, unless it may have been there before the rest was owed. What else was given back there becomes
-- a refund of its own, which changes nothing but the books: a person decides about the rest. Each takes effect once, by
-- its id; and once more if it fails after it was done. Returns what is still to be known of refund p_refund: `pending`,
-- `failed`; else null.
create or replace function sugang.note_refunds(p_payment bigint, p_refund bigint, p_shown jsonb) returns text
language plpgsql as $$
declare
    s record;
    r sugang.refunds;
    p payments;
    own_state text;
    by_user bigint := sugang.actor();
    before constant numeric := (select coalesce(sum(sugang.given_back_before(t)), 0)
                                from sugang.payment_attempts t where payment_id = p_payment);
    shown constant numeric := (select coalesce(sum((x ->> 'amount')::numeric), 0)
                               from jsonb_array_elements(p_shown) x where x ->> 'state' = 'done');
begin
    for s in select x ->> 'id' as id, (x ->> 'amount')::numeric(10, 2) as amount, x ->> 'key' as key,
                    x ->> 'state' as state
             from jsonb_array_elements(p_shown) x loop
        update sugang.refunds set gateway_id = s.id
            where payment_id = p_payment and reference = s.id and gateway_id is null;
        select * into r from sugang.refunds where payment_id = p_payment and gateway_id = s.id;
        if r.id is not null then
            if s.state = 'failed' and sugang.is_given_back(r.status) then perform sugang.take_refund_back(r); end if;
            continue;
        end if;
        select * into r from sugang.refunds
            where payment_id = p_payment and status in ('requested', 'sent')
              and (idempotency_key = s.key
                   or amount = s.amount
                      and (s.key is null and status = 'sent' and tries > 0
                           -- What was given back before is no answer to this one.
                           and (before = 0 or shown >= before + refunds.amount + (
                               select coalesce(sum(n.amount), 0) from sugang.refunds n
                               where n.payment_id = p_payment and n.gateway_id is not null
                                 and sugang.is_given_back(n.status)))
                           or coalesce(s.key, '') = '' and status = 'requested' and before = 0))
            order by status desc, id limit 1 for update;
        if s.state <> 'done' then
            if r.id = p_refund then own_state := s.state; end if;
            continue;
        end if;
        select * into p from payments where id = p_payment;
        if r.id is not null then
            update sugang.refunds set status = 'done', gateway_id = s.id, due_at = null, account = null, code = null
                where payment_id = p_payment and id = r.id;
            if r.cancels_payment and p.status = 'paid' then
                perform sugang.end_payment(p, r.reason, r.keeps_registration);
            end if;
        elsif p.status = 'paid' and p.partly_refunded < p.amount then
            -- Not by the user for whom the rest is done.
            perform set_config('sugang.actor', '', true);
            insert into sugang.refunds (payment_id, amount, status, gateway_id)
                values (p_payment, least(s.amount, p.amount - p.partly_refunded), 'external', s.id);
            perform set_config('sugang.actor', coalesce(by_user::text, ''), true);
        end if;
    end loop;
    return own_state;
end $$;
