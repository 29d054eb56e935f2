-- finds: A sequence is behind the ids of its table, so that the next row would get an id that exists, or ends before
-- the ids do.
-- repair: Set to the largest id, and to the range of the column.
-- query: sequences

select 'users', max(id) from users
union all
select 'payments', max(id) from payments
union all
select 'django_content_type', max(id) from django_content_type;
