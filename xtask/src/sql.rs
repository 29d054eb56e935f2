//! Checks the SQL: its formatting, the locks of schema files, frozen files, and the functions in a migrated database.

mod frozen;
mod functions;
mod tools;

use std::{env, fs};

use anyhow::Context;

use crate::{
    progress::{self, Step},
    project, workspace,
};

pub use functions::check_functions;
use tools::Tools;

/// The SQL of this repository. Generated SQL and the dump of a Django database are not among it.
const SOURCES: [&str; 7] = [
    "migrations/amendments",
    "migrations/schema",
    "migrations/functions",
    "migrations/preflight",
    "migrations/audit",
    "bench/src",
    "xtask/src",
];

/// Checks the formatting of all SQL, and the locks that new tables and columns take.
///
/// `migrations/README.md` says how to change SQL.
#[derive(clap::Args)]
pub struct Arguments {
    /// Format all SQL, and write `migrations/expanded/` again.
    #[arg(long)]
    fix: bool,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.fix {
        let tools = Tools::find_or_install().await?;
        let step = Step::loud("Format the SQL");
        progress::run(tools.sqlfluff("fix")?.arg("--quiet").args(SOURCES)).await?;
        step.done("");
        let step = Step::loud("Write migrations/expanded/");
        let mut update = workspace::cargo("test")?;
        update.env("UPDATE_EXPANDED", "1");
        progress::run(update.args(["--package", "sugang-migrations", "--lib", "expanded"])).await?;
        step.done("");
    }
    check_files().await
}

/// Checks the files, without a database.
///
/// # Errors
/// When a rule is broken. Where a tool cannot be installed its check is left out, but not in CI (`CI` is set).
pub async fn check_files() -> anyhow::Result<()> {
    let step = Step::quiet("Released schema files");
    step.done(&frozen::check(&project::root()?).await?);
    let tools = match Tools::find_or_install().await {
        Ok(tools) => tools,
        Err(error) if env::var_os("CI").is_some() => return Err(error),
        Err(error) => {
            let reason = format!("{error:#}");
            let reason = reason.lines().next().unwrap_or_default();
            eprintln!("Left out: the format and the locks of SQL, whose tools cannot be installed ({reason})");
            return Ok(());
        }
    };
    let step = Step::loud("Format of the SQL (cargo xtask sql --fix corrects it)");
    progress::output(tools.sqlfluff("lint")?.args(SOURCES)).await?;
    step.done("");
    let step = Step::loud("Locks that the schema files take");
    check_locks(&tools).await?;
    step.done("");
    Ok(())
}

/// Lints each schema file by itself: in one file with all of them, every table would count as new and unlocked.
async fn check_locks(tools: &Tools) -> anyhow::Result<()> {
    let expanded = project::root()?.join("migrations/expanded/schema.sql");
    let expanded = fs::read_to_string(&expanded).with_context(|| format!("cannot read {}", expanded.display()))?;
    let folder = workspace::target()?.join("sql/schema");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for section in expanded.split("-- ===== ").skip(1) {
        let (name, sql) = section.split_once('\n').context("a section has a name")?;
        fs::write(folder.join(format!("{name}.sql")), sql)?;
    }
    progress::output(tools.squawk()?.arg(folder.join("*.sql"))).await?;
    Ok(())
}
