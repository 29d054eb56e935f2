-- finds: A user has several active payments for one item. This service allows one.
-- advice: This keeps the first payment and cancels the others; refund what was paid twice.

select format('user %s, %s %s: payments %s', user_id, kind, object_id, string_agg(id::text, ', ' order by paid_at, id))
from (select p.*, case when p.payment_type in ({kinds}) then p.payment_type else c.model end as kind
      from payments p left join django_content_type c on c.id = p.content_type_id
      -- As they are once the other remedies have corrected the spelling.
      where lower(btrim(p.status)) = 'paid') active
group by user_id, kind, object_id having count(*) > 1 order by min(id);

-- remedy:
update payments p
set status = 'cancelled', cancelled_at = coalesce(cancelled_at, now()),
    refund_reason = coalesce(refund_reason, 'paid twice')
from (select id, row_number() over (partition by user_id, payment_type, object_id order by paid_at, id) as n
      from payments where status = 'paid') q
where q.id = p.id and q.n > 1;
