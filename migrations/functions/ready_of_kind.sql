-- One kind: the rights that its functions need; see ready.sql.
create or replace function sugang.{kind}_rights() returns table (relation text, privilege text, columns text)
language sql stable as $$
    values ('{items}', 'select', 'id,title,description,price,start_at,end_at,created_at,search_vector,'
                                 'registration_count,capacity,seats_taken,hidden,held_count'),
           ('{items}', 'insert', 'title,description,price,capacity,start_at,end_at,hidden'),
           ('{items}', 'update', 'title,description,price,capacity,start_at,end_at,hidden,updated_at'),
           ('{items}', 'delete', null),
           ('sugang.{kind}_search', 'select', 'item_id,created_at,search_vector'),
           ('{registrations}', 'select', 'id,user_id,{item_id},status,{registered_at},completed_at,cancelled_at,'
                                         'history_entries'),
           ('{registrations}', 'insert', 'user_id,{item_id},status,{registered_at}'),
           ('{registrations}', 'update', 'status,{registered_at},completed_at,cancelled_at,history_entries')
$$;
