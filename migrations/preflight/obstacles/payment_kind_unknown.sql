-- finds: Payments have a type that this service does not know.
-- advice: Where the content type says what was paid for, this follows it. It moves the others out of the table.

select
    format('payment_type %s: %s payments, such as %s', coalesce(quote_literal(payment_type), 'null'), count(*), min(id))
from payments where coalesce(payment_type, '') not in ({kinds}) group by payment_type order by 1;

-- remedy:
update payments p
set payment_type = c.model
from django_content_type c
where c.id = p.content_type_id and c.model in ({kinds}) and coalesce(p.payment_type, '') not in ({kinds});
create table if not exists payments_set_aside (like payments including defaults);
with moved as (
    delete from payments where coalesce(payment_type, '') not in ({kinds}) returning *
) insert into payments_set_aside select * from moved;
