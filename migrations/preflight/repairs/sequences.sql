-- finds: A sequence is behind the ids of its table: the next row would get an id that exists.
-- repair: Set to the largest id.
-- query: sequences

select 'users', max(id) from users
union all
select 'payments', max(id) from payments
union all
select 'django_content_type', max(id) from django_content_type;
