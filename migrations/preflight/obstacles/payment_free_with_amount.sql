-- finds: Payments have the method 'free' and an amount.
-- advice: Only a payment of 0.00 is free. This keeps the amount, and states that the method is not known.

select format('payment %s: %s', id, amount) from payments where payment_method = 'free' and amount <> 0 order by id;

-- remedy:
update payments set payment_method = 'unknown' where payment_method = 'free' and amount <> 0;
