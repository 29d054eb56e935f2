-- Looks for columns that this service does not know and leaves to the database, which cannot fill them, or only once.
-- The rows name the columns that it knows.

with known (tab, col) as ({rows}), keys as (
    -- What a unique index reads, also by an expression.
    select x.indexrelid, x.indrelid, x.indpred is null as is_whole, n.attnum
    from pg_index x cross join unnest(x.indkey[0:x.indnkeyatts - 1]) n (attnum)
    where x.indisunique and n.attnum > 0
    union
    select x.indexrelid, x.indrelid, x.indpred is null, d.refobjsubid::smallint
    from pg_index x
    join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = x.indexrelid
        and d.refclassid = 'pg_class'::regclass and d.refobjid = x.indrelid
    where x.indisunique and d.refobjsubid > 0
), others as (
    select c.oid, c.relname::text as tab, a.attname::text as col, a.attnum, a.attnotnull, t.typcategory, f.adbin,
           exists(select from keys k where (k.indrelid, k.attnum) = (c.oid, a.attnum)) as is_unique
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef f on f.adrelid = c.oid and f.adnum = a.attnum
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
      and c.relname::text in (select tab from known)
      and (c.relname::text, a.attname::text) not in (select tab, col from known)
      and a.attidentity = '' and a.attgenerated = ''
      -- One that is missing may have this name. These, requests do without.
      and not exists (select from known k where k.tab = c.relname::text
              and k.col not in ('first_name', 'last_name', 'date_joined') and not exists (
              select from pg_attribute o
              where o.attrelid = c.oid and o.attname::text = k.col and not o.attisdropped))
), constants as (
    -- Nothing in such a default gives another value the next time.
    select oid, tab, col, attnum, attnotnull from others
    where adbin is not null and adbin::text !~ '\{(SQLVALUEFUNCTION|NEXTVALUEEXPR) ' and not exists (
        select from regexp_matches(adbin::text, ':(?:op)?funcid (\d+)', 'g') m
        join pg_proc p on p.oid = m[1]::oid where p.provolatile <> 'i')
)
select format('%I.%I', tab, col) as finding,
       format('alter table %I alter column %I %s;', tab, col,
              case when is_unique then 'drop not null'
                  else case typcategory when 'S' then 'set default ''''' when 'N' then 'set default 0'
                      when 'B' then 'set default false' when 'D' then 'set default now()' else 'drop not null' end
                  end) as remedy
from others where attnotnull and adbin is null
  -- A trigger of the Django service may fill it, before each row that is inserted; the rehearsal shows whether it does.
  and not exists (select from pg_trigger g join pg_proc p on p.oid = g.tgfoid
                  where g.tgrelid = others.oid and not g.tgisinternal and g.tgenabled in ('O', 'A')
                    and g.tgtype & 7 = 7 and g.tgname not like 'sugang%'
                    -- That of Django's search fills its vector alone.
                    and p.prosrc !~ '(search_vector|tsvector_update_trigger)')
union all
select format('%I.%I is unique, and its default is the same for all rows', tab, col),
       format('alter table %I alter column %I drop default, alter column %I drop not null;', tab, col, col)
from constants c
where exists (
    select from keys k
    where (k.indrelid, k.attnum) = (c.oid, c.attnum) and k.is_whole and not exists (
        select from keys o where o.indexrelid = k.indexrelid
            and (o.indrelid, o.attnum) not in (select oid, attnum from constants)))
order by 1;
