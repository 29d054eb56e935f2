-- finds: The Django service made this database, but a table is missing under its name.
-- advice: Rename the table that holds these rows. Without it the migration would begin with an empty one.
-- query: table_missing

select name, like_name
from (values ('users', '%\_user'), ('payments', '%\_payment'), ('django_content_type', '')) e (name, like_name)
where exists (select from pg_class where relname = 'django_migrations' and relkind = 'r');
