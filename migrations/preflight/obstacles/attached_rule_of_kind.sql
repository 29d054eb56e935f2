-- finds: A rule rewrites the statements on a table of this service. PostgreSQL then refuses `on conflict`, and a
-- request may write something else than it says.
-- advice: This drops the rule, and keeps its definition as a comment. A trigger can do the same, row by row.

select format('rule %I on %s', r.rulename, c.oid::regclass) as finding,
       format(E'drop rule %I on %s;\n-- It was:\n-- %s', r.rulename, c.oid::regclass,
              replace(pg_get_ruledef(r.oid), E'\n', E'\n-- ')) as remedy
from pg_rewrite r
join pg_class c on c.oid = r.ev_class
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
  and c.relname in ('{items}', '{registrations}')
  -- Operators delete items.
  and (r.ev_type in ('2', '3') or r.ev_type = '4' and c.relname = '{items}')
order by 1;
