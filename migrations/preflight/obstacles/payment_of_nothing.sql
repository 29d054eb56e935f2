-- finds: Payments of 0.00 pay for an item that has a price, or that is gone.
-- advice: This states that the item was given for free. Cancel those payments that should have cost something.

select format('payment %s: user %s, {kind} %s at %s', p.id, p.user_id, p.object_id, coalesce(i.price::text, 'no price'))
from payments p left join {items} i on i.id = p.object_id
where p.payment_type = '{kind}' and p.amount = 0 and p.payment_method <> 'free' and i.price is distinct from 0
order by p.id;

-- remedy:
update payments p
set payment_method = 'free'
where p.payment_type = '{kind}' and p.amount = 0 and p.payment_method <> 'free'
  and not exists (select from {items} i where i.id = p.object_id and i.price = 0);
