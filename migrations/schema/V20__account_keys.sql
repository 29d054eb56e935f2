-- Accounts are unique by what people see, not by bytes. The expressions are those of sugang.email_key and
-- sugang.username_key: independent of the collation, so that every database and every program agrees.

do $$
begin
    create unique index users_email_key_unique on users ((
        translate(normalize(email, nfc), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')));
exception when unique_violation then
    raise exception 'two users have the same e-mail address but for upper and lower case or composed characters'
        using hint = 'List them: select lower(normalize(email, nfc)), array_agg(id) from users group by 1 having count(*) > 1;';
end $$;

do $$
begin
    create unique index users_username_key_unique on users ((normalize(username, nfkc)));
exception when unique_violation then
    raise exception 'two users have usernames that look the same'
        using hint = 'List them: select normalize(username, nfkc), array_agg(id) from users group by 1 having count(*) > 1;';
end $$;

-- It depends on the collation: with some, the letter U+0130 is an i.
-- squawk-ignore require-concurrent-index-deletion
drop index users_email_unique_ci;
