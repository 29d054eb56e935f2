-- finds: The locale of the database, such as `C`, knows upper and lower case of ASCII letters alone. A search for `é`
-- does not find `É`.
-- advice: None is needed where titles have no such letters: Hangul has no case, and e-mail addresses and usernames are
-- compared alike whatever the locale is. A locale cannot be changed in place: dump the database, create one with
-- `template template0 encoding 'UTF8' locale 'C.UTF-8'` (or with an ICU locale), and restore the dump there. That is
-- best done before the first migration: what was prepared for searches under `C` stays as it is, and `audit` names the
-- items to write again.

select format('database %s: lower(%L) is %L', current_database(), capital, lower(capital))
from (values (U&'\00C9', U&'\00E9')) letter (capital, small) where lower(capital) <> small;
