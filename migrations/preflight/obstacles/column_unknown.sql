-- finds: A column that this service does not know must be filled or unique, and the database cannot fill it: no row, or
-- no second row, could be inserted.
-- advice: Give the column a default that suits what it holds. A unique one is null in the rows of this service.
-- query: column_unknown

select tab, col
from (values
    ('users', array['id', 'email', 'username', 'password', 'is_active', 'last_login', 'is_superuser', 'is_staff',
                    'first_name', 'last_name', 'date_joined']),
    ('payments', array['id', 'user_id', 'payment_type', 'content_type_id', 'object_id', 'amount', 'payment_method',
                       'external_transaction_id', 'status', 'refund_reason', 'paid_at', 'cancelled_at',
                       'search_vector']),
    ('django_content_type', array['id', 'app_label', 'model'])) c (tab, cols)
cross join unnest(cols) col;
