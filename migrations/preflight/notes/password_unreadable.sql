-- finds: Users have a password hash that this service cannot read. They cannot log in until the hash is replaced.

with unreadable as (
    -- chr(36) is the dollar sign.
    select case when password = '' then '(empty)'
                when password like '!%' then '(no password)'
                when strpos(password, chr(36)) = 0 then '(not a hash)'
                else split_part(ltrim(password, chr(36)), chr(36), 1) end as hasher
    from users
    where split_part(ltrim(password, chr(36)), chr(36), 1) not in (
        'argon2', 'argon2d', 'argon2i', 'argon2id', 'bcrypt', 'bcrypt_sha256', 'md5', 'pbkdf2_sha1', 'pbkdf2_sha256',
        'scrypt')
)
select format('%s: %s users', hasher, count(*)) from unreadable
group by hasher order by count(*) desc, hasher;
