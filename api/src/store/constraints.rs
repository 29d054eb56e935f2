//! What the violation of each constraint of the database means. An end-to-end test compares the list with the database.

use sugang_protocol::ErrorSpec;

use crate::error::catalog::{BUSY, ITEM_IN_USE, NOT_FOUND, PAYMENT_KEY_USED, SOLD_OUT, USER_NOT_FOUND};

/// What the violation of a constraint means.
#[derive(Clone, Copy)]
pub(super) enum Violation {
    /// Another writer, the Django service for one, was first. The statement is sent once more, and what it finds then is
    /// the answer; if it is overtaken again, this is.
    Overtaken(&'static ErrorSpec),
    /// A sequence lags behind the ids of its table, as after a restore. It is advanced, and the statement sent once more.
    SequenceBehind,
    /// No function writes such a row.
    Defect,
}

use Violation::{Defect, Overtaken, SequenceBehind};

/// Every constraint and unique index, and the triggers that raise an error like one. Foreign keys are written as
/// PostgreSQL names them; the Django service's own names are converted.
const VIOLATIONS: &[(&str, Violation)] = &[
    // Accounts.
    ("users_pkey", SequenceBehind),
    ("users_email_key", Overtaken(&BUSY)),
    ("users_email_key_unique", Overtaken(&BUSY)),
    ("users_username_key", Overtaken(&BUSY)),
    ("users_username_key_unique", Overtaken(&BUSY)),
    ("revoked_tokens_pkey", Overtaken(&BUSY)),
    ("revoked_tokens_user_id_fkey", Overtaken(&USER_NOT_FOUND)),
    ("idempotency_keys_pkey", Overtaken(&BUSY)),
    ("idempotency_keys_user_id_fkey", Overtaken(&USER_NOT_FOUND)),
    // Items. The triggers of functions/seats.sql raise `capacity_kept`.
    ("tests_pkey", SequenceBehind),
    ("tests_capacity_kept", Overtaken(&SOLD_OUT)),
    ("tests_capacity_positive", Defect),
    ("courses_pkey", SequenceBehind),
    ("courses_capacity_kept", Overtaken(&SOLD_OUT)),
    ("courses_capacity_positive", Defect),
    // Registrations.
    ("test_registrations_pkey", SequenceBehind),
    ("idx_test_reg_unique", Overtaken(&BUSY)),
    ("test_registrations_user_id_fkey", Overtaken(&USER_NOT_FOUND)),
    ("test_registrations_test_id_fkey", Overtaken(&NOT_FOUND)),
    ("test_registrations_status_known", Defect),
    ("course_registrations_pkey", SequenceBehind),
    ("idx_course_reg_unique", Overtaken(&BUSY)),
    ("course_registrations_user_id_fkey", Overtaken(&USER_NOT_FOUND)),
    ("course_registrations_course_id_fkey", Overtaken(&NOT_FOUND)),
    ("course_registrations_status_known", Defect),
    // Payments.
    ("payments_pkey", SequenceBehind),
    ("payments_user_id_fkey", Overtaken(&USER_NOT_FOUND)),
    ("payments_one_active", Overtaken(&BUSY)),
    ("payments_content_type_id_fkey", Defect),
    ("payments_external_id", Defect),
    ("payments_object_id_check", Defect),
    ("payments_status_known", Defect),
    ("payments_amount_positive", Defect),
    // The triggers of functions/payment_deletion.sql raise `payments_outcome_known`.
    ("payments_outcome_known", Defect),
    // The triggers of functions/ledger.sql raise `refunds_of_paid` and `refunds_status_follows`.
    ("payments_partly_refunded_known", Defect),
    ("refunds_pkey", SequenceBehind),
    ("refunds_amount_positive", Defect),
    ("refunds_status_known", Defect),
    ("refunds_one_sent", Defect),
    ("refunds_gateway_id", Defect),
    ("refunds_request", Overtaken(&BUSY)),
    ("refunds_of_paid", Defect),
    ("refunds_status_follows", Defect),
    ("ledger_pkey", SequenceBehind),
    ("ledger_amount_positive", Defect),
    ("ledger_accounts_known", Defect),
    // Webhooks.
    ("webhooks_pkey", SequenceBehind),
    ("webhooks_status_known", Defect),
    ("outbox_pkey", SequenceBehind),
    ("outbox_change", Defect),
    ("deliveries_pkey", SequenceBehind),
    ("deliveries_of_event", Defect),
    ("deliveries_status_known", Defect),
    // Orders. The triggers of functions/orders.sql raise `orders_status_follows` and `orders_outcome_known`.
    ("orders_pkey", SequenceBehind),
    ("orders_user_id_fkey", Overtaken(&USER_NOT_FOUND)),
    ("orders_one_live", Overtaken(&BUSY)),
    ("orders_price_positive", Defect),
    ("orders_status_known", Defect),
    ("orders_status_follows", Defect),
    ("orders_outcome_known", Overtaken(&ITEM_IN_USE)),
    ("orders_end_has_time", Defect),
    ("orders_money_known", Defect),
    ("payment_attempts_pkey", SequenceBehind),
    ("payment_attempts_order_id_fkey", Defect),
    ("payment_attempts_reference", Defect),
    ("payment_attempts_reference_safe", Defect),
    ("payment_attempts_gateway_key", Overtaken(&PAYMENT_KEY_USED)),
    ("payment_attempts_payment", Defect),
    ("payment_attempts_one_live", Defect),
    ("payment_attempts_one_captured", Defect),
    ("payment_attempts_status_known", Defect),
    ("payment_attempts_money_known", Defect),
    ("payment_attempts_captured_is_price", Defect),
    ("gateway_events_pkey", SequenceBehind),
    ("gateway_events_key", Overtaken(&BUSY)),
    ("gateway_events_status_known", Defect),
    ("gateway_events_due_has_attempt", Defect),
    // What the service keeps for itself.
    ("audit_log_pkey", SequenceBehind),
    ("change_log_pkey", SequenceBehind),
    ("kinds_pkey", Defect),
    ("kinds_content_type_id_key", Defect),
    ("django_content_type_pkey", Defect),
    ("django_content_type_app_label_model_key", Defect),
    ("bucket_counts_pkey", Overtaken(&BUSY)),
    ("available_counts_pkey", Overtaken(&BUSY)),
    ("search_counts_pkey", Overtaken(&BUSY)),
    ("search_bitmap_sets_pkey", Overtaken(&BUSY)),
    ("search_bitmaps_pkey", Overtaken(&BUSY)),
    ("attempts_pkey", Overtaken(&BUSY)),
    ("test_search_pkey", Defect),
    ("course_search_pkey", Defect),
    ("schema_objects_pkey", Defect),
    ("schema_definitions_pkey", Defect),
    ("audit_seals_pkey", Defect),
];

/// Returns what the violation of this constraint means. One that is not listed is a defect.
pub(super) fn violation(constraint: &str) -> Violation {
    let name = canonical(constraint);
    let listed = VIOLATIONS.iter().find(|(listed, _)| *listed == name);
    listed.map_or(Defect, |(_, violation)| *violation)
}

/// The name that PostgreSQL would have given to a foreign key that Django named: `payments_user_id_189b9948_fk_users_id`.
fn canonical(constraint: &str) -> String {
    let hashed = constraint
        .split_once("_fk_")
        .and_then(|(head, _)| head.rsplit_once('_'));
    match hashed {
        Some((column, hash)) if hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{column}_fkey")
        }
        _ => constraint.to_owned(),
    }
}

/// The names of the list.
#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    VIOLATIONS.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_keys_are_known_by_the_names_of_both() {
        for (name, expected) in [
            ("payments_user_id_fkey", "payments_user_id_fkey"),
            ("payments_user_id_189b9948_fk_users_id", "payments_user_id_fkey"),
            (
                "course_registrations_course_id_c8e99e3f_fk_courses_id",
                "course_registrations_course_id_fkey",
            ),
            ("payments_fk_users", "payments_fk_users"),
            ("idx_test_reg_unique", "idx_test_reg_unique"),
        ] {
            assert_eq!(canonical(name), expected);
        }
    }

    #[test]
    fn each_constraint_is_listed_once() {
        let mut names = names();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert!(matches!(violation("tests_capacity_kept"), Overtaken(spec) if spec.code == SOLD_OUT.code));
        assert!(matches!(violation("of_tomorrow"), Defect));
    }
}
