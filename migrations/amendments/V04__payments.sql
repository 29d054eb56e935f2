-- until: V14__free_payments
-- A free item has payments of 0.00. V06 writes each payment again, and the constraint would refuse these before V14
-- corrects it. So would the repair that corrects their method, on a database that an earlier version has left before
-- V14.
alter table payments
    drop constraint payments_amount_positive,
    add constraint payments_amount_positive check (amount >= 0) not valid;
