-- Whether requests can be served: the API's functions are there, and the role may do what they do.

-- Every right that the functions need on tables that exist once. The rights on the tables of a kind stand in
-- ready_of_kind.sql. A row: the table, the privilege, the columns; a table without columns for `delete`.
create or replace function sugang.rights() returns table (relation text, privilege text, columns text)
language plpgsql stable as $$
declare
    known record;
begin
    return query values
        ('users', 'select', 'id,email,username,password,is_active,is_staff,is_superuser,last_login,'
                            'token_epoch'),
        ('users', 'insert', 'email,username,password'),
        ('users', 'update', 'password,last_login,token_epoch,is_active,is_staff,is_superuser'),
        ('payments', 'select', 'id,user_id,payment_type,content_type_id,object_id,amount,payment_method,'
                               'external_transaction_id,status,refund_reason,paid_at,cancelled_at,search_vector,'
                               'title_vector,target_title,registration_id,registration_time,history_entries,'
                               'partly_refunded,refund_refused'),
        ('payments', 'insert', 'id,cancelled_at,refund_reason,user_id,payment_type,content_type_id,object_id,'
                               'amount,payment_method,'
                               'external_transaction_id,status,paid_at,search_vector,title_vector,target_title,'
                               'registration_id,registration_time'),
        ('payments', 'update', 'status,refund_reason,cancelled_at,registration_id,registration_time,history_entries'),
        ('sugang.refunds', 'select', 'id,payment_id,amount,status,ends_payment,keeps_registration,reason,requested_by,'
                                     'requested_at,reference,cancels_payment,idempotency_key,gateway_id,due_at,tries,'
                                     'code,account,request_key,request_fingerprint'),
        ('sugang.ledger', 'select', 'at,source,source_id,payment_id,debit,credit,amount'),
        ('sugang.audit_log', 'select', 'id,at,subject,subject_id,item_id,seats'),
        ('sugang.refunds', 'insert', 'payment_id,amount,status,reason,requested_by,cancels_payment,keeps_registration,'
                                     'account,request_key,request_fingerprint,idempotency_key,tries,due_at,gateway_id'),
        ('sugang.refunds', 'update', 'keeps_registration,status,reference,gateway_id,due_at,tries,code,account,'
                                     'idempotency_key,request_key,request_fingerprint,requested_by,requested_at'),
        ('sugang.orders', 'select', 'id,user_id,kind,item_id,title,price,payment_method,gateway,status,is_live,'
                                    'created_at,expires_at,ended_at,payment_id,registration_id,history_entries,'
                                    'window_keys,needs_opening'),
        ('sugang.orders', 'insert', 'user_id,kind,item_id,title,price,payment_method,gateway,created_at,expires_at,'
                                    'window_keys,needs_opening'),
        ('sugang.orders', 'update', 'title,price,payment_method,gateway,status,expires_at,payment_id,registration_id,'
                                    'window_keys,needs_opening'),
        ('sugang.payment_attempts', 'select', 'id,order_id,gateway,status,is_live,reference,idempotency_key,'
                                              'gateway_key,amount,currency,captured,payment_id,tries,lease_until,due_at,secret,'
                                              'code,facts,created_at,sent_at,ended_at,opened,window_key,'
                                              'reconcile_at'),
        ('sugang.payment_attempts', 'insert', 'order_id,gateway,reference,amount,status,captured,payment_id'),
        ('sugang.payment_attempts', 'update', 'status,idempotency_key,gateway_key,captured,payment_id,tries,'
                                              'lease_until,due_at,secret,code,facts,sent_at,ended_at,opened,'
                                              'window_key,reconcile_at'),
        ('sugang.gateway_events', 'select', 'id,gateway,event_key,status,attempt_id,body,is_signed,tries,claimed_at,'
                                            'lease_until,received_at,outcome'),
        ('sugang.gateway_events', 'insert', 'gateway,event_key,status,attempt_id,body,is_signed,lease_until'),
        ('sugang.gateway_events', 'update', 'status,tries,claimed_at,lease_until,outcome'),
        ('sugang.gateway_events', 'delete', null),
        ('sugang.kinds', 'select', 'kind,content_type_id'),
        ('django_content_type', 'select', 'id,app_label,model'),
        ('sugang.migrations', 'select', 'script'),
        ('sugang.schema_objects', 'select', 'kind,relation,name'),
        ('sugang.idempotency_keys', 'select', 'user_id,key,fingerprint,outcome,body,created_at'),
        ('sugang.idempotency_keys', 'insert', 'user_id,key,fingerprint,outcome,body,created_at'),
        ('sugang.idempotency_keys', 'update', 'fingerprint,outcome,body,created_at'),
        ('sugang.idempotency_keys', 'delete', null),
        ('sugang.revoked_tokens', 'select', 'name,user_id,expires_at,used_at,family,successor,successor_issued_at,'
                                            'successor_expires_at'),
        ('sugang.revoked_tokens', 'insert', 'name,user_id,expires_at,used_at,family,successor,successor_issued_at,'
                                            'successor_expires_at'),
        ('sugang.revoked_tokens', 'update', 'expires_at'),
        ('sugang.revoked_tokens', 'delete', null),
        ('sugang.attempts', 'select', 'key,began_at,in_window,in_previous,expires_at'),
        ('sugang.attempts', 'insert', 'key,began_at,in_window,in_previous,expires_at'),
        ('sugang.attempts', 'update', 'began_at,in_window,in_previous,expires_at'),
        ('sugang.attempts', 'delete', null),
        ('sugang.bucket_counts', 'select', 'kind,edge,level,bucket,n'),
        ('sugang.bucket_changes', 'select', 'kind,edge,bucket,n'),
        ('sugang.clock', 'select', 'seen_at,jumped_at,jumped_by'),
        ('sugang.clock', 'update', 'seen_at,jumped_at,jumped_by'),
        ('sugang.available_counts', 'select', 'kind,n,valid_from,valid_until'),
        ('sugang.available_counts', 'update', 'n,valid_from,valid_until'),
        ('sugang.search_counts', 'select', 'kind,available,query,n,as_of,snapshot,counted_at,table_oid,words,'
                                            'next_created_at,next_item_id,searched_at'),
        ('sugang.search_counts', 'insert', 'kind,available,query,n,as_of,snapshot,counted_at,table_oid,words,'
                                            'next_created_at,next_item_id,searched_at'),
        ('sugang.search_counts', 'update', 'n,as_of,snapshot,counted_at,table_oid,words,next_created_at,'
                                            'next_item_id,searched_at'),
        ('sugang.search_counts', 'delete', null),
        ('sugang.search_changes', 'select', 'kind,xid,sign,search_vector,start_at,end_at,created_at,item_id'),
        ('sugang.search_changes', 'insert', 'kind,xid,sign'),
        ('sugang.search_changes', 'delete', null),
        ('sugang.search_bitmap_sets', 'select', 'kind,number,begun_at,words,snapshot,as_of,next_item_id,table_oid'),
        ('sugang.search_bitmap_sets', 'insert', 'kind,number,begun_at,words,snapshot,as_of,next_item_id,table_oid'),
        ('sugang.search_bitmap_sets', 'update', 'words,snapshot,as_of,next_item_id'),
        ('sugang.search_bitmap_sets', 'delete', null),
        ('sugang.search_bitmaps', 'select', 'kind,number,place,block,bits'),
        ('sugang.search_bitmaps', 'insert', 'kind,number,place,block,bits'),
        ('sugang.search_bitmaps', 'update', 'bits'),
        ('sugang.search_bitmaps', 'delete', null),
        ('sugang.webhooks', 'select', 'id,url,types,status,paused_by,secret,old_secret,old_secret_until,'
                                      'failing_since,first_change,created_at,created_by'),
        ('sugang.webhooks', 'insert', 'url,types,secret,created_by'),
        ('sugang.webhooks', 'update', 'url,types,status,paused_by,secret,old_secret,old_secret_until,'
                                      'failing_since,first_change'),
        ('sugang.webhooks', 'delete', null),
        ('sugang.outbox', 'select', 'id,key,type,subject,subject_id,data,at,change_id'),
        ('sugang.outbox', 'insert', 'type,subject,subject_id,data,change_id'),
        ('sugang.outbox', 'delete', null),
        ('sugang.deliveries', 'select', 'id,webhook_id,event_id,subject,subject_id,status,tries,next_at,'
                                        'lease_until,last_at,last_status,last_error,ended_at'),
        ('sugang.deliveries', 'insert', 'webhook_id,event_id,subject,subject_id,tries,next_at,lease_until,last_at'),
        ('sugang.deliveries', 'update', 'status,tries,next_at,lease_until,last_at,last_status,last_error,ended_at'),
        ('sugang.deliveries', 'delete', null),
        ('sugang.openings', 'select', 'known_until'),
        ('sugang.openings', 'update', 'known_until');
    for known in select kind from sugang.kinds loop
        return query execute 'select * from sugang.' || quote_ident(known.kind || '_rights') || '()';
    end loop;
end $$;

-- What the schema consists of: functions, tables and columns of ours, and the guards (triggers, constraints, unique
-- indexes) of every table that the functions use. A disabled trigger and an invalid index guard nothing.
create or replace function sugang.current_objects() returns setof sugang.schema_objects
language sql stable set search_path = public as $$
    with guarded as (
        select oid from pg_class where relnamespace = 'sugang'::regnamespace and relkind = 'r'
        union
        select to_regclass(relation) from sugang.rights()
    )
    select 'function', '', oid::regprocedure::text from pg_proc
    where pronamespace = 'sugang'::regnamespace
      and not exists (select from pg_depend
                      where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')
    union all
    select 'table', '', oid::regclass::text from pg_class
    where relnamespace = 'sugang'::regnamespace and relkind = 'r'
    union all
    select 'column', oid::regclass::text, attname from pg_class join pg_attribute on attrelid = oid
    where relnamespace = 'sugang'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
    union all
    select 'trigger', tgrelid::regclass::text, tgname from pg_trigger join pg_proc on pg_proc.oid = tgfoid
    where pronamespace = 'sugang'::regnamespace and not tgisinternal and tgenabled <> 'D'
    union all
    select 'constraint', conrelid::regclass::text, conname from pg_constraint
    where conrelid in (select oid from guarded) and contype in ('c', 'p', 'u', 'x') and convalidated
    union all
    select 'index', indrelid::regclass::text, indexrelid::regclass::text from pg_index
    where indrelid in (select oid from guarded) and indisunique and indisvalid
      and not exists (select from pg_constraint where conindid = indexrelid)
$$;

-- Writes down what the schema consists of. Each migration calls it at its end.
create or replace function sugang.record_objects() returns void language sql as $$
    delete from sugang.schema_objects;
    insert into sugang.schema_objects select * from sugang.current_objects();
    delete from sugang.schema_definitions;
    insert into sugang.schema_definitions select distinct on (kind, relation, name) * from sugang.current_definitions();
    insert into sugang.schema_definitions values ('server', '', 'major version', sugang.server_major());
$$;

-- Whether row security lets this role do with every row of a table what a privilege allows: a policy admits them all,
-- for this command or for each, and no other one restricts it. A policy without a condition admits no row.
create or replace function sugang.every_row_is_shown(p_table regclass, p_privilege text) returns boolean
language sql stable as $$
    select coalesce(bool_or(polpermissive and 'true' = all (conditions)), false)
           and not coalesce(bool_or(not polpermissive and 'true' <> any (conditions)), false)
    from pg_policy
    cross join unnest(polroles) role
    cross join lateral (select pg_get_expr(polqual, polrelid) as old_row) using_clause
    cross join lateral (select coalesce(pg_get_expr(polwithcheck, polrelid), old_row) as new_row) check_clause
    cross join lateral (select case p_privilege when 'insert' then array[new_row]
                                                when 'update' then array[old_row, new_row]
                                                else array[old_row] end as conditions) needed
    where polrelid = p_table
      and polcmd::text in ('*', case p_privilege when 'select' then 'r' when 'insert' then 'a'
                                                 when 'update' then 'w' when 'delete' then 'd' end)
      -- 0 stands for every role.
      and (role = 0 or pg_has_role(role, 'usage'))
$$;

-- What is missing of all that, with the reason by which the API names its kind. Requests fail of it, unless it is a
-- guard. p_functions: the functions that the API calls, as `name(type,type)`, separated by semicolons.
create or replace function sugang.missing(p_functions text) returns table (reason text, what text, is_guard boolean)
language sql stable set search_path = public set jit = off as $$
    select 'function_missing', name, false
    from unnest(string_to_array(p_functions, ';')) name where to_regprocedure('sugang.' || name) is null
    union all
    select o.kind || '_missing',
           case when is_guard then concat_ws(' ', o.kind, o.name, 'on', o.relation)
                else concat_ws('.', nullif(o.relation, ''), o.name) end,
           is_guard
    from sugang.schema_objects o
    left join sugang.current_objects() c using (kind, relation, name)
    cross join lateral (select o.kind not in ('function', 'table', 'column')) guards (is_guard)
    where c.name is null
    union all
    select 'permission_missing', 'execute ' || name, false from sugang.schema_objects
    join pg_proc on pg_proc.oid = to_regprocedure(name)
    where kind = 'function' and prorettype <> 'trigger'::regtype and not has_function_privilege(pg_proc.oid, 'execute')
    union all
    select reason, concat_ws(' ', privilege, concat_ws('.', relation, attribute)), false
    from sugang.rights()
    left join unnest(string_to_array(columns, ',')) attribute on true
    cross join lateral (select case
        when to_regclass(relation) is null then 'table_missing'
        when attribute is null
            then case when not has_table_privilege(to_regclass(relation), privilege) then 'permission_missing' end
        when not exists (select from pg_attribute where attrelid = to_regclass(relation) and attname = attribute
                         and not attisdropped) then 'column_missing'
        when not has_column_privilege(to_regclass(relation), attribute, privilege) then 'permission_missing'
    end) found (reason)
    where reason is not null
    union all
    select 'permission_missing', 'usage ' || sequence, false from sugang.needed_sequences() sequence
    where not has_sequence_privilege(sequence, 'usage')
    union all
    select 'column_required', concat_ws('.', relation, attribute), true from sugang.required_columns()
    union all
    -- Statements do not fail of row security: users are not found and lists are empty.
    select distinct 'permission_missing',
           format('rows of %s (alter table %1$s disable row level security, or a policy with `true` for them all)',
                  relation), false
    from (select distinct to_regclass(r.relation) as relation, r.privilege from sugang.rights() r) needed
    where row_security_active(relation) and not sugang.every_row_is_shown(relation, privilege)
$$;

-- Proves what requests need. 'not_ready' has the reason, and for the log what is missing; 'ok' has what is degraded:
-- whether the database refuses writes, and the guards that are missing. p_schema: the number of the newest schema file
-- that the API was made with.
create or replace function sugang.ready(p_function text, p_functions text, p_schema bigint)
returns sugang.function_row language plpgsql stable as $$
declare
    a sugang.function_row;
    found_reason text;
    found_missing text;
    guards_missing text;
    columns_required text;
begin
    if p_function is distinct from 'ready' then perform sugang.misrouted(p_function, 'ready'); end if;
    -- Each of the files: of two versions that are no line, the one with the highest number may lack others.
    if (select count(distinct number) from sugang.migrations, substring(script from E'^V(\\d+)__') match,
               cast(match as bigint) number
        where number between 1 and p_schema) < p_schema then
        a.outcome := 'not_ready';
        a.body := json_build_object('reason', 'schema_outdated', 'missing', 'migrations')::text;
        return a;
    end if;
    -- The first of these reasons: a missing table has no columns either, and no functions that take a row of it.
    select (array_agg(reason order by place) filter (where not is_guard))[1],
           string_agg(what, ', ' order by place) filter (where not is_guard and place <= 10),
           string_agg(what, ', ' order by place) filter (where is_guard and reason <> 'column_required'),
           string_agg(what, ', ' order by place) filter (where reason = 'column_required')
        into found_reason, found_missing, guards_missing, columns_required
        from (select *, row_number() over (order by is_guard, array_position(
                            array['table_missing', 'function_missing', 'column_missing'], reason), what) as place
              from sugang.missing(p_functions)) m;
    if found_reason is not null then
        a.outcome := 'not_ready';
        a.body := json_build_object('reason', found_reason, 'missing', found_missing)::text;
        return a;
    end if;
    a.outcome := 'ok';
    a.body := json_build_object(
        'read_only', current_setting('transaction_read_only')::boolean, 'guards_missing', guards_missing,
        'columns_required', columns_required)::text;
    return a;
end $$;
