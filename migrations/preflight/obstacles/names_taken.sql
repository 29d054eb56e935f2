-- finds: The database uses a name that this service needs for something of its own.
-- advice: Rename what has it. The Django service must then use the new name.

select format('%s has a column %I', a.attrelid::regclass, a.attname) as finding,
       format('alter table %s rename column %I to %I;', a.attrelid::regclass, a.attname, 'django_' || a.attname)
           as remedy
from pg_attribute a
where not a.attisdropped and (
    a.attrelid = to_regclass('public.payments') and (
        a.attname in ('target_title', 'registration_id', 'registration_time', 'title_vector')
            and to_regclass('sugang.audit_log') is null
        or a.attname = 'history_entries' and to_regclass('sugang.audit_seals') is null
        or a.attname in ('partly_refunded', 'refund_refused') and to_regclass('sugang.ledger') is null)
    or a.attrelid = to_regclass('public.users') and a.attname = 'token_epoch'
        and to_regclass('sugang.schema_objects') is null)
union all
select format('there is an index %s', c.oid::regclass),
       format('alter index %s rename to %I;', c.oid::regclass, 'django_' || c.relname)
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('i', 'I')
  and (c.relname in ('users_email_unique_ci', 'payments_one_active', 'payments_external_id', 'payments_user_newest')
       and to_regclass('sugang.audit_log') is null
       or c.relname in ('users_email_key_unique', 'users_username_key_unique')
       and to_regclass('sugang.schema_objects') is null
       or c.relname in ('payments_amount', 'payments_external_id_of_others', 'payments_of_item', 'users_email_prefix',
                        'users_username_prefix')
       and to_regclass('sugang.ledger_at') is null)
union all
-- A name of the Django service, for something else than there: the migration changes it or takes it for its own.
select format('the index %s is of %s by %s', c.oid::regclass, x.indrelid::regclass, m.amname),
       format('alter index %s rename to %I;', c.oid::regclass, 'other_' || c.relname)
from pg_index x
join pg_class c on c.oid = x.indexrelid
join pg_am m on m.oid = c.relam
where c.relnamespace = 'public'::regnamespace
  and c.relname in ('idx_payment_user_status', 'idx_payment_paid_at', 'idx_payment_status_date', 'idx_payment_search')
  and (x.indrelid <> to_regclass('public.payments')::oid
       or c.relname = 'idx_payment_search' and m.amname <> 'gin')
union all
select format('%s has a constraint %I', conrelid::regclass, conname),
       format('alter table %s rename constraint %I to %I;', conrelid::regclass, conname, 'django_' || conname)
from pg_constraint
where conrelid = to_regclass('public.payments')
  and (conname in ('payments_status_known', 'payments_amount_positive') and to_regclass('sugang.audit_log') is null
       or conname = 'payments_partly_refunded_known' and to_regclass('sugang.ledger') is null)
union all
select 'there is a schema sugang that is not of this service', 'alter schema sugang rename to sugang_before;'
where to_regclass('sugang.migrations') is null and to_regclass('sugang.audit_log') is null
  and exists (select from pg_class where relnamespace = to_regnamespace('sugang'))
order by 1;
