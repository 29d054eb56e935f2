-- finds: A table lacks a key: its ids are not given by the database, or a unique index is missing or invalid.
-- advice: If rows repeat, this fails and names them: correct them first.
-- query: without_key

values
    ('users', array['id'], 'primary key', null),
    ('users', array['username'], 'unique', null),
    ('payments', array['id'], 'primary key', null),
    ('django_content_type', array['id'], 'primary key', null),
    ('django_content_type', array['app_label', 'model'], 'unique', null);
