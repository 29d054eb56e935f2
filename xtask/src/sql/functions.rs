//! Checks every function of a migrated database with plpgsql_check.

use anyhow::{Context, bail};
use sugang_bench::postgres::connect;
use tokio_postgres::Client;

use crate::{
    apt,
    progress::Step,
    stores::{RunningStores, Source},
};

/// Defines the functions in SQL once more, since PostgreSQL does not check their bodies while it migrates.
const REDEFINE: &str = "
do $$
declare
    definition text;
begin
    for definition in
        select pg_get_functiondef(oid) from pg_proc
        where pronamespace = 'sugang'::regnamespace
          and prolang = (select oid from pg_language where lanname = 'sql')
    loop
        execute definition;
    end loop;
end $$";
/// Errors and warnings about the functions in PL/pgSQL, those of triggers with each of their tables.
const FINDINGS: &str = "
select concat_ws(' ', p.oid::regprocedure::text, 'on ' || t.tgrelid::regclass, 'line ' || c.lineno) || ': ' || c.level
       || ': ' || concat_ws('; ', c.message, c.detail, c.hint, c.query)
from pg_proc p
left join pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal
cross join lateral plpgsql_check_function_tb(p.oid::regprocedure, coalesce(t.tgrelid, 0)::regclass,
    oldtable => t.tgoldtable, newtable => t.tgnewtable, security_warnings => true) c
where p.pronamespace = 'sugang'::regnamespace
  and p.prolang = (select oid from pg_language where lanname = 'plpgsql')
order by 1";

/// Migrates a database of its own on these stores, and checks the functions there.
///
/// # Errors
/// When a check finds something. Where the server lacks the extension and it cannot be installed, the check is left
/// out.
pub async fn check_functions(stores: &RunningStores) -> anyhow::Result<()> {
    let step = Step::quiet("SQL functions (plpgsql_check)");
    let server = connect(&stores.database_url).await?;
    if !install(stores, &server).await? {
        step.done("left out, since the server does not have the extension");
        return Ok(());
    }
    let name = format!("sugang_sql_{}", std::process::id());
    let mut url: url::Url = stores.database_url.parse()?;
    url.set_path(&name);
    server.batch_execute(&format!("create database {name}")).await?;
    let findings = findings(url.as_str()).await;
    server
        .batch_execute(&format!("drop database {name} with (force)"))
        .await?;
    let (functions, findings) = findings?;
    if !findings.is_empty() {
        bail!("plpgsql_check found:\n{}", findings.join("\n"));
    }
    step.done(&format!("{functions} functions"));
    Ok(())
}

/// Returns whether the server has the extension, after installing it for a server of this machine.
async fn install(stores: &RunningStores, server: &Client) -> anyhow::Result<bool> {
    let available = "select exists (select from pg_available_extensions where name = 'plpgsql_check')";
    let is_available = async || anyhow::Ok(server.query_one(available, &[]).await?.get::<_, bool>(0));
    if is_available().await? || stores.from != Source::Local {
        return is_available().await;
    }
    let version = "select current_setting('server_version_num')::integer / 10000";
    let version: i32 = server.query_one(version, &[]).await?.get(0);
    let package = format!("postgresql-{version}-plpgsql-check");
    if let Err(error) = apt::install(&[&package]).await {
        eprintln!("cannot install {package}: {error:#}");
    }
    is_available().await
}

/// The number of functions of a migrated database, and what is wrong with them.
async fn findings(database_url: &str) -> anyhow::Result<(i64, Vec<String>)> {
    sugang_migrations::run(database_url).await?;
    let database = connect(database_url).await?;
    database
        .batch_execute("create extension plpgsql_check schema public; set search_path = public")
        .await?;
    let functions = "select count(*) from pg_proc where pronamespace = 'sugang'::regnamespace";
    let functions = database.query_one(functions, &[]).await?.get(0);
    database
        .batch_execute(REDEFINE)
        .await
        .context("an SQL function is wrong")?;
    let findings = database.query(FINDINGS, &[]).await?;
    Ok((functions, findings.iter().map(|row| row.get(0)).collect()))
}
