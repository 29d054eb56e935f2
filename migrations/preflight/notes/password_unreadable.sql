-- finds: Users have a password hash that this service cannot read, or does not compute because it costs too much (the
-- bounds of api/src/auth/passwords/stored.rs). They cannot log in until the hash is replaced.

with stored as (
    -- chr(36) is the dollar sign.
    select password, string_to_array(password, chr(36)) as parts,
           split_part(ltrim(password, chr(36)), chr(36), 1) as hasher
    from users
), numbers as (
    select *, cardinality(parts) as n,
           substring(parts[2], '^\d{1,18}\Z')::numeric as second,
           substring(parts[4], '^\d{1,18}\Z')::numeric as fourth,
           substring(parts[5], '^\d{1,18}\Z')::numeric as fifth,
           regexp_match(parts[cardinality(parts) - 2], '^m=(\d{1,18}),t=(\d{1,18}),p=(\d{1,18})\Z')::numeric[] as argon2
    from stored
), judged as (
    -- Null: the hash is not whole.
    select password, hasher, case
        when hasher in ('pbkdf2_sha1', 'pbkdf2_sha256')
            then case when n = 4 and length(parts[4]) = case hasher when 'pbkdf2_sha1' then 28 else 44 end
                          then second > 2000000 end
        when hasher in ('bcrypt', 'bcrypt_sha256') then case when n = 5 and length(parts[5]) = 53 then fourth > 15 end
        when hasher = 'scrypt'
            then case when n = 6 and length(parts[6]) = 88
                          then second * fourth * fifth > 4194304 or 128 * fourth * (second + fifth) > 134217728 end
        when hasher = 'md5' then case when n = 3 and length(parts[3]) = 32 then false end
        when hasher in ('argon2', 'argon2d', 'argon2i', 'argon2id')
            then case when n in (5, 6) and length(parts[n - 1]) >= 11 and length(parts[n]) >= 14
                          then argon2[1] > 131072 or argon2[2] > 32 or argon2[3] > 16 end
    end as is_too_expensive
    from numbers
), unreadable as (
    select case when password = '' then '(empty)'
                when password like '!%' then '(no password)'
                when strpos(password, chr(36)) = 0 then '(not a hash)'
                when hasher not in ('argon2', 'argon2d', 'argon2i', 'argon2id', 'bcrypt', 'bcrypt_sha256', 'md5',
                                    'pbkdf2_sha1', 'pbkdf2_sha256', 'scrypt') then hasher
                when is_too_expensive then hasher || ', too expensive'
                else hasher || ', not whole' end as hasher
    from judged where password is not null and is_too_expensive is not false
)
select format('%s: %s users', hasher, count(*)) from unreadable
group by hasher order by count(*) desc, hasher collate "C";
