-- Compares the sequences of tables with the largest ids that the rows name.

with largest (tab, id) as ({rows}), behind as (
    select l.tab, l.id, s.seq, coalesce(pg_sequence_last_value(s.seq), 0) as last
    from largest l
    cross join lateral (
        select d.objid::regclass as seq from pg_depend d
        where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
          and d.refobjid = to_regclass('public.' || l.tab)
          and d.refobjsubid = (select attnum from pg_attribute where attrelid = d.refobjid and attname = 'id')
          and exists (select from pg_class where oid = d.objid and relkind = 'S')
        union
        select d.refobjid::regclass from pg_attrdef a
        join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid
            and d.refclassid = 'pg_class'::regclass
        where a.adrelid = to_regclass('public.' || l.tab)
          and a.adnum = (select attnum from pg_attribute where attrelid = a.adrelid and attname = 'id')
          and exists (select from pg_class where oid = d.refobjid and relkind = 'S')) s
)
select format('%s: at %s, the largest id is %s', seq, last, id) as finding,
       -- The lock keeps a row from being inserted between the two: the sequence would be set back.
       format('lock table %I in share row exclusive mode; '
              'select setval(%L, (select greatest(max(t.id), max(s.last_value)) from %I t, %s s));',
              tab, seq, tab, seq) as remedy
from behind where id > last order by 1;
