-- Attempts to log in and to sign up, counted here while Redis cannot count them.

-- Unlogged: what a crash empties was a few minutes of counting. Each row leaves once its windows have passed.
create unlogged table sugang.attempts (
    key text primary key, -- the action, what is counted, and a hash of it; never an e-mail address
    began_at timestamptz not null, -- when the current window began
    in_window bigint not null, -- attempts of the current window
    in_previous bigint not null, -- attempts of the window before
    expires_at timestamptz not null
);
create index attempts_expires on sugang.attempts (expires_at);
