-- check: idempotency_key_without_user
-- advice: Delete the key, and create the foreign key of sugang.idempotency_keys again.
select user_id || ' ' || key from sugang.idempotency_keys k
where not exists (select from users u where u.id = k.user_id);

-- A response that is kept for a repetition names what its request has written: the history has both at that moment.
-- check: kept_response
-- advice: A repetition of this request would get the wrong response. Delete the key.
with kept as (
    select k.user_id, k.key, k.created_at,
           substring(k.body from '"payment_id" ?: ?(\d{1,18})')::bigint as payment_id,
           substring(k.body from '"registration_id" ?: ?(\d{1,18})')::bigint as registration_id,
           substring(k.body from '^{"id" ?: ?(\d{1,18})')::bigint as subject_id,
           substring(k.body from '^{"registration" ?: ?{"id" ?: ?(\d{1,18})')::bigint as managed_id,
           substring(k.body from '^{"count" ?: ?\d+, ?"ids" ?: ?(\[[\d,]+\])')::jsonb as created_ids,
           substring(k.body from '"version" ?: ?"(\w+)"') as version,
           case when k.body ~ '"item_type" ?:'
                then substring(k.body from '"id" ?: ?(\d{1,18})')::bigint end as order_id,
           k.body is null as is_deletion,
           substring(k.body from '"refund_id" ?: ?(\d{1,18})')::bigint as refund_id,
           substring(k.body from '"cancelled_at" ?: ?"([^"]+)"') as cancelled_at,
           substring(k.body from '"amount" ?: ?"(\d{1,12}(?:\.\d+)?)"')::numeric as amount
    from sugang.idempotency_keys k where k.outcome in ('ok', 'accepted', 'held_before')
), written as (
    -- What a request wrote within the minute before its response was kept.
    select k.key, h.* from kept k
    join sugang.audit_log h
        on (h.actor_id, h.user_id) = (k.user_id, k.user_id)
        and h.at between k.created_at - interval '1 minute' and k.created_at
)
select k.user_id || ' ' || k.key from kept k
where case
    -- Items of a file, or copies of one.
    when k.created_ids is not null then exists (
        select from jsonb_array_elements_text(k.created_ids) created (item_id)
        where not exists (
            select from sugang.change_log c
            where c.subject in (select kind from sugang.kinds)
              and (c.subject_id, c.action, c.actor_id) = (item_id::bigint, 'created', k.user_id)
              and c.at between k.created_at - interval '1 minute' and k.created_at))
    -- An order of the user, or one that an operator works on.
    when k.order_id is not null then not exists (
        select from sugang.audit_log h
        where (h.subject, h.subject_id) = ('order', k.order_id) and h.at <= k.created_at)
    -- An operator's change of a registration.
    when k.managed_id is not null then not exists (
        select from sugang.audit_log h join sugang.kinds i on i.kind = h.subject
        where (h.subject_id, h.actor_id) = (k.managed_id, k.user_id)
          and h.at between k.created_at - interval '1 minute' and k.created_at)
    -- An operator's: the history has the change. What changed nothing names a version that is there, or was, or a user.
    when k.payment_id is null then not exists (
        select from sugang.change_log c
        where c.actor_id = k.user_id and c.at between k.created_at - interval '1 minute' and k.created_at
          and (c.subject_id = k.subject_id or is_deletion and c.action = 'deleted'))
        and not sugang.is_version(k.subject_id, k.version)
        and not exists (select from sugang.change_log c where c.subject_id = k.subject_id and c.at > k.created_at)
        and (k.version is not null or not exists (select from users u where u.id = k.subject_id))
    -- A refund. Nothing is booked where nothing was paid.
    when k.registration_id is null and k.amount is not null then k.amount > 0 and not exists (
        select from sugang.ledger l
        where (l.source, l.source_id, l.payment_id, l.amount, l.actor_id)
            = ('refund', k.refund_id, k.payment_id, k.amount, k.user_id))
        -- It was not given back yet, or another operator has noted that it was paid out.
        and not exists (
            select from sugang.refunds r
            where (r.id, r.payment_id, r.amount) = (k.refund_id, k.payment_id, k.amount)
              and (r.status in ('requested', 'sent') or r.reference is not null))
    -- A cancellation.
    when k.registration_id is null then not exists (
        select from written w
        where (w.user_id, w.key, w.subject, w.subject_id, w.status)
            = (k.user_id, k.key, 'payment', k.payment_id, 'cancelled'))
        or k.cancelled_at <> (select sugang.iso(p.cancelled_at) from payments p
                              where p.id = k.payment_id and p.history_entries = 2)
    -- The payment may be older than the registration, but not where the request wrote another one.
    else not exists (
        select from written w
        join sugang.audit_log p on p.subject = 'payment' and p.subject_id = k.payment_id
            and (p.user_id, p.item_kind, p.item_id) = (w.user_id, w.item_kind, w.item_id) and p.status = 'paid'
        where (w.user_id, w.key, w.subject_id) = (k.user_id, k.key, k.registration_id)
          and w.subject = w.item_kind and w.seats > 0
          and (p.request_id = w.request_id
               or not exists (select from sugang.audit_log o
                              where o.subject = 'payment' and o.entry = 1 and o.request_id = w.request_id
                                and o.user_id = w.user_id)))
        or k.amount <> (select p.amount from payments p where p.id = k.payment_id and p.history_entries = 1) end;
