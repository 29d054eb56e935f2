-- finds: A table inherits from a table of this service, which therefore has its rows as well: its keys do not hold.
-- advice: This takes the rows of that table out of this service, and keeps them in that table.
-- query: child_table

values ('users'), ('payments'), ('django_content_type');
