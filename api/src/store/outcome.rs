//! The outcomes of the functions of the schema `sugang`.

macro_rules! outcomes {
    ($($variant:ident = $word:literal,)*) => {
        /// What a function reports in the column `outcome`: success, or the reason for a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Outcome {
            $($variant,)*
        }

        impl Outcome {
            /// Every outcome; the domain `sugang.outcome` lists the same words.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Reads the word of the database; `None` if this version does not know it.
            pub(super) fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The word in the database.
            pub(crate) fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

outcomes! {
    Ok = "ok",
    NotReady = "not_ready",

    // The user.
    UserNotFound = "user_not_found",
    UserInactive = "user_inactive",
    LoginEnded = "login_ended",
    Taken = "taken",
    Unknown = "unknown",
    TokenEnded = "token_ended",
    TokenReused = "token_reused",
    RateLimited = "rate_limited",

    // The idempotency key.
    InProgress = "in_progress",
    KeyReused = "key_reused",

    // Lists and details.
    InvalidPage = "invalid_page",
    NotFound = "not_found",
    Counting = "counting",

    // Registering and completing.
    AlreadyRegistered = "already_registered",
    InvalidFields = "invalid_fields",
    NotOpen = "not_open",
    AmountMismatch = "amount_mismatch",
    AmountOutOfBounds = "amount_out_of_bounds",
    SoldOut = "sold_out",
    NotRegistered = "not_registered",
    AlreadyCompleted = "already_completed",
    Cancelled = "cancelled",

    // Orders.
    PaymentRequired = "payment_required",
    HeldBefore = "held_before",
    Send = "send",
    Accepted = "accepted",
    OrderInProgress = "order_in_progress",
    OrderEnded = "order_ended",
    AlreadyPaid = "already_paid",
    GatewayDecides = "gateway_decides",
    NotOpened = "not_opened",
    NoRefundDue = "no_refund_due",
    MethodUnavailable = "method_unavailable",
    KeyUsed = "key_used",

    // Events of gateways.
    Repeated = "repeated",
    Ignored = "ignored",
    Forged = "forged",

    // Cancelling a payment.
    NotOwner = "not_owner",
    AlreadyCancelled = "already_cancelled",
    ItemCompleted = "item_completed",
    RefundRefused = "refund_refused",
    RefundInProgress = "refund_in_progress",
    RefundDeclined = "refund_declined",
    AccountRequired = "account_required",

    // What operators do.
    Changed = "changed",
    ItemInUse = "item_in_use",
    NotSuperuser = "not_superuser",
    TargetIsSuperuser = "target_is_superuser",
    RefundTooLarge = "refund_too_large",
    OwnAccount = "own_account",
    InvalidRows = "invalid_rows",
    Busy = "busy",
    TooManyWebhooks = "too_many_webhooks",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_back_as_its_outcome() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_word(outcome.word()), Some(*outcome));
        }
        for word in ["", "OK", "okay"] {
            assert_eq!(Outcome::from_word(word), None);
        }
    }
}
