-- Looks for rules on the tables that the rows name, for insertions, updates and, where the row says so, deletions.

with tables (tab, is_deleted_from) as ({rows})
select format('rule %I on %s', r.rulename, c.oid::regclass) as finding,
       format(E'drop rule %I on %s;\n-- It was:\n-- %s', r.rulename, c.oid::regclass,
              replace(pg_get_ruledef(r.oid), E'\n', E'\n-- ')) as remedy
from tables t
join pg_class c on c.oid = to_regclass('public.' || t.tab) and c.relkind in ('r', 'p')
join pg_rewrite r on r.ev_class = c.oid and (r.ev_type in ('2', '3') or r.ev_type = '4' and t.is_deleted_from)
order by 1;
