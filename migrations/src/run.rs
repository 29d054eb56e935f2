//! Brings a database up to date.
//!
//! Own code rather than a migration library: those that we know run each file once, in a transaction of its own. Here a
//! file runs once for each kind, functions are replaced when they change, and all of it is one transaction, so the
//! tables and the functions always belong together.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, bail, ensure};
use tokio_postgres::{Client, IsolationLevel, Transaction, error::SqlState};

use crate::{
    kind::{ItemKind, KINDS},
    preflight::{self, Blocked, Level, Preflight, Scope},
    progress::Progress,
    scripts::{self, Script},
    session::SESSION,
};

/// The row of `sugang.migrations` that holds the hash of all functions.
const FUNCTIONS: &str = "functions";

/// How to migrate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Runs the preflight and changes nothing.
    pub check_only: bool,
    /// Shows on standard error what takes long.
    pub progress: bool,
}

/// What a migration did.
#[derive(Debug, Clone)]
pub struct Migration {
    /// The names of the files that it applied, or with [`Options::check_only`] would apply.
    pub applied: Vec<String>,
    /// What the preflight found. There is none where no file of `schema/` is new.
    pub preflight: Option<Preflight>,
}

/// Brings a database up to date and returns the names of the files that this call applied.
///
/// The database may be empty, or one that the Django service made. A second call applies nothing.
///
/// # Errors
/// When the database cannot be reached, a file fails, or the database does not fit this version; [`Blocked`] when the
/// preflight finds what stands in the way. The database is then as it was before.
pub async fn run(database_url: &str) -> anyhow::Result<Vec<String>> {
    run_with(database_url, KINDS).await
}

/// Like [`run`], for other kinds: those of [`KINDS`] and more.
///
/// # Errors
/// Those of [`run`].
pub async fn run_with(database_url: &str, kinds: &[ItemKind]) -> anyhow::Result<Vec<String>> {
    Ok(migrate(database_url, kinds, Options::default()).await?.applied)
}

/// Like [`run_with`], with options, and with what the preflight found.
///
/// # Errors
/// Those of [`run`].
pub async fn migrate(database_url: &str, kinds: &[ItemKind], options: Options) -> anyhow::Result<Migration> {
    let (mut client, connection) = sugang_connect::postgres::connect(database_url)
        .await
        .context("cannot reach the database to migrate it")?;
    let driver = tokio::spawn(connection);
    let progress = Progress::start(options.progress);
    let migrated = migrate_client(&mut client, kinds, options, &progress).await;
    drop(progress);
    drop(client);
    let closed = driver.await;
    let migration = migrated?;
    closed??;
    Ok(migration)
}

async fn migrate_client(
    client: &mut Client,
    kinds: &[ItemKind],
    options: Options,
    progress: &Progress,
) -> anyhow::Result<Migration> {
    let error = match migrate_at_once(client, kinds, options, progress).await {
        Err(error) if !error.is::<Blocked>() && !options.check_only => error,
        outcome => return outcome,
    };
    // Rows that were written since the preflight may be the reason.
    match preflight::inspect(client, kinds, progress).await {
        Ok(preflight) if preflight.blocks() => Err(Blocked(preflight).into()),
        _ => Err(error.context("the migration failed; the database is as it was before")),
    }
}

async fn migrate_at_once(
    client: &mut Client,
    kinds: &[ItemKind],
    options: Options,
    progress: &Progress,
) -> anyhow::Result<Migration> {
    let transaction = client
        .build_transaction()
        // A statement must see what the previous holder of the lock has committed.
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await?;
    transaction.batch_execute(SESSION).await?;
    progress.step("wait until no other migration runs".to_owned());
    transaction
        .batch_execute("select pg_advisory_xact_lock(hashtextextended('sugang.migrations', 0))")
        .await?;

    let mut known = known(&transaction).await?;
    let mut pending = Vec::new();
    for script in scripts::schema(kinds) {
        if !is_known(&script, &mut known)? {
            pending.push(script);
        }
    }
    let functions = scripts::functions(kinds);
    let hash = scripts::hash(&functions);
    let current = known.remove(&(FUNCTIONS.to_owned(), String::new()));
    if let Some((script, kind)) = known.into_keys().next() {
        bail!("the database has {script} {kind}, which this version does not know: a newer version migrated it");
    }
    let mut applied: Vec<_> = pending.iter().map(Script::label).collect();
    let replaces_functions = !pending.is_empty() || current.as_ref() != Some(&hash);
    if replaces_functions {
        applied.push(FUNCTIONS.to_owned());
    }

    let scope = match pending.is_empty() && !options.check_only {
        true => Scope::Sequences,
        false => Scope::All,
    };
    let mut preflight = preflight::inspect_within(&transaction, kinds, scope, progress).await?;
    if preflight.blocks() {
        return Err(Blocked(preflight).into());
    }
    if !options.check_only {
        repair(&transaction, &preflight, progress).await?;
        preflight.repaired = true;
        create_migrations(&transaction).await?;
        for script in pending {
            progress.step(script.label());
            apply(&transaction, &script).await?;
        }
        if replaces_functions {
            progress.step("replace the functions".to_owned());
            replace_functions(&transaction, &functions).await?;
            record(&transaction, FUNCTIONS, "", &hash).await?;
            transaction.batch_execute("select sugang.record_objects()").await?;
        }
        progress.step("commit".to_owned());
        transaction.commit().await?;
    }
    let says_something = scope == Scope::All || !preflight.findings.is_empty();
    Ok(Migration {
        applied,
        preflight: says_something.then_some(preflight),
    })
}

/// Makes the repairs that the preflight has announced.
async fn repair(transaction: &Transaction<'_>, preflight: &Preflight, progress: &Progress) -> anyhow::Result<()> {
    for finding in preflight.of(Level::Repair) {
        progress.step(format!("repair: {}", finding.label()));
        transaction
            .batch_execute(&finding.remedy)
            .await
            .with_context(|| format!("the repair of {} failed", finding.label()))?;
    }
    Ok(())
}

/// The hash of everything that has been applied, by script and kind.
async fn known(transaction: &Transaction<'_>) -> anyhow::Result<HashMap<(String, String), String>> {
    let tables = "select to_regclass('public.sugang_migrations') is not null, to_regclass('sugang.migrations') is null";
    let tables = transaction.query_one(tables, &[]).await?;
    let (predecessor, new): (bool, bool) = (tables.get(0), tables.get(1));
    ensure!(
        !predecessor,
        "a version from before the first release made this database, and its tables have changed since: delete it. \
         `cargo xtask reset --delete-data` deletes that of `cargo xtask up`"
    );
    if new {
        return Ok(HashMap::new());
    }
    let rows = transaction
        .query("select script, kind, hash from sugang.migrations", &[])
        .await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}

async fn create_migrations(transaction: &Transaction<'_>) -> anyhow::Result<()> {
    let create = "create schema if not exists sugang;
                  create table if not exists sugang.migrations (
                      script     text not null,            -- a file of schema/, or 'functions' for all of functions/
                      kind       text not null default '', -- of a file that runs for each kind
                      hash       text not null,
                      applied_at timestamptz not null default now(),
                      primary key (script, kind)
                  )";
    Ok(transaction.batch_execute(create).await?)
}

async fn record(transaction: &Transaction<'_>, script: &str, kind: &str, hash: &str) -> anyhow::Result<()> {
    let record = "insert into sugang.migrations (script, kind, hash) values ($1, $2, $3)
                  on conflict (script, kind) do update set hash = excluded.hash, applied_at = excluded.applied_at";
    transaction.execute(record, &[&script, &kind, &hash]).await?;
    Ok(())
}

/// Whether a file of `schema/` has been applied. It is removed from those that are known.
fn is_known(script: &Script, known: &mut HashMap<(String, String), String>) -> anyhow::Result<bool> {
    let Some(before) = known.remove(&(script.name.clone(), script.kind.to_owned())) else {
        return Ok(false);
    };
    ensure!(
        before == scripts::hash([script]),
        "schema/{}.sql has changed since it was applied to this database: add a new file instead",
        script.name
    );
    Ok(true)
}

/// Runs a file of `schema/`.
async fn apply(transaction: &Transaction<'_>, script: &Script) -> anyhow::Result<()> {
    transaction
        .batch_execute(&script.sql)
        .await
        .with_context(|| script.label())?;
    if let Some(amendment) = scripts::amendment(&script.name) {
        let label = || format!("the amendment of {}", script.label());
        transaction.batch_execute(amendment).await.with_context(label)?;
    }
    record(transaction, &script.name, script.kind, &scripts::hash([script])).await
}

/// Replaces all functions and triggers, and drops those that no file defines any more.
async fn replace_functions(transaction: &Transaction<'_>, scripts: &[Script]) -> anyhow::Result<()> {
    let before: HashSet<_> = objects(transaction)
        .await?
        .into_iter()
        .map(|object| object.version)
        .collect();
    for script in scripts {
        replace(transaction, script).await.with_context(|| script.label())?;
    }
    for object in objects(transaction).await? {
        // `create or replace` writes a new version of the row, even when nothing changes.
        if before.contains(&object.version) {
            transaction
                .batch_execute(&object.removal)
                .await
                .with_context(|| object.removal.clone())?;
        }
    }
    Ok(())
}

/// Runs a file of `functions/`.
///
/// PostgreSQL replaces a function only while its parameter names and its result stay the same. Otherwise the functions
/// of the file are dropped first. They are not dropped in any case, because calls in other sessions survive a
/// replacement, and because dropping a trigger locks its table against readers.
async fn replace(transaction: &Transaction<'_>, script: &Script) -> anyhow::Result<()> {
    transaction.batch_execute("savepoint replace_functions").await?;
    match transaction.batch_execute(&script.sql).await {
        Err(error) if error.code() == Some(&SqlState::INVALID_FUNCTION_DEFINITION) => {
            transaction
                .batch_execute("rollback to savepoint replace_functions")
                .await?;
            let routines = script.routines();
            for object in objects(transaction).await? {
                if routines.contains(&object.routine.as_str()) {
                    transaction.batch_execute(&object.removal).await?;
                }
            }
            transaction.batch_execute(&script.sql).await?;
        }
        outcome => outcome?,
    }
    Ok(transaction.batch_execute("release savepoint replace_functions").await?)
}

/// A function of the schema `sugang`, or a trigger that calls one.
struct Object {
    /// Identifies this definition of the object.
    version: String,
    /// The name of the function.
    routine: String,
    /// The statement that drops the object.
    removal: String,
}

/// All objects, triggers before the functions that they call. Extensions keep theirs, and so do constraint triggers,
/// which PostgreSQL cannot replace: the first run of their file makes them.
async fn objects(transaction: &Transaction<'_>) -> anyhow::Result<Vec<Object>> {
    let objects = "
        select 'trigger ' || t.oid || ' ' || t.xmin, p.proname::text,
               format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass)
        from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where p.pronamespace = 'sugang'::regnamespace and not t.tgisinternal and t.tgconstraint = 0
        union all
        select 'routine ' || oid || ' ' || xmin, proname::text, format('drop routine %s', oid::regprocedure)
        from pg_proc
        where pronamespace = 'sugang'::regnamespace
          and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
        order by 1 desc";
    let rows = transaction.query(objects, &[]).await?;
    let object = |row: &tokio_postgres::Row| Object {
        version: row.get(0),
        routine: row.get(1),
        removal: row.get(2),
    };
    Ok(rows.iter().map(object).collect())
}
