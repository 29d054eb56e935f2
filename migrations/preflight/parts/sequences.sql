-- Compares the sequences of tables with the largest ids that the rows name, and with the ids that may follow.

with largest (tab, id) as ({rows}), numbered as (
    select l.tab, l.id, q.seq, coalesce(pg_sequence_last_value(q.seq), 0) as last, s.seqmax,
           a.atttypid = 'bigint'::regtype and s.seqmax < 9223372036854775807 and pg_has_role(c.relowner, 'USAGE')
               as is_short
    from largest l
    join pg_attribute a on a.attrelid = to_regclass('public.' || l.tab) and a.attname = 'id'
    cross join lateral (
        select d.objid::regclass as seq from pg_depend d
        where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
          and d.refobjid = a.attrelid and d.refobjsubid = a.attnum
          and exists (select from pg_class where oid = d.objid and relkind = 'S')
        union
        select d.refobjid::regclass from pg_attrdef f
        join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
            and d.refclassid = 'pg_class'::regclass
        where f.adrelid = a.attrelid and f.adnum = a.attnum
          and exists (select from pg_class where oid = d.refobjid and relkind = 'S')) q
    join pg_sequence s on s.seqrelid = q.seq::oid and s.seqincrement > 0
    join pg_class c on c.oid = s.seqrelid
)
select case when id > last then format('%s: at %s, the largest id is %s', seq, last, id)
            else format('%s ends at %s', seq, seqmax) end as finding,
       -- The lock keeps a row from being inserted between the two: the sequence would be set back.
       concat_ws(' ', format('lock table %I in share row exclusive mode;', tab),
                 case when is_short then format('alter sequence %s as bigint no maxvalue;', seq) end,
                 case when id > last then
                     format('select setval(%L, (select greatest(max(t.id), max(s.last_value)) from %I t, %s s));',
                            seq, tab, seq) end) as remedy
from numbered where id > last or is_short order by 1;
