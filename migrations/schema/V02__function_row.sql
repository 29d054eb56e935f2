-- The single row that every function returns to the API.

-- Its words stand in functions/outcomes.sql. A domain is text on the wire.
create domain sugang.outcome as text;

create type sugang.function_row as (
    outcome sugang.outcome, -- 'ok', or the reason for a refusal; the API turns it into a status and a message
    body text, -- JSON: the response itself, or values for a message
    count bigint, -- lists: the number of entries on all pages
    page bigint, -- lists: the page returned
    pages bigint, -- lists: the number of pages
    replayed boolean -- whether this is the stored result of an earlier request with the same idempotency key
);
