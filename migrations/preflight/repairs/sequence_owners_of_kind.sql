-- finds: A sequence that numbers ids is owned by no column, as Django before 3.0 left it behind a new BigAutoField.
-- repair: Owned by the id: PostgreSQL drops it with its table, and programs find it by its column.
-- query: sequence_owners

values ('{items}'), ('{registrations}');
