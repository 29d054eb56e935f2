-- finds: A table lacks a key: its ids are not given by the database, or a unique index is missing or invalid.
-- advice: If rows repeat, this fails and names them: correct them first.
-- query: without_key

values
    ('{items}', array['id'], 'primary key', null),
    ('{registrations}', array['id'], 'primary key', null),
    ('{registrations}', array['user_id', '{item_id}'], 'unique', 'idx_{registration_index}_unique');
