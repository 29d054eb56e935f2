-- finds: Users have the same name but for the form of its letters.
-- advice: This keeps the name for the active account that logged in last, and adds the id to the others.

with keys as (
    -- Normalizing is slow, and ASCII is normal. Numbers are grouped faster than texts.
    select id, hashtextextended(case when octet_length(username) = length(username) then username
                                     else normalize(username, nfkc) end, 0) as hash
    from users where username is not null
), suspects as (
    select hash from keys group by hash having count(*) > 1
)
select format('%s: users %s', min(normalize(u.username, nfkc)), string_agg(u.id::text, ', ' order by u.id))
from suspects join keys using (hash) join users u using (id)
group by normalize(u.username, nfkc) having count(*) > 1 order by min(u.id);

-- remedy:
update users u
set username = left(normalize(u.username, nfkc), 125) || '-' || u.id
from (select id, row_number() over (partition by normalize(username, nfkc)
                                    order by is_active desc, last_login desc nulls last, id) as n from users) q
where q.id = u.id and q.n > 1;
