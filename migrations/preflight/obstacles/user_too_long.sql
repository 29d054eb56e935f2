-- finds: Users have an address and a name that are together too long for an index.
-- advice: This keeps the address, which a login needs, and cuts the name.

select format('user %s: %s bytes', id, bytes)
from (
    select id, 2 * octet_length(email) + octet_length(username) + octet_length(
            -- Normalizing is slow, and ASCII is normal.
            case when octet_length(username) = length(username) then username else normalize(username, nfkc) end
        ) as bytes
    from users
) u
where bytes > 2600 order by id;

-- remedy:
update users
set username = left(normalize(username, nfkc), 40) || '-' || id
where 2 * octet_length(email) + octet_length(username) + octet_length(normalize(username, nfkc)) > 2600;
