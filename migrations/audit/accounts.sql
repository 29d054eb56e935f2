-- check: second_account
-- advice: Decide which of these users remains, and rename or delete the other. Then create the missing unique index
-- again.
select string_agg(id::text, '+' order by id) from users group by sugang.email_key(email) having count(*) > 1
union all
select string_agg(id::text, '+' order by id) from users group by sugang.username_key(username) having count(*) > 1;
