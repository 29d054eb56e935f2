-- finds: Payments have a status other than paid, cancelled and refunded.
-- advice: This corrects the spelling where only that differs, and cancels the others. Set those to 'paid' whose money
-- arrived.

select format('payment %s: %s', id, coalesce(quote_literal(status), 'null'))
from payments where coalesce(status, '') not in ('paid', 'cancelled', 'refunded') order by id;

-- remedy:
update payments
set status = case when lower(btrim(status)) in ('paid', 'cancelled', 'refunded') then lower(btrim(status))
                  else 'cancelled' end,
    refund_reason = coalesce(refund_reason, 'status was ' || coalesce(status, 'missing'))
where coalesce(status, '') not in ('paid', 'cancelled', 'refunded');
update payments set cancelled_at = coalesce(paid_at, now()) where status = 'cancelled' and cancelled_at is null;
