-- Looks for publications that refuse the updates of the tables that the rows name, as PostgreSQL does where a filter
-- reads a column outside of the replica identity, or a list of columns leaves out one of it.

with tables (tab) as ({rows}), identities as (
    select c.oid, t.tab, c.relreplident, coalesce(array_agg(a.attnum) filter (where a.attnum > 0), '{}') as nums
    from tables t
    join pg_class c on c.oid = to_regclass('public.' || t.tab) and c.relkind in ('r', 'p')
    left join pg_index x on x.indrelid = c.oid
        and case c.relreplident when 'd' then x.indisprimary when 'i' then x.indisreplident end
    left join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
        and (c.relreplident = 'f' or a.attnum = any(x.indkey))
    group by c.oid, t.tab, c.relreplident
), refusing as (
    select i.tab, format('publication %I', p.pubname) as finding
    from identities i
    join pg_publication_rel r on r.prrelid = i.oid
    join pg_publication p on p.oid = r.prpubid and (p.pubupdate or p.pubdelete)
    where exists (select from regexp_matches(r.prqual::text, ':varattno (\d+)', 'g') m
                  where not m[1]::smallint = any(i.nums))
       or r.prattrs is not null and (i.relreplident = 'f' or not r.prattrs::smallint[] @> i.nums)
)
select distinct format('%s of %s', d.finding, d.tab) as finding, d.remedy
from refusing r join ({dependents}) d using (tab, finding)
order by 1;
