//! What can be falsified by hand, and the check of `migrations/audit/` that finds it.

/// A falsification.
pub struct Falsification {
    /// The check that finds it.
    pub check: &'static str,
    /// What the finding says: a part of the id.
    pub says: &'static str,
    /// Does it. The triggers of the tables are off, as for a superuser who wants no trace, unless it says otherwise.
    pub sql: &'static str,
}

const fn by(check: &'static str, says: &'static str, sql: &'static str) -> Falsification {
    Falsification { check, says, sql }
}

/// All of them, by what they falsify. [`super::books`] has the rows.
pub const FALSIFICATIONS: &[Falsification] = &[
    // Identity: whose it is, and for what.
    by("audit_log_of_payment", "1 user", "update payments set user_id = 2 where id = 1"),
    by(
        "audit_log_of_payment",
        "1 user",
        "update payments set user_id = 3 - user_id where id in (1, 5)",
    ),
    by("audit_log_of_payment", "1 item", "update payments set object_id = 2 where id = 1"),
    by(
        "audit_log_of_payment",
        "1 item",
        "update payments set content_type_id = (select content_type_id from sugang.kinds where kind <> '{kind}') where id = 1",
    ),
    by(
        "audit_log_of_registration",
        "1 user",
        "update {registrations} set user_id = 2 where id = 1",
    ),
    by(
        "audit_log_of_registration",
        "1 item",
        "update {registrations} set {item_id} = 4 where id = 1",
    ),
    by("payment_of_unknown_kind", "1", "update payments set payment_type = 'voucher' where id = 1"),
    by(
        "second_account",
        "1+",
        "drop index users_email_key_unique;
         insert into users (email, username, password) values ('MINSU@example.com', 'other', '')",
    ),
    // Money.
    by("audit_log_of_payment", "1 amount", "update payments set amount = 1 where id = 1"),
    // The sums of the history are 0 for a cancelled payment, whatever its amount.
    by(
        "audit_log_of_payment",
        "2 was changed",
        "update payments set amount = 1 where status = 'cancelled' and id = 2",
    ),
    by(
        "audit_log_of_payment",
        "1 was changed",
        "update payments set payment_method = 'bank_transfer' where id = 1",
    ),
    by(
        "audit_log_chain",
        "2",
        "update payments set amount = 1 where id = 1;
         update sugang.audit_log set amount = 1 where subject = 'payment' and subject_id = 1",
    ),
    by(
        "payment_value_unknown",
        "1",
        "alter table payments drop constraint payments_amount_positive, drop constraint payments_partly_refunded_known;
         update payments set amount = -1 where id = 1",
    ),
    by(
        "second_active_payment",
        "1+",
        "drop index payments_one_active;
         insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method)
            select user_id, payment_type, content_type_id, object_id, amount, payment_method from payments where id = 1",
    ),
    by(
        "audit_log_of_payment",
        " has no history",
        "insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method, status, cancelled_at)
            select user_id, payment_type, content_type_id, object_id, amount, payment_method, 'cancelled', now()
            from payments where id = 1",
    ),
    // Webhooks.
    by(
        "outbox_of_change",
        "payment 1 entry 1 for 1",
        "insert into sugang.webhooks (url, types, secret, first_change) values ('https://a.example', '{}', '', 0)",
    ),
    by(
        "outbox_of_refund",
        "refund 1 done for ",
        "insert into sugang.webhooks (url, types, secret, first_change) values ('https://a.example', '{}', '', 0);
         insert into sugang.outbox (type, subject, subject_id, data, at) values ('ping', 'ping', 1, '{}', '-infinity')",
    ),
    by(
        "delivery_without_event",
        "1",
        "insert into sugang.deliveries (webhook_id, event_id, subject, subject_id) values (1, 1, 'payment', 1)",
    ),
    by(
        "told_twice",
        "change 1",
        "drop index sugang.outbox_change;
         insert into sugang.outbox (type, subject, subject_id, data, change_id)
            select 'payment.paid', 'payment', 1, '{}', 1 from generate_series(1, 2)",
    ),
    by(
        "told_twice",
        "event 1 for 1",
        "drop index sugang.deliveries_of_event;
         insert into sugang.deliveries (webhook_id, event_id, subject, subject_id)
            select 1, 1, 'payment', 1 from generate_series(1, 2)",
    ),
    // Type or data of an event are overwritten.
    by(
        "event_was_changed",
        "901",
        "insert into sugang.outbox (id, type, subject, subject_id, data, change_id) overriding system value
            select 901, 'payment.cancelled', subject, subject_id, sugang.change_json(h), id
            from sugang.audit_log h where subject = 'payment' and subject_id = 1",
    ),
    by(
        "event_was_changed",
        "901",
        "insert into sugang.outbox (id, type, subject, subject_id, data, change_id) overriding system value
            select 901, 'payment.paid', subject, subject_id,
                   (sugang.change_json(h)::jsonb || jsonb_build_object('item_id', 2))::json, id
            from sugang.audit_log h where subject = 'payment' and subject_id = 1",
    ),
    by(
        "event_was_changed",
        "901",
        r#"insert into sugang.outbox (id, type, subject, subject_id, data) overriding system value
            values (901, 'refund.refused', 'refund', 1, '{"refund_id": 1, "payment_id": 2, "status": "done"}')"#,
    ),
    by(
        "delivery_without_try",
        "901",
        "insert into sugang.deliveries (id, webhook_id, event_id, subject, subject_id, status, ended_at)
            overriding system value values (901, 1, 1, 'payment', 1, 'delivered', now())",
    ),
    // It was tried, and the receiver did not take it.
    by(
        "delivery_without_try",
        "901",
        "insert into sugang.deliveries (id, webhook_id, event_id, subject, subject_id, status, last_at, last_status, ended_at)
            overriding system value values (901, 1, 1, 'payment', 1, 'delivered', now(), 500, now())",
    ),
    by(
        "delivery_without_try",
        "901",
        "insert into sugang.deliveries (id, webhook_id, event_id, subject, subject_id, next_at)
            overriding system value values (901, 1, 1, 'payment', 1, 'infinity')",
    ),
    // Orders, their seats and their money.
    by("held_count", "5", "update {items} set held_count = 0 where id = 5"),
    by("held_count", "5", "delete from sugang.orders where id = 2"),
    by("order_without_user_or_item", "2", "delete from users where id = 2"),
    by("order_without_user_or_item", "2", "delete from {items} where id = 5"),
    by(
        "second_live_order",
        "2+",
        "drop index sugang.orders_one_live;
         insert into sugang.orders (user_id, kind, item_id, title, price, payment_method, gateway, expires_at)
            select user_id, kind, item_id, title, price, payment_method, gateway, expires_at
            from sugang.orders where id = 2",
    ),
    by(
        "second_capture",
        "1",
        "drop index sugang.payment_attempts_one_captured;
         insert into sugang.payment_attempts (order_id, gateway, status, reference, amount, captured, payment_id)
            select order_id, gateway, status, 'sugang_second', amount, captured, 99
            from sugang.payment_attempts where id = 1",
    ),
    by(
        "approval_long_under_way",
        "2",
        "update sugang.orders set status = 'approving' where id = 2;
         update sugang.payment_attempts set status = 'sent', sent_at = now() - interval '13 hours' where order_id = 2",
    ),
    by(
        "captured_is_price",
        "1",
        "alter table sugang.payment_attempts drop constraint payment_attempts_captured_is_price;
         update sugang.payment_attempts set captured = 1 where id = 1",
    ),
    by("captured_is_price", "1", "update sugang.orders set price = 1 where id = 1"),
    // With the triggers on: the gateway may have taken the money, and nothing looks it up any more.
    by(
        "approval_without_outcome",
        "2",
        "set local session_replication_role = origin;
         update sugang.orders set status = 'approving' where id = 2;
         update sugang.payment_attempts set status = 'sent', sent_at = now() where id = 2;
         update sugang.orders set status = 'expired' where id = 2;
         update sugang.payment_attempts set status = 'void', ended_at = now() where id = 2",
    ),
    by(
        "approval_without_outcome",
        "2",
        "set local session_replication_role = origin;
         update sugang.orders set status = 'approving' where id = 2;
         update sugang.payment_attempts set status = 'sent', sent_at = now() where id = 2;
         update sugang.orders set status = 'expired' where id = 2;
         update sugang.payment_attempts set status = 'declined', ended_at = now() where id = 2",
    ),
    by(
        "attempt_was_changed",
        "1",
        "update sugang.payment_attempts set gateway = 'toss' where id = 1",
    ),
    by(
        "attempt_was_changed",
        "2",
        "update sugang.payment_attempts set gateway = 'toss' where id = 2",
    ),
    by(
        "attempt_was_changed",
        "1",
        r#"update sugang.payment_attempts set facts = facts || '{"external_id": "bank-2"}' where id = 1"#,
    ),
    // A gateway that has taken the money itself.
    by(
        "attempt_was_changed",
        "1",
        "update sugang.orders set gateway = 'toss' where id = 1;
         update sugang.payment_attempts set gateway = 'toss', gateway_key = 'other', facts = facts - 'confirmed_by'
            where id = 1",
    ),
    by(
        "attempt_was_changed",
        "1",
        "update sugang.orders set gateway = 'toss' where id = 1;
         update sugang.payment_attempts set gateway = 'toss' where id = 1",
    ),
    by(
        "order_status_against_money",
        "1 is paid without a capture",
        "update sugang.payment_attempts set status = 'void', captured = null, payment_id = null where id = 1",
    ),
    by(
        "order_status_against_money",
        "1 has the payment of no attempt",
        "update sugang.orders set payment_id = 7 where id = 1",
    ),
    by(
        "order_status_against_money",
        "2 has no live attempt",
        "update sugang.payment_attempts set status = 'void' where id = 2",
    ),
    by(
        "order_status_against_money",
        "2 has ended with a live attempt",
        "update sugang.orders set status = 'expired', ended_at = now() where id = 2",
    ),
    by(
        "order_status_against_money",
        "2 has an attempt in another state",
        "update sugang.orders set status = 'approving' where id = 2",
    ),
    // The seat of an order that a gateway is asked about is freed.
    by(
        "order_status_against_money",
        "2 has ended with a live attempt",
        "update sugang.payment_attempts set status = 'sent' where id = 2;
         update sugang.orders set status = 'cancelled', ended_at = now() where id = 2",
    ),
    by(
        "order_status_against_money",
        "1 has ended with an open attempt",
        "insert into sugang.payment_attempts (order_id, gateway, reference, amount) values (1, 'manual', 'sugang_more', 1)",
    ),
    by(
        "order_status_against_money",
        "3 owes a refund of no money",
        "update sugang.payment_attempts set status = 'void', captured = null, payment_id = null where order_id = 3",
    ),
    by("payment_of_attempt", "1", "delete from payments where id = 6"),
    by("payment_of_attempt", "1", "update payments set amount = 1 where id = 6"),
    by(
        "surplus_without_refund",
        "3",
        "update sugang.refunds set status = 'refused' where payment_id = 8",
    ),
    by(
        "paid_order_without_registration",
        "1",
        "delete from {registrations} where id = 5",
    ),
    by(
        "unpaid_without_reversal",
        "1",
        "update sugang.orders set status = 'expired', ended_at = now(), payment_id = null, registration_id = null where id = 1",
    ),
    by(
        "second_event",
        "toss event-1",
        "drop index sugang.gateway_events_key;
         insert into sugang.gateway_events (gateway, event_key, status, body, is_signed)
            select 'toss', 'event-1', 'ignored', '{}', false from generate_series(1, 2)",
    ),
    by(
        "event_never_looked_up",
        "1",
        "insert into sugang.gateway_events (id, gateway, event_key, attempt_id, body, is_signed, lease_until)
            overriding system value values (1, 'toss', 'event-1', 1, '{}', false, now() - interval '2 days')",
    ),
    by(
        "event_never_looked_up",
        "1",
        "insert into sugang.gateway_events (id, gateway, event_key, attempt_id, body, is_signed, lease_until)
            overriding system value values (1, 'toss', 'event-1', 1, '{}', false, 'infinity')",
    ),
    by("audit_log_of_order", "1 was changed", "update sugang.orders set title = 'x' where id = 1"),
    by(
        "audit_log_of_order",
        "2 status",
        "update sugang.orders set status = 'expired', ended_at = now() where id = 2",
    ),
    by("audit_log_of_order", "2 user or item", "update sugang.orders set user_id = 1 where id = 2"),
    by("audit_log_of_order", "2 is gone", "delete from sugang.orders where id = 2"),
    by(
        "audit_log_of_order",
        "1 lacks a part of its history",
        "delete from sugang.audit_log where subject = 'order' and subject_id = 1 and entry = 1",
    ),
    by(
        "audit_log_of_order",
        " has no history",
        "insert into sugang.orders (user_id, kind, item_id, title, price, payment_method, gateway, expires_at)
            values (2, '{kind}', 6, 'x', 1, 'card', 'manual', now())",
    ),
    by(
        "guards",
        "trigger sugang_guard_deletion on sugang.orders is not what it was",
        "alter table sugang.orders disable trigger sugang_guard_deletion",
    ),
    // Money that went back, and the ledger.
    by(
        "refunded_beyond_payment",
        "2",
        "insert into sugang.refunds (payment_id, amount, status) values (2, 1, 'done')",
    ),
    by(
        "refunds_of_payment",
        "1 partly refunded",
        "update payments set partly_refunded = 1 where id = 1",
    ),
    by(
        "refunds_of_payment",
        "1 partly refunded",
        "insert into sugang.refunds (payment_id, amount, status) values (1, 1, 'done')",
    ),
    by(
        "refunds_of_payment",
        "2 is paid, and all was given back",
        "update payments set status = 'paid', cancelled_at = null where id = 2",
    ),
    by(
        "refunds_of_payment",
        "2 is not paid, and not all was given back",
        "update sugang.refunds set status = 'refused' where payment_id = 2",
    ),
    by(
        "refunds_of_payment",
        "2 is not paid, and not all was given back",
        "delete from sugang.refunds where payment_id = 2",
    ),
    by(
        "refund_of_no_payment",
        "1",
        "update sugang.refunds set payment_id = 77 where payment_id = 2",
    ),
    by("ledger_of_payment", "1", "update payments set amount = 1 where id = 1"),
    by("ledger_of_payment", "1", "update sugang.ledger set amount = 1 where payment_id = 1"),
    by("ledger_of_payment", "1", "delete from sugang.ledger where payment_id = 1"),
    by(
        "ledger_of_payment",
        "77",
        "insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount)
            values (now(), 'payment', 77, 'captured', 77, 'cash', 'sales', 1)",
    ),
    by("ledger_of_refund", "1", "update sugang.refunds set amount = 1 where payment_id = 2"),
    by("ledger_of_refund", "1", "delete from sugang.refunds where payment_id = 2"),
    // In and out alike: the sum of the payment is 0 all the same.
    by("ledger_of_refund", "1", "update sugang.ledger set amount = 1 where payment_id = 2"),
    by("ledger_of_refund", "1", "delete from sugang.ledger where payment_id = 2"),
    by(
        "ledger_of_refund",
        "1",
        "insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount)
            values (now(), 'refund', 1, 'external', 2, 'sales_returns', 'cash', 1),
                   (now(), 'refund', 1, 'refused', 2, 'cash', 'sales_returns', 1)",
    ),
    by(
        "ledger_entry",
        "payment 77 captured",
        "insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount)
            values (now(), 'payment', 77, 'captured', 77, 'cash', 'sales', 1)",
    ),
    by(
        "ledger_entry",
        "history 1 corrected",
        "insert into sugang.ledger (at, source, source_id, step, payment_id, debit, credit, amount)
            values (now(), 'history', 1, 'corrected', 77, 'cash', 'sales', 1)",
    ),
    by(
        "ledger_entry",
        "payment 1 given",
        "update sugang.ledger set step = 'given' where source = 'payment' and source_id = 1",
    ),
    by(
        "ledger_entry",
        "payment 1 captured",
        "alter table sugang.ledger drop constraint ledger_accounts_known;
         update sugang.ledger set credit = 'cash' where source = 'payment' and source_id = 1",
    ),
    // Accounts that are known, and not those of the step.
    by(
        "ledger_entry",
        "refund 1 done",
        "update sugang.ledger set debit = 'sales' where source = 'refund' and source_id = 1",
    ),
    by(
        "ledger_entry",
        "payment 1 captured",
        "update sugang.ledger set credit = 'sales_returns' where source = 'payment' and source_id = 1",
    ),
    // The figures by day.
    by(
        "ledger_entry",
        "payment 1 captured",
        "update sugang.ledger set at = at - interval '400 days' where source = 'payment' and source_id = 1",
    ),
    by(
        "ledger_time_of_refund",
        "1 done",
        "update sugang.ledger set at = at - interval '400 days' where source = 'refund' and source_id = 1",
    ),
    by(
        "ledger_time_of_refund",
        "1 done",
        "update sugang.ledger set at = at + interval '2 hours' where source = 'refund' and source_id = 1",
    ),
    // A step of which another check believes that the money went back in another way.
    by(
        "ledger_of_refund",
        "1",
        "update sugang.ledger set step = 'external' where source = 'refund' and source_id = 1",
    ),
    by(
        "ledger_reversal",
        "1",
        "update sugang.ledger set step = 'reversed' where source = 'refund' and source_id = 1",
    ),
    // The history: changes, gaps, forgeries.
    by("audit_log_chain", "", "update sugang.audit_log set actor_id = 2 where id = 3"),
    by("audit_log_chain", "", "update sugang.audit_log set at = at - interval '1 day' where id = 1"),
    by("audit_log_chain", "", "update sugang.audit_log set request_id = 'other' where id = 2"),
    by(
        "audit_log_chain",
        "",
        "update sugang.audit_log set user_id = 2 where subject = 'payment' and subject_id = 2 and entry = 1",
    ),
    // With a hash of its own: the next entry does not follow from it.
    by(
        "audit_log_chain",
        "",
        "update sugang.audit_log set amount = 1, hash = sugang.entry_hash(null, state, entry, at, subject, subject_id,
            item_kind, item_id, user_id, status, 1, seats, actor_id, request_id)
         where subject = 'payment' and subject_id = 2 and entry = 1",
    ),
    by(
        "audit_log_chain",
        "",
        "delete from sugang.audit_log where subject = '{kind}' and subject_id = 3 and entry = 2",
    ),
    by(
        "audit_log_of_payment",
        "2 ",
        "delete from sugang.audit_log where subject = 'payment' and subject_id = 2 and entry = 2",
    ),
    // The last entry, and the row as it was before.
    by(
        "audit_log_of_payment",
        "2 lacks a part of its history",
        "delete from sugang.audit_log where subject = 'payment' and subject_id = 2 and entry = 2;
         update payments set status = 'paid', cancelled_at = null where id = 2",
    ),
    by(
        "audit_log_chain",
        "",
        "delete from sugang.audit_log where subject = '{kind}' and subject_id = 3 and entry in (1, 2)",
    ),
    by(
        "audit_log_of_payment",
        "2 lacks a part of its history",
        "insert into sugang.audit_log (subject, subject_id, item_kind, item_id, user_id, status, amount, seats, entry, state, hash)
            select subject, subject_id, item_kind, item_id, user_id, status, 0, seats, entry, state,
                   sugang.entry_hash(null, state, entry, at, subject, subject_id, item_kind, item_id, user_id, status, 0,
                                     seats, actor_id, request_id)
            from sugang.audit_log where subject = 'payment' and subject_id = 2 and entry = 1",
    ),
    by(
        "audit_log_seal",
        "",
        "insert into sugang.audit_log (subject, subject_id, item_kind, item_id, user_id, status, amount, seats)
            values ('payment', 1, '{kind}', 1, 1, 'paid', 0, 0)",
    ),
    by("audit_log_of_payment", "1 has no history", "truncate sugang.audit_log"),
    // Deletions.
    by("audit_log_of_payment", "2 is gone", "delete from payments where id = 2"),
    by("audit_log_of_registration", "2 is gone", "delete from {registrations} where id = 2"),
    by("audit_log_of_payment", "1 is gone", "truncate payments"),
    by(
        "registration_without_its_payment",
        "",
        "delete from payments where id = 2; delete from sugang.audit_log where subject = 'payment' and subject_id = 2",
    ),
    by(
        "payment_without_its_registration",
        "",
        "delete from {registrations} where id = 2; delete from sugang.audit_log where subject = '{kind}' and subject_id = 2",
    ),
    by(
        "audit_log_of_item",
        "2 seats taken",
        "delete from payments where object_id = 2; delete from {registrations} where {item_id} = 2;
         update {items} set registration_count = 0 where id = 2; delete from sugang.audit_log where item_id = 2",
    ),
    by(
        "active_payment_without_active_registration",
        "1",
        "delete from {registrations} where id = 1; delete from sugang.audit_log where subject = '{kind}' and subject_id = 1",
    ),
    by(
        "active_registration_without_active_payment",
        "1",
        "update payments set status = 'cancelled', cancelled_at = now() where id = 1",
    ),
    by("search_table", "4", "delete from {items} where id = 4"),
    // What points to something that is not there.
    by(
        "payment_without_user",
        "5",
        "alter table payments drop constraint payments_user_id_fkey; delete from users where id = 2",
    ),
    by(
        "registration_without_user_or_item",
        "",
        "alter table {registrations} drop constraint {registrations}_{item_id}_fkey; delete from {items} where id = 1",
    ),
    by("payment_points_to_no_registration", "1", "update payments set registration_id = 404 where id = 1"),
    by(
        "payment_points_to_another_registration",
        "1",
        "update payments set registration_id = 2 where id = 1",
    ),
    by(
        "idempotency_key_without_user",
        "404 key",
        "alter table sugang.idempotency_keys drop constraint idempotency_keys_user_id_fkey;
         insert into sugang.idempotency_keys (user_id, key, fingerprint, outcome) values (404, 'key', 'hash', 'ok')",
    ),
    // The snapshot of what was paid for, and the ids of the gateway.
    by("audit_log_of_payment", "1 was changed", "update payments set target_title = 'x' where id = 1"),
    by(
        "audit_log_of_payment",
        "1 was changed",
        "update payments set registration_time = registration_time - interval '1 day' where id = 1",
    ),
    by(
        "audit_log_of_payment",
        "2 was changed",
        "update payments set refund_reason = 'x' where id = 2",
    ),
    by(
        "audit_log_of_payment",
        "1 was changed",
        "update payments set external_transaction_id = 'sugang_other' where id = 1",
    ),
    by(
        "external_id_twice",
        "1+2",
        "drop index payments_external_id; update payments set external_transaction_id = 'sugang_1' where id in (1, 2)",
    ),
    // Statuses and times.
    by("second_registration", "1+", "drop index idx_{kind}_reg_unique;
         insert into {registrations} (user_id, {item_id}) select user_id, {item_id} from {registrations} where id = 1"),
    by("payment_time_against_status", "1", "update payments set cancelled_at = now() where id = 1"),
    by(
        "payment_value_unknown",
        "1",
        "alter table payments drop constraint payments_status_known; update payments set status = 'gone' where id = 1",
    ),
    by(
        "registration_status_unknown",
        "1",
        "alter table {registrations} drop constraint {registrations}_status_known;
         update {registrations} set status = 'gone' where id = 1",
    ),
    by(
        "registration_time_against_status",
        "1",
        "update {registrations} set completed_at = now() where id = 1",
    ),
    by(
        "payment_times_out_of_order",
        "2",
        "update payments set cancelled_at = paid_at - interval '1 hour' where id = 2",
    ),
    by(
        "payment_times_out_of_order",
        "1",
        "update payments set paid_at = now() + interval '2 days' where id = 1",
    ),
    by(
        "registration_times_out_of_order",
        "2",
        "update {registrations} set cancelled_at = {registered_at} - interval '1 hour' where id = 2",
    ),
    by(
        "audit_log_of_registration",
        "1 was changed",
        "update {registrations} set {registered_at} = {registered_at} - interval '1 minute' where id = 1",
    ),
    by(
        "audit_log_of_registration",
        "1 status",
        "update {registrations} set status = 'completed', completed_at = now() where id = 1",
    ),
    // Responses that are kept for a repetition.
    by(
        "kept_response",
        "1 key-1",
        r#"update sugang.idempotency_keys set body = replace(body, '"payment_id" : 1', '"payment_id" : 5') where key = 'key-1'"#,
    ),
    by(
        "kept_response",
        "1 key-1",
        r#"update sugang.idempotency_keys set body = replace(body, '"payment_id" : 1', '"payment_id" : 4') where key = 'key-1'"#,
    ),
    by(
        "kept_response",
        "1 key-1",
        r#"update sugang.idempotency_keys set body = replace(body, '"registration_id" : 1', '"registration_id" : 3')
           where key = 'key-1'"#,
    ),
    by(
        "kept_response",
        "1 key-2",
        r#"update sugang.idempotency_keys set body = replace(body, '"payment_id" : 2', '"payment_id" : 4') where key = 'key-2'"#,
    ),
    // Another cancellation of the same user.
    by(
        "kept_response",
        "1 key-2",
        r#"update sugang.idempotency_keys set body = replace(body, '"payment_id" : 2', '"payment_id" : 3') where key = 'key-2'"#,
    ),
    by("kept_response", "2 key-1", "update sugang.idempotency_keys set user_id = 2 where key = 'key-1'"),
    // Counts and searches.
    by(
        "registration_count",
        "1",
        "update {items} set registration_count = registration_count + 1 where id = 1",
    ),
    by(
        "capacity",
        "1",
        "update {items} set capacity = registration_count - 1 where id = 1",
    ),
    // One seat is taken, and one is held.
    by("capacity", "5", "update {items} set capacity = 1 where id = 5"),
    by(
        "bucket_counts",
        "created/hour/",
        "update sugang.bucket_counts set n = n + 1 where kind = '{kind}' and level = 'hour'",
    ),
    by(
        "available_count",
        "{kind}",
        "update sugang.available_counts set n = 7, valid_from = '-infinity', valid_until = 'infinity' where kind = '{kind}'",
    ),
    by(
        "search_count",
        "정보",
        "insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words)
            values ('{kind}', false, 'x', 2000, now(), pg_current_snapshot(), now(), 'sugang.search_counts'::regclass,
                    sugang.search_query('정보'))",
    ),
    by(
        "search_count",
        "정보",
        "insert into sugang.search_counts (kind, available, query, n, as_of, snapshot, counted_at, table_oid, words,
                                           next_created_at, next_item_id)
            values ('{kind}', false, 'x', 7, now(), pg_current_snapshot(), now(), 'sugang.search_counts'::regclass,
                    sugang.search_query('정보'), '1999-01-01', 1)",
    ),
    by(
        "search_bitmap",
        "정보",
        "insert into sugang.search_bitmap_sets (kind, number, begun_at, words, snapshot, as_of, table_oid)
            values ('{kind}', 0, now(), array[sugang.search_query('정보')], pg_current_snapshot(), now(),
                    'sugang.search_bitmaps'::regclass)",
    ),
    by("search_table", "1", "update sugang.{kind}_search set created_at = now() where item_id = 1"),
    by("search_table", "1", "delete from sugang.{kind}_search where item_id = 1"),
    by("search_table", "1", "update {items} set hidden = true where id = 1"),
    by("bucket_counts", "", "update {items} set hidden = true where id = 1"),
    by(
        "search_vector",
        "1",
        "update sugang.{kind}_search set search_vector = '요가:1A' where item_id = 1",
    ),
    by("search_vector", "1", "update {items} set search_vector = null where id = 1"),
    by("search_vector", "1", "update {items} set title = '요가' where id = 1"),
    by("search_vector_of_payment", "1", "update payments set title_vector = '요가:1A' where id = 1"),
    // What guards the data.
    by("guards", "index payments_one_active on payments is missing", "drop index payments_one_active"),
    by(
        "guards",
        "index payments_one_active on payments is not what it was",
        "drop index payments_one_active;
         create unique index payments_one_active on payments (user_id, content_type_id, object_id, amount) where status = 'paid'",
    ),
    by(
        "guards",
        "constraint payments_status_known on payments is missing",
        "alter table payments drop constraint payments_status_known",
    ),
    by(
        "guards",
        "constraint {items}_capacity_positive on {items} is not what it was",
        "alter table {items} drop constraint {items}_capacity_positive,
            add constraint {items}_capacity_positive check (capacity >= 0) not valid",
    ),
    by(
        "guards",
        "constraint payments_partly_refunded_known on payments is missing",
        "alter table payments drop constraint payments_partly_refunded_known",
    ),
    by(
        "guards",
        "constraint ledger_pkey on sugang.ledger is missing",
        "alter table sugang.ledger drop constraint ledger_pkey",
    ),
    by(
        "guards",
        "trigger sugang_refund_made on sugang.refunds is not what it was",
        "alter table sugang.refunds disable trigger sugang_refund_made",
    ),
    by(
        "guards",
        "foreign key FOREIGN KEY (user_id) REFERENCES users(id) on payments is missing",
        "alter table payments drop constraint payments_user_id_fkey",
    ),
    // Refunds over a gateway. Payment 6 is that of an order.
    by(
        "refund_waits_for_a_person",
        "901",
        "insert into sugang.refunds (id, payment_id, amount, status, code) overriding system value
            values (901, 6, 1, 'requested', 'NOT_CANCELABLE_PAYMENT')",
    ),
    by(
        "second_refund_under_way",
        "901+902",
        "drop index sugang.refunds_one_sent;
         insert into sugang.refunds (id, payment_id, amount, status) overriding system value
            values (901, 6, 1, 'sent'), (902, 6, 1, 'sent')",
    ),
    by(
        "refund_without_key",
        "901",
        "update sugang.payment_attempts set gateway = 'toss' where id = 1;
         insert into sugang.refunds (id, payment_id, amount, status) overriding system value values (901, 6, 1, 'sent')",
    ),
    by(
        "refund_left_alone",
        "901",
        "update sugang.payment_attempts set gateway = 'toss' where id = 1;
         insert into sugang.refunds (id, payment_id, amount, status) overriding system value
            values (901, 6, 1, 'requested')",
    ),
    by(
        "refund_left_alone",
        "901",
        "update sugang.payment_attempts set gateway = 'toss' where id = 1;
         insert into sugang.refunds (id, payment_id, amount, status, due_at) overriding system value
            values (901, 6, 1, 'requested', 'infinity')",
    ),
    // No gateway was asked.
    by(
        "refund_without_evidence",
        "901",
        "update sugang.payment_attempts set gateway = 'toss' where id = 1;
         insert into sugang.refunds (id, payment_id, amount, status) overriding system value values (901, 6, 1, 'done')",
    ),
    // With the triggers on: nothing says that what is owed was paid out.
    by(
        "refund_without_evidence",
        "3",
        "set local session_replication_role = origin; update sugang.refunds set status = 'done' where payment_id = 8",
    ),
    by(
        "refund_long_under_way",
        "901",
        "insert into sugang.refunds (id, payment_id, amount, status, requested_at) overriding system value
            values (901, 6, 1, 'sent', now() - interval '13 hours')",
    ),
    by(
        "gateway_refund_twice",
        "901+902",
        "drop index sugang.refunds_gateway_id;
         insert into sugang.refunds (id, payment_id, amount, status, gateway_id) overriding system value
            values (901, 6, 1, 'done', 'txrd_1'), (902, 6, 1, 'external', 'txrd_1')",
    ),
    by(
        "gateway_books",
        "6",
        r#"update sugang.payment_attempts set facts = '{"difference": -1}' where id = 1"#,
    ),
    by(
        "guards",
        "not null amount on payments is missing",
        "alter table payments alter column amount drop not null",
    ),
    by(
        "guards",
        "trigger sugang_audit_log on payments is not what it was",
        "alter table payments enable trigger user; alter table payments disable trigger sugang_audit_log",
    ),
    by(
        "guards",
        "trigger append_only on sugang.audit_log is not what it was",
        "alter table sugang.audit_log enable replica trigger append_only",
    ),
    by(
        "guards",
        "trigger sugang_seats on {items} is not what it was",
        "create or replace trigger sugang_seats before update of id, registration_count on {items}
            for each row when (false) execute function sugang.guard_{kind}_seats()",
    ),
    by(
        "guards",
        "trigger nothing on sugang.audit_log is unknown",
        "create function nothing() returns trigger language plpgsql as 'begin return null; end';
         create trigger nothing before insert on sugang.audit_log for each row execute function nothing()",
    ),
    by("guards", "table payments is not what it was", "create rule nothing as on delete to payments do instead nothing"),
    by(
        "guards",
        "session_replication_role=replica is set for every role",
        "do $$ begin execute format('alter database %I set session_replication_role = replica', current_database()); end $$",
    ),
    by("guards", "was not recorded", "delete from sugang.schema_definitions where kind = 'trigger'"),
    by(
        "functions",
        "trigger append_only sugang.audit_log refuse_audit_log_change is missing or disabled",
        "drop trigger append_only on sugang.audit_log; delete from sugang.schema_definitions where name = 'append_only';
         delete from sugang.schema_objects where name = 'append_only'",
    ),
    by(
        "functions",
        "sugang.page_size has another body",
        "create or replace function sugang.page_size() returns integer language sql immutable as 'select 7'",
    ),
    by(
        "guards",
        "function sugang.page_size() is not what it was",
        "alter function sugang.page_size() security definer",
    ),
    by(
        "audit_log_rights",
        "public may update sugang.audit_log",
        "grant update on sugang.audit_log to public",
    ),
    by(
        "audit_log_rights",
        "public may delete sugang.ledger",
        "grant delete on sugang.ledger to public",
    ),
];
