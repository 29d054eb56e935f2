//! Brings a database up to date.
//!
//! Own code rather than a migration library: those that we know run each file once, in a transaction of its own. Here a
//! file runs once for each kind, functions are replaced when they change, and all of it is one transaction, so the
//! tables and the functions always belong together.

use std::{
    collections::HashSet,
    fmt::{Display, Formatter},
    time::Instant,
};

use anyhow::Context;
use tokio_postgres::{Client, IsolationLevel, Transaction, error::SqlState};

use crate::{
    history::{self, Newer, Plan},
    kind::{ItemKind, KINDS},
    locks::{LockWait, Locked, is_contention, lock_tables},
    preflight::{self, Blocked, Level, Preflight, Scope},
    progress::Progress,
    rehearsal::{RehearsalFinding, rehearse},
    role::{self, ServiceRole},
    scripts::{self, Script},
    session::SESSION,
};

/// How to migrate.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Runs the preflight and changes nothing.
    pub check_only: bool,
    /// Shows on standard error what takes long.
    pub progress: bool,
    /// How it waits for tables that others have locked.
    pub wait: LockWait,
    /// The role that is to serve requests, if it is not the one that migrates. Roles of earlier calls are remembered.
    pub service_role: Option<ServiceRole>,
    /// Leaves requests unrehearsed at the end.
    pub skips_rehearsal: bool,
    /// Stops after the file of `schema/` with this number, and leaves the functions as they are: what an earlier version
    /// has left. For tests.
    pub until: Option<u64>,
}

/// What a migration did.
#[derive(Debug, Clone)]
pub struct Migration {
    /// The names of the files that it applied, or with [`Options::check_only`] would apply.
    pub applied: Vec<String>,
    /// What the preflight found. There is none where no file of `schema/` is new.
    pub preflight: Option<Preflight>,
    /// Why it changed nothing but rights: a newer version has migrated the database.
    pub newer: Option<Newer>,
    /// What requests would fail of, or why they were not rehearsed.
    pub rehearsal: Vec<RehearsalFinding>,
}

/// The error of a migration that is done, and after which requests would fail.
#[derive(Debug)]
pub struct Unserved(pub Migration);

impl std::error::Error for Unserved {}

impl Display for Unserved {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let failures: Vec<_> = self.0.rehearsal.iter().filter(|finding| finding.is_failure).collect();
        let findings = if failures.len() == 1 { "finding" } else { "findings" };
        write!(
            f,
            "the migration is done, but requests would fail ({} {findings} of the rehearsal): ",
            failures.len()
        )?;
        for (number, failure) in failures.iter().enumerate() {
            let separator = if number > 0 { "; " } else { "" };
            write!(f, "{separator}{}", failure.finding)?;
        }
        Ok(())
    }
}

/// Brings a database up to date and returns the names of the files that this call applied.
///
/// The database may be empty, or one that the Django service made. A second call applies nothing.
///
/// # Errors
/// When the database cannot be reached, a file fails, or the database does not fit this version; [`Blocked`] when the
/// preflight finds what stands in the way. The database is then as it was before. [`Unserved`](crate::Unserved) when it
/// is migrated, and requests would fail.
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
    let migrated = match migrate_client(&mut client, kinds, &options, &progress).await {
        Ok(migration) => rehearsed(&mut client, &options, &progress, migration).await,
        failure => failure,
    };
    drop(progress);
    drop(client);
    let closed = driver.await;
    let migration = migrated?;
    closed??;
    Ok(migration)
}

/// Rehearses requests on a database that is up to date.
async fn rehearsed(
    client: &mut Client,
    options: &Options,
    progress: &Progress,
    mut migration: Migration,
) -> anyhow::Result<Migration> {
    let is_current = migration.applied.is_empty() || !options.check_only;
    if options.skips_rehearsal || migration.newer.is_some() || options.until.is_some() || !is_current {
        return Ok(migration);
    }
    progress.step("rehearse requests".to_owned());
    // A check grants nothing, so a role that is new has no rights yet.
    let role = options.service_role.as_ref().filter(|_| !options.check_only);
    migration.rehearsal = rehearse(client, role.map(|role| role.name.as_str()), &options.wait)
        .await
        .context("the migration is done, but requests could not be rehearsed")?;
    if migration.rehearsal.iter().any(|finding| finding.is_failure) {
        return Err(Unserved(migration).into());
    }
    Ok(migration)
}

async fn migrate_client(
    client: &mut Client,
    kinds: &[ItemKind],
    options: &Options,
    progress: &Progress,
) -> anyhow::Result<Migration> {
    let started = Instant::now();
    let mut attempt = 0;
    let error = loop {
        let error = match migrate_at_once(client, kinds, options, progress).await {
            Err(error) if !error.is::<Blocked>() && !options.check_only => error,
            outcome => return outcome,
        };
        // A lock that was not foreseen; the transaction has ended.
        let again = error
            .chain()
            .any(|cause| cause.downcast_ref().is_some_and(is_contention));
        if !again || started.elapsed() >= options.wait.limit {
            break error;
        }
        progress.say(&format!("begin again: {}", error.root_cause()));
        tokio::time::sleep(options.wait.pause(attempt)).await;
        attempt += 1;
    };
    if error.is::<Locked>() {
        return Err(error);
    }
    // Rows that were written since the preflight may be the reason.
    match preflight::inspect(client, kinds, progress).await {
        Ok(preflight) if preflight.blocks() => Err(Blocked(preflight).into()),
        _ => Err(error.context("the migration failed; the database is as it was before")),
    }
}

async fn migrate_at_once(
    client: &mut Client,
    kinds: &[ItemKind],
    options: &Options,
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

    // A standby gets all of this from its primary.
    let read_only = "select current_setting('transaction_read_only') = 'on'";
    let read_only: bool = transaction.query_one(read_only, &[]).await?.get(0);
    let mut plan = Plan::make(&transaction, kinds).await?;
    if let Some(until) = options.until {
        plan.stop_after(until);
    }
    let mut migration = Migration {
        applied: plan.labels(),
        preflight: None,
        newer: plan.newer.take(),
        rehearsal: Vec::new(),
    };
    if migration.newer.is_none() {
        let scope = match (options.check_only || !plan.pending.is_empty(), plan.replaces_functions) {
            (true, _) => Scope::All,
            (false, true) => Scope::Functions,
            (false, false) => Scope::Current,
        };
        let preflight = preflight::inspect_within(&transaction, kinds, scope, progress).await?;
        if preflight.blocks() {
            return Err(Blocked(preflight).into());
        }
        let says_something = scope == Scope::All || !preflight.findings.is_empty();
        migration.preflight = says_something.then_some(preflight);
        if !options.check_only && !read_only {
            change(&transaction, kinds, &plan, options, &mut migration, progress).await?;
        }
    }
    if !options.check_only {
        if let Some(role) = options.service_role.as_ref().filter(|_| !read_only) {
            progress.step(format!("the role {}", role.name));
            role::grant(&transaction, role).await?;
        }
        progress.step("commit".to_owned());
        transaction.commit().await?;
    }
    Ok(migration)
}

/// Makes all changes.
async fn change(
    transaction: &Transaction<'_>,
    kinds: &[ItemKind],
    plan: &Plan,
    options: &Options,
    migration: &mut Migration,
    progress: &Progress,
) -> anyhow::Result<()> {
    if !plan.is_empty() {
        lock_tables(transaction, kinds, &plan.pending, options.wait, progress).await?;
        for amendment in &plan.amendments {
            transaction
                .batch_execute(amendment)
                .await
                .context("an amendment failed")?;
        }
    }
    if let Some(preflight) = &mut migration.preflight {
        repair(transaction, preflight, progress).await?;
        preflight.repaired = true;
    }
    if plan.is_empty() {
        transaction.batch_execute("select sugang.renew_search_paths()").await?;
        return Ok(());
    }
    history::create(transaction).await?;
    for script in &plan.pending {
        progress.step(script.label());
        apply(transaction, script).await?;
    }
    if plan.replaces_functions {
        progress.step("replace the functions".to_owned());
        let roles = role::known(transaction).await?;
        replace_functions(transaction, &plan.functions).await?;
        history::record_functions(transaction, &plan.functions).await?;
        transaction
            .batch_execute("select sugang.secure_functions(); select sugang.record_objects()")
            .await?;
        role::renew(transaction, &roles).await?;
    }
    Ok(())
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
    history::record(transaction, script).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_after_which_requests_fail_says_so() {
        let finding = |finding: &str, is_failure| RehearsalFinding {
            finding: finding.to_owned(),
            hint: String::new(),
            is_failure,
        };
        let error = Unserved(Migration {
            applied: Vec::new(),
            preflight: None,
            newer: None,
            rehearsal: vec![finding("not rehearsed", false), finding("sign-up fails: 23514", true)],
        });
        assert_eq!(
            error.to_string(),
            "the migration is done, but requests would fail (1 finding of the rehearsal): sign-up fails: 23514"
        );
    }
}
