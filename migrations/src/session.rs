//! The settings of a session that migrates or looks.

/// What every transaction of a migration, a preflight or an audit begins with.
///
/// Django's tables are in `public`; without the search path, a database user called `sugang` would get tables in our
/// schema. A function may be defined before another that it calls. A role's own timeouts suit requests, not this.
/// PostgreSQL notices within two seconds that the program was killed, and releases its locks in the middle of a statement;
/// it cannot on every system. Nothing that the role or the database sets may change how a text is read or written
/// down, what a search finds, or what a failed statement ends.
pub(crate) const SESSION: &str = "
    set local search_path = public;
    set local check_function_bodies = off;
    set local statement_timeout = 0;
    set local lock_timeout = 0;
    set local idle_in_transaction_session_timeout = 0;
    set local standard_conforming_strings = on;
    set local quote_all_identifiers = off;
    set local exit_on_error = off;
    set local gin_fuzzy_search_limit = 0;
    set local client_min_messages = warning;
    set local datestyle = 'ISO, YMD';
    set local timezone = 'UTC';
    set local jit = off;
    set local work_mem = '64MB';
    select set_config('client_connection_check_interval', '2s', true) where version() ~* 'linux|darwin|freebsd'";
