-- finds: Payments name another content type than that of their kind.
-- advice: This sets the content type of the kind, as the payment's type has it.

select format('content type %s (%s.%s): %s payments, such as %s', p.content_type_id, min(c.app_label), min(c.model),
              count(*), min(p.id))
from payments p left join django_content_type c on c.id = p.content_type_id
where p.payment_type = '{kind}' and (c.app_label, c.model) is distinct from ('{items}', '{kind}')
group by p.content_type_id order by p.content_type_id;

-- remedy:
insert into django_content_type (app_label, model)
select '{items}', '{kind}' where not exists (
    select from django_content_type where app_label = '{items}' and model = '{kind}');
update payments
set content_type_id = (select min(id) from django_content_type where app_label = '{items}' and model = '{kind}')
where payment_type = '{kind}' and content_type_id is distinct from (
    select min(id) from django_content_type where app_label = '{items}' and model = '{kind}');
