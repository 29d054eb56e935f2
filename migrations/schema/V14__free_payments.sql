-- An item whose price is 0 is taken with a payment of 0.00 by the method 'free', and only such a payment has either.
-- Not valid: rows of the Django service are not checked until they change.
alter table payments
    -- squawk-ignore ban-drop-constraint
    drop constraint payments_amount_positive,
    add constraint payments_amount_positive check (
        amount > 0 and payment_method <> 'free' or amount = 0 and payment_method = 'free'
    ) not valid;
