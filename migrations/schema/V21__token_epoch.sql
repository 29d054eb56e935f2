-- Ends all tokens of a user at once: those that were issued before this moment are no longer valid. In microseconds
-- since 1970; null if they never ended. In the row that each request reads anyway, so that comparing costs no further
-- look-up. Nullable and without a default, for the sake of programs that insert whole rows.
alter table users add column token_epoch bigint;
