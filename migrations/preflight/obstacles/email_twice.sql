-- finds: Users have the same e-mail address but for upper and lower case or the form of its letters.
-- advice: This keeps the address for the active account that logged in last, and gives the others one that receives
-- nothing. Merge the accounts before, if their owner uses both.

with keys as (
    -- Normalizing is slow, and ASCII is normal. Numbers are grouped faster than texts.
    select id, hashtextextended(lower(case when octet_length(email) = length(email) then email
                                           else normalize(email, nfc) end), 0) as hash
    from users where email is not null
), suspects as (
    select hash from keys group by hash having count(*) > 1
)
select format('%s: users %s', min(lower(normalize(u.email, nfc))), string_agg(u.id::text, ', ' order by u.id))
from suspects join keys using (hash) join users u using (id)
group by lower(normalize(u.email, nfc)) having count(*) > 1 order by min(u.id);

-- remedy:
update users u
set email = 'second-' || u.id || '@invalid', is_active = false
from (select id, row_number() over (partition by lower(normalize(email, nfc))
                                    order by is_active desc, last_login desc nulls last, id) as n from users) q
where q.id = u.id and q.n > 1;
