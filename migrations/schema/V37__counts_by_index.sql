-- Users by the beginnings of their address and name. These indexes count and order users without reading the table: an
-- index on an expression does so only if it has the columns of the expression too. They replace those of V30.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion
drop index users_email_prefix, users_username_prefix;
create index users_email_prefix on users (
    (translate(normalize(email, nfc), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')) text_pattern_ops,
    (normalize(username, nfkc)) text_pattern_ops
) include (id, email, username);
create index users_username_prefix on users ((normalize(username, nfkc)) text_pattern_ops) include (id, username);
