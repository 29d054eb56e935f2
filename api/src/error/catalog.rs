//! The errors that say the same for every request. Those that name an exam or a course are in [`crate::kind`].

use sugang_protocol::{ErrorSpec, Text};
use sugang_sdk::types::ErrorCode;

macro_rules! errors {
    ($(#[doc = $doc:literal] $name:ident = $key:ident $code:ident $korean:literal $english:literal;)*) => {$(
        #[doc = $doc]
        pub(crate) static $name: ErrorSpec = ErrorSpec::$key(ErrorCode::$code, Text::new($korean, $english));
    )*};
}

errors! {
    /// The body is broken JSON, broken UTF-8, or not an object.
    MALFORMED_JSON = detail MalformedJson "요청 본문이 올바른 JSON 객체가 아닙니다." "The body is not a JSON object.";
    /// The form is broken UTF-8, has no parts or too many, or breaks off.
    MALFORMED_FORM = detail MalformedForm "요청 본문이 올바른 폼이 아닙니다." "The body is not a form.";
    /// The amount is outside the bounds of the payment method.
    AMOUNT_OUT_OF_BOUNDS = error AmountOutOfBounds
        "결제 수단의 허용 금액 범위를 벗어났습니다" "The amount is outside what the payment method takes";
    /// The request has no token.
    NOT_AUTHENTICATED = detail NotAuthenticated
        "Authentication credentials were not provided." "Authentication credentials were not provided.";
    /// A browser comes back with an address that is not one of ours.
    INVALID_RETURN = detail InvalidReturn
        "유효하지 않은 주소입니다. 앱에서 주문 상태를 확인해주세요."
        "This address is not valid. Please look the order up in the app.";
    /// A browser loads ahead what would pay.
    PREFETCH_REFUSED = detail PrefetchRefused "미리 불러올 수 없습니다." "This cannot be loaded ahead.";
    /// An event of a gateway has no valid proof.
    INVALID_SIGNATURE = detail InvalidSignature "서명이 올바르지 않습니다." "The signature is not valid.";
    /// The password is wrong, the e-mail address unknown, or the user inactive; the response does not tell which.
    INVALID_CREDENTIALS = detail InvalidCredentials
        "No active account found with the given credentials" "No active account found with the given credentials";
    /// The access token is not valid.
    TOKEN_NOT_VALID = detail TokenNotValid
        "Given token not valid for any token type" "Given token not valid for any token type";
    /// The refresh token is not valid.
    REFRESH_NOT_VALID = detail TokenNotValid "Token is invalid or expired" "Token is invalid or expired";
    /// The token's user no longer exists.
    USER_NOT_FOUND = detail UserNotFound "User not found" "User not found";
    /// The token's user is inactive.
    USER_INACTIVE = detail UserInactive "User is inactive" "User is inactive";
    /// The payment is another user's.
    NOT_OWNER = error NotOwner "본인의 결제만 취소할 수 있습니다" "You can cancel your own payments only";
    /// A superuser would create one webhook more than there may be.
    TOO_MANY_WEBHOOKS = detail TooManyWebhooks
        "웹훅은 16개까지 만들 수 있습니다." "There may be 16 webhooks at most.";
    /// An operator who is not a superuser would make operators, or change one.
    NOT_SUPERUSER = detail NotSuperuser
        "최고 관리자만 운영자를 지정하거나 변경할 수 있습니다." "Only a superuser makes operators, or changes them.";
    /// An operator who is not a superuser would say where events go.
    WEBHOOKS_OF_SUPERUSER = detail NotSuperuser
        "최고 관리자만 웹훅을 변경할 수 있습니다." "Only a superuser changes webhooks.";
    /// An operator would deactivate their own account.
    OWN_ACCOUNT = detail OwnAccount
        "자신의 계정은 비활성화할 수 없습니다." "You cannot deactivate your own account.";
    /// A superuser would lose the right over the API.
    TARGET_IS_SUPERUSER = detail TargetIsSuperuser
        "최고 관리자의 권한은 서버에서만 해제할 수 있습니다."
        "The right of a superuser is taken on the machine alone.";
    /// Registrations or payments refer to the item.
    ITEM_IN_USE = detail ItemInUse
        "신청이나 결제 내역이 있어 삭제할 수 없습니다." "Registrations or payments refer to it, so it cannot be deleted.";
    /// An edit or a deletion without `If-Match`.
    PRECONDITION_REQUIRED = detail PreconditionRequired
        "조회한 ETag를 If-Match 헤더에 보내주세요." "Send the ETag that you have read in If-Match.";
    /// The item has another version than `If-Match` names.
    PRECONDITION_FAILED = detail PreconditionFailed
        "그 사이에 변경되었습니다. 다시 조회한 뒤 시도해주세요." "It has changed meanwhile. Read it again.";
    /// The path, exam, course or payment does not exist.
    NOT_FOUND = detail NotFound "찾을 수 없습니다." "Not found.";
    /// The list has no such page.
    INVALID_PAGE = detail InvalidPage "Invalid page." "Invalid page.";
    /// Another request holds the lock or the row.
    BUSY = error Busy "잠시 후 다시 시도해주세요" "Please try again in a moment";
    /// The first request with this idempotency key is still running.
    REQUEST_IN_PROGRESS = error RequestInProgress "잠시 후 다시 시도해주세요" "Please try again in a moment";
    /// All seats are taken.
    SOLD_OUT = error SoldOut "정원이 마감되었습니다" "All seats are taken";
    /// The payment was cancelled or refunded before.
    ALREADY_CANCELLED = error AlreadyCancelled "이미 취소된 결제입니다" "This payment is cancelled already";
    /// The operator who has cancelled the registration has kept the money.
    REFUND_REFUSED = error RefundRefused
        "운영자가 환불하지 않기로 한 결제입니다" "An operator has decided not to give this payment back";
    /// A refund of the payment is under way.
    REFUND_IN_PROGRESS = error RefundInProgress
        "환불이 진행 중입니다. 결과를 확인해주세요" "A refund of this payment is under way. Look up its outcome";
    /// No gateway is configured for the payment method.
    PAYMENT_METHOD_UNAVAILABLE = error PaymentMethodUnavailable
        "지금은 사용할 수 없는 결제 수단입니다" "This payment method is not available now";
    /// Money may be moving for the order.
    ORDER_IN_PROGRESS = error OrderInProgress
        "결제가 진행 중인 주문입니다. 결과를 확인해주세요" "This order is being paid. Look up its outcome";
    /// The order has expired or was cancelled.
    ORDER_ENDED = error OrderEnded "만료되었거나 취소된 주문입니다" "This order has expired or was cancelled";
    /// The gateway refuses to move the money.
    PAYMENT_DECLINED = error PaymentDeclined
        "결제가 거절되었습니다. 다른 결제 수단으로 다시 시도해주세요" "The payment was declined. Please try another way to pay";
    /// A client sends the key of another payment window.
    PAYMENT_KEY_USED = error PaymentKeyUsed
        "다른 결제에 사용된 키입니다" "This key belongs to another payment";
    /// The order is paid, or the user has paid for the item before.
    ALREADY_PAID = error AlreadyPaid "이미 결제되었습니다" "It is paid already";
    /// An operator would do by hand what a gateway does.
    GATEWAY_DECIDES = error GatewayDecides
        "결제 대행사가 처리하는 주문입니다" "A gateway handles the payment of this order";
    /// An operator confirms two orders by one deposit.
    REFERENCE_USED = error ReferenceUsed
        "다른 주문의 입금에 사용된 거래 번호입니다" "This reference stands for the deposit of another order";
    /// An operator would note a refund that is not owed.
    NO_REFUND_DUE = error NoRefundDue "환불할 금액이 없습니다" "Nothing of this order is to be given back";
    /// The body is longer than the configured limit.
    PAYLOAD_TOO_LARGE = detail PayloadTooLarge "요청 본문이 너무 큽니다." "The body is too large.";
    /// The body is declared neither as JSON nor as a form.
    UNSUPPORTED_MEDIA_TYPE = detail UnsupportedMediaType
        "지원하지 않는 미디어 타입입니다. application/json으로 보내주세요."
        "Unsupported media type. Send application/json.";
    /// The body is declared neither as CSV nor as JSON Lines.
    UNSUPPORTED_FILE_TYPE = detail UnsupportedMediaType
        "지원하지 않는 파일입니다. text/csv 또는 application/x-ndjson으로, UTF-8로 보내주세요."
        "Unsupported file. Send text/csv or application/x-ndjson, in UTF-8.";
    /// The idempotency key belongs to a different request.
    IDEMPOTENCY_KEY_REUSED = error IdempotencyKeyReused
        "이미 다른 요청에 사용된 Idempotency-Key입니다" "This Idempotency-Key was used with another request";
    /// The path exists, but not with this method.
    METHOD_NOT_ALLOWED = detail MethodNotAllowed "허용되지 않는 메소드입니다." "Method not allowed.";
    /// A store is unavailable or too slow.
    UNAVAILABLE = detail Unavailable
        "잠시 후 다시 시도해주세요." "The service is unavailable. Please try again in a moment.";
    /// The database takes no changes, as a standby does.
    READ_ONLY = detail ReadOnly
        "지금은 조회만 가능합니다. 잠시 후 다시 시도해주세요."
        "Changes are not possible at the moment. Please try again in a moment.";
    /// Another transaction keeps locked what the request needs.
    LOCKED = detail Locked
        "다른 작업이 끝나기를 기다리는 중입니다. 잠시 후 다시 시도해주세요."
        "This is being changed at the moment. Please try again in a moment.";
    /// The rate limit of logins or sign-ups is exceeded.
    RATE_LIMITED = detail RateLimited
        "시도 횟수가 너무 많습니다. 잠시 후 다시 시도해주세요." "Too many attempts. Please try again later.";
    /// A defect of this service.
    INTERNAL = detail Internal "서버 오류가 발생했습니다." "The service failed.";
}

/// The text of a refund of more than what is left.
pub(super) const REFUND_TOO_LARGE: Text = Text::new(
    "환불 금액이 환불 가능한 금액보다 큽니다",
    "The refund is more than what is left of the payment",
);

/// The text of a refund that a gateway has refused.
pub(super) const REFUND_DECLINED: Text = Text::new(
    "결제 대행사가 환불을 거절했습니다",
    "The payment gateway has refused the refund",
);

/// The text of a registration in one step where that is closed.
pub(super) const PAYMENT_REQUIRED: Text = Text::new("사전 주문으로 결제해주세요", "Pay by a pre-order");

/// The text above the wrong rows of a request that has many.
pub(super) const INVALID_ROWS: Text = Text::new(
    "잘못된 행이 있어 아무것도 변경하지 않았습니다.",
    "Some rows are wrong, and nothing was done.",
);

/// The text above the wrong fields of a sign-up.
pub(super) const SIGNUP_FAILED: Text = Text::new("회원가입에 실패했습니다.", "The sign-up failed.");
