-- Checks in fewer words: PostgreSQL parses them in each statement that writes. Not valid: rows of the Django service
-- are not checked until they change.
alter table payments
    -- squawk-ignore ban-drop-constraint
    drop constraint payments_amount_positive,
    -- An item whose price is 0 is taken with a payment of 0.00 by the method 'free', and only such a payment has
    -- either.
    add constraint payments_amount_positive check (sign(amount) = (payment_method <> 'free')::integer) not valid,
    -- squawk-ignore ban-drop-constraint
    drop constraint payments_status_known,
    add constraint payments_status_known check (status ~ '^(paid|cancelled|refunded)$') not valid;
