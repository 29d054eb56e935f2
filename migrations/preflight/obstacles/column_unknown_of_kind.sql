-- finds: A column that this service does not know must be filled or unique, and the database cannot fill it: no row, or
-- no second row, could be inserted.
-- advice: Give the column a default that suits what it holds. A unique one is null in the rows of this service.
-- query: column_unknown

select tab, col
from (values
    ('{items}', array['id', 'title', 'description', 'price', 'start_at', 'end_at', 'created_at', 'updated_at',
                      'search_vector', 'registration_count']),
    ('{registrations}', array['id', 'user_id', '{item_id}', 'status', '{registered_at}', 'completed_at',
                              'cancelled_at'])) c (tab, cols)
cross join unnest(cols) col;
