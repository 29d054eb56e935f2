-- finds: Payments of 0.00 for a free item name a method by which nothing can be paid.
-- repair: Their method is 'free' now.

select format('payment %s: %s', p.id, p.payment_method)
from payments p join {items} i on i.id = p.object_id
where p.payment_type = '{kind}' and p.amount = 0 and p.payment_method <> 'free' and i.price = 0 order by p.id;

-- remedy:
update payments p
set payment_method = 'free'
from {items} i
where i.id = p.object_id and p.payment_type = '{kind}' and p.amount = 0 and p.payment_method <> 'free' and i.price = 0;
