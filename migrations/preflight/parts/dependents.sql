-- Looks for what keeps PostgreSQL from changing the type of a column in `public`. The statement that removes it comes
-- with its definition as a comment. Checks and other parts read this as {dependents}.

with recursive direct as (
    select c.oid as rel, c.relname::text as tab, a.attname::text as col, a.attnum as num, d.classid, d.objid
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_depend d
        on d.refclassid = 'pg_class'::regclass and (d.refobjid, d.refobjsubid) = (c.oid, a.attnum::integer)
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
), views as (
    select n.tab, n.col, r.ev_class as oid
    from direct n join pg_rewrite r on r.oid = n.objid and r.rulename = '_RETURN'
    where n.classid = 'pg_rewrite'::regclass
    union
    -- To drop a view drops those that read it.
    select v.tab, v.col, r.ev_class
    from views v
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = v.oid
        and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite r on r.oid = d.objid and r.rulename = '_RETURN'
), dependents (tab, col, finding, removal, definition) as (
    select v.tab, v.col, format('%s %s', k.word, c.oid::regclass),
           format('drop %s if exists %s cascade;', k.word, c.oid::regclass),
           format(E'create %s %s as\n%s', k.word, c.oid::regclass, pg_get_viewdef(c.oid))
    from views v
    join pg_class c on c.oid = v.oid
    cross join lateral (select case c.relkind when 'm' then 'materialized view' else 'view' end as word) k
    union all
    select n.tab, n.col, format('rule %I on %s', r.rulename, r.ev_class::regclass),
           format('drop rule if exists %I on %s;', r.rulename, r.ev_class::regclass), pg_get_ruledef(r.oid)
    -- One on the table itself is an obstacle of its own.
    from direct n join pg_rewrite r on r.oid = n.objid and r.rulename <> '_RETURN' and r.ev_class <> n.rel
    where n.classid = 'pg_rewrite'::regclass
    union all
    select n.tab, n.col, format('trigger %I on %s', t.tgname, t.tgrelid::regclass),
           format('drop trigger if exists %I on %s;', t.tgname, t.tgrelid::regclass), pg_get_triggerdef(t.oid) || ';'
    from direct n join pg_trigger t on t.oid = n.objid and not t.tgisinternal
    where n.classid = 'pg_trigger'::regclass
    union all
    select n.tab, n.col, format('generated column %I.%I', n.tab, a.attname),
           -- Without its expression, nothing fills it.
           format('alter table %I alter column %I drop expression if exists, alter column %I drop not null;', n.tab,
                  a.attname, a.attname),
           format('%I.%I generated always as (%s) stored', n.tab, a.attname, pg_get_expr(f.adbin, f.adrelid))
    from direct n
    join pg_attrdef f on f.oid = n.objid and f.adrelid = n.rel and f.adnum <> n.num
    join pg_attribute a on (a.attrelid, a.attnum) = (f.adrelid, f.adnum)
    where n.classid = 'pg_attrdef'::regclass
    union all
    select n.tab, n.col, format('policy %I on %s', p.polname, p.polrelid::regclass),
           format('drop policy if exists %I on %s;', p.polname, p.polrelid::regclass),
           concat(format('create policy %I on %s as %s for %s to %s', p.polname, p.polrelid::regclass,
                         case when p.polpermissive then 'permissive' else 'restrictive' end,
                         case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                             when 'd' then 'delete' else 'all' end,
                         (select string_agg(case when role = 0 then 'public' else quote_ident(pg_get_userbyid(role))
                                            end, ', ') from unnest(p.polroles) r (role))),
                  ' using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                  ' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ';')
    from direct n join pg_policy p on p.oid = n.objid
    where n.classid = 'pg_policy'::regclass
    union all
    select n.tab, n.col, format('publication %I', p.pubname),
           format('do $$ begin alter publication %I drop table %I; exception when undefined_object then null; end $$;',
                  p.pubname, n.tab),
           concat(format('alter publication %I add table %I', p.pubname, n.tab),
                  (select ' (' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')'
                   from pg_attribute a where a.attrelid = r.prrelid and a.attnum = any(r.prattrs)),
                  ' where (' || pg_get_expr(r.prqual, r.prrelid) || ')', ';')
    from direct n
    join pg_publication_rel r on r.oid = n.objid
    join pg_publication p on p.oid = r.prpubid
    where n.classid = 'pg_publication_rel'::regclass
    union all
    select n.tab, n.col, format('routine %s', p.oid::regprocedure),
           format('drop routine if exists %s cascade;', p.oid::regprocedure), pg_get_functiondef(p.oid)
    from direct n join pg_proc p on p.oid = n.objid
    where n.classid = 'pg_proc'::regclass
)
select distinct tab, col, finding,
                concat(removal, E'\n-- It was:\n-- ', replace(rtrim(definition, E'\n'), E'\n', E'\n-- ')) as remedy
from dependents;
