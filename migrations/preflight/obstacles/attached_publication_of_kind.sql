-- finds: A publication has a filter or a list of columns with which PostgreSQL refuses updates and deletions.
-- advice: This takes the table out of it, and keeps the definition as a comment. Before adding the table again, set
-- `replica identity full` for a filter, or name all columns of the primary key in the list.
-- query: attached_publication

values ('{items}'), ('{registrations}');
