-- finds: The database is not encoded in UTF8, so it cannot hold every name and title.
-- advice: An encoding cannot be changed in place: dump the database, create one with `encoding 'UTF8' template
-- template0`, and restore the dump there.

select format('database %s: %s', datname, pg_encoding_to_char(encoding))
from pg_database where datname = current_database() and pg_encoding_to_char(encoding) <> 'UTF8';
