-- finds: A column has whole rows of a table that gets new columns. PostgreSQL then refuses to fill these.
-- advice: This keeps the rows as JSON.
-- query: column_of_rows

values ('users', 'is_staff'), ('payments', 'refund_refused');
