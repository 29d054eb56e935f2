//! Operators, made on the machine: the first one can be made in no other way.

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use tokio_postgres::{Client, Error, Row, error::SqlState, types::ToSql};

/// What to do with the operators of a database.
#[derive(Debug, Clone, Subcommand)]
pub enum OperatorCommand {
    /// Make the account with this e-mail address an operator. Doing so twice changes nothing.
    Add {
        /// The address that the account signed up with.
        email: String,
        /// Make it a superuser, which makes other operators over the API.
        #[arg(long)]
        superuser: bool,
    },
    /// Take the right of an operator, and of a superuser, from the account with this e-mail address.
    Remove {
        /// The address that the account signed up with.
        email: String,
    },
    /// List all operators.
    List,
}

const ADD: &str = "update users set is_staff = true, is_superuser = is_superuser or $2
                   where sugang.email_key(email) = sugang.email_key($1) returning *";
const REMOVE: &str = "update users set is_staff = false, is_superuser = false
                      where sugang.email_key(email) = sugang.email_key($1) returning *";
const LIST: &str = "select * from users where is_staff or is_superuser order by id";

/// Does it, and prints what became of the accounts.
///
/// # Errors
/// There is no such account, or the database cannot be reached or is not up to date.
pub async fn manage_operators(database_url: &str, command: &OperatorCommand) -> anyhow::Result<()> {
    let (client, connection) = sugang_connect::postgres::connect(database_url)
        .await
        .context("cannot reach the database to manage its operators")?;
    let driver = tokio::spawn(connection);
    let text = done(&client, command).await?;
    drop(client);
    driver.await??;
    sugang_output::print(&text).context("the result cannot be printed")
}

async fn done(client: &Client, command: &OperatorCommand) -> anyhow::Result<String> {
    match command {
        OperatorCommand::Add { email, superuser } => one(client, ADD, email, &[&email.trim(), superuser]).await,
        OperatorCommand::Remove { email } => one(client, REMOVE, email, &[&email.trim()]).await,
        OperatorCommand::List => {
            let rows = client.query(LIST, &[]).await.map_err(outdated)?;
            match rows.is_empty() {
                true => Ok("There is no operator. `operator add EMAIL` makes one\n".to_owned()),
                false => Ok(rows.iter().map(line).collect()),
            }
        }
    }
}

async fn one(
    client: &Client,
    statement: &str,
    email: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> anyhow::Result<String> {
    match client.query_opt(statement, parameters).await.map_err(outdated)? {
        Some(row) => Ok(line(&row)),
        None => bail!("there is no account with the e-mail address {email}: it has to sign up first"),
    }
}

/// One account, for people.
fn line(row: &Row) -> String {
    let is = |column: &str| row.get::<_, bool>(column);
    let right = match (is("is_staff"), is("is_superuser")) {
        (_, true) => "superuser",
        (true, false) => "operator",
        (false, false) => "no operator",
    };
    let inactive = if is("is_active") { "" } else { ", inactive" };
    let (id, email): (i64, String) = (row.get("id"), row.get("email"));
    format!(
        "{id}  {email}  {}  {right}{inactive}\n",
        row.get::<_, String>("username")
    )
}

fn outdated(error: Error) -> anyhow::Error {
    const UNKNOWN: [SqlState; 4] = [
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INVALID_SCHEMA_NAME,
    ];
    match error.code() {
        Some(code) if UNKNOWN.contains(code) => anyhow!("the database is not up to date: run `migrate` first"),
        _ => error.into(),
    }
}
