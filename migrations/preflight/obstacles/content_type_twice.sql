-- finds: A content type exists twice.
-- advice: This moves the payments to the first of them and renames the others, which other tables may still name.

select format('%s.%s: %s', app_label, model, string_agg(id::text, ', ' order by id))
from django_content_type group by app_label, model having count(*) > 1 order by 1;

-- remedy:
update payments p
set content_type_id = f.first
from django_content_type c
join (select app_label, model, min(id) as first from django_content_type group by 1, 2 having count(*) > 1) f
    using (app_label, model)
where c.id = p.content_type_id and p.content_type_id <> f.first;
update django_content_type c
set model = left(c.model, 80) || '-' || c.id
from django_content_type f
where (f.app_label, f.model) = (c.app_label, c.model) and f.id < c.id;
