-- What a used refresh token was exchanged for, so that the same exchange can be answered again; and what the schema
-- consists of, so that its parts can be missed.

alter table sugang.revoked_tokens
    add column used_at timestamptz, -- of a token that rotation has used
    add column family text, -- of such a token
    add column successor text, -- the id (`jti`) of the token that replaced it
    add column successor_issued_at bigint, -- the claims of that token, in seconds since 1970
    add column successor_expires_at bigint;
-- squawk-ignore require-concurrent-index-creation
create index revoked_tokens_family on sugang.revoked_tokens (family) where family is not null;

-- Every function, table, column and guard of the schema as migrated. Written after each migration.
create table sugang.schema_objects (
    kind text not null, -- 'function', 'table', 'column', 'trigger', 'constraint' or 'index'
    relation text not null default '', -- the table that it belongs to
    name text not null,
    primary key (kind, relation, name)
);
