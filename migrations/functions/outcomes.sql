-- Every word that a function may return as its outcome. The API turns each into a status and a message.
alter domain sugang.outcome drop constraint if exists known;
alter domain sugang.outcome add constraint known check (value in (
    'ok', 'not_ready',
    -- the user
    'user_not_found', 'user_inactive', 'login_ended', 'taken', 'unknown', 'token_ended', 'token_reused',
    'rate_limited',
    -- the idempotency key
    'in_progress', 'key_reused',
    -- lists and details
    'invalid_page', 'not_found', 'counting',
    -- registering and completing
    'already_registered', 'invalid_fields', 'not_open', 'amount_mismatch', 'amount_out_of_bounds', 'sold_out',
    'not_registered', 'already_completed', 'cancelled',
    -- orders
    'payment_required', 'held_before', 'send', 'accepted', 'order_in_progress', 'order_ended', 'already_paid',
    'gateway_decides', 'not_opened', 'no_refund_due', 'method_unavailable', 'key_used',
    -- events of gateways
    'repeated', 'ignored', 'forged',
    -- cancelling a payment
    'not_owner', 'already_cancelled', 'item_completed', 'refund_refused', 'refund_in_progress', 'refund_declined',
    'account_required',
    -- what operators do
    'changed', 'item_in_use', 'not_superuser', 'target_is_superuser', 'refund_too_large', 'own_account', 'invalid_rows',
    'busy', 'too_many_webhooks'
));
