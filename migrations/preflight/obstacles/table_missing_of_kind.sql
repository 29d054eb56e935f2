-- finds: The Django service has this kind, but a table of it is missing under its name.
-- advice: Rename the table that holds these rows. Without it the migration would begin with an empty one.
-- query: table_missing

select name, like_name
from (values ('{items}', '{items}\_{kind}'), ('{registrations}', '{items}\_{kind}registration')) e (name, like_name)
where exists (select from django_content_type where model = '{kind}');
