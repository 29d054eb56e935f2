//! The role that serves requests: it gets the rights that they need, and no more.

use anyhow::{Context, anyhow, bail, ensure};
use tokio_postgres::{Transaction, error::SqlState};

/// A role that serves requests.
#[derive(Clone)]
pub struct ServiceRole {
    /// Its name.
    pub name: String,
    /// With a password, the role is created where it is missing, and gets this password otherwise.
    pub password: Option<String>,
}

/// Without the password.
impl std::fmt::Debug for ServiceRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ServiceRole").field(&self.name).finish()
    }
}

/// The roles that have these rights from an earlier migration: those that may call `ready` by name.
pub(crate) async fn known(transaction: &Transaction<'_>) -> anyhow::Result<Vec<String>> {
    let known = "select distinct rolname::text from pg_proc
                 cross join lateral aclexplode(proacl) acl
                 join pg_roles on pg_roles.oid = acl.grantee
                 where pronamespace = to_regnamespace('sugang') and proname = 'ready' and acl.grantee <> proowner";
    let rows = transaction.query(known, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Renews the rights of these roles, since functions and tables may be new.
pub(crate) async fn renew(transaction: &Transaction<'_>, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        grant_service(transaction, name).await?;
    }
    Ok(())
}

/// Grants a role its rights; with a password, it is created first where it is missing.
pub(crate) async fn grant(transaction: &Transaction<'_>, role: &ServiceRole) -> anyhow::Result<()> {
    create(transaction, role).await?;
    let name = &role.name;
    grant_service(transaction, name).await?;
    transaction.execute("select sugang.grant_connect($1)", &[name]).await?;
    let unlimited = transaction
        .query_one("select sugang.role_is_unlimited($1)", &[name])
        .await?;
    if let Some(reason) = unlimited.get::<_, Option<String>>(0) {
        bail!(
            "the role {name} could change the history of payments and registrations whatever it is granted: {reason}. \
             Use another role for requests"
        );
    }
    Ok(())
}

async fn grant_service(transaction: &Transaction<'_>, name: &str) -> anyhow::Result<()> {
    let granted = transaction.execute("select sugang.grant_service($1)", &[&name]).await;
    granted.with_context(|| format!("the role {name} cannot be granted its rights"))?;
    Ok(())
}

async fn create(transaction: &Transaction<'_>, role: &ServiceRole) -> anyhow::Result<()> {
    let quoted: String = transaction
        .query_one("select quote_ident($1)", &[&role.name])
        .await?
        .get(0);
    let found = transaction
        .query_opt("select from pg_roles where rolname = $1", &[&role.name])
        .await?;
    ensure!(
        found.is_some() || role.password.is_some(),
        "there is no role {quoted}: `create role {quoted} login password '…'` makes it, and so does this command if \
         SUGANG_ROLE_PASSWORD is set"
    );
    let Some(password) = &role.password else { return Ok(()) };
    // PostgreSQL writes statements into its log. This is all that it stores of a password.
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let verb = if found.is_some() { "alter" } else { "create" };
    let statement = format!("{verb} role {quoted} login password '{verifier}'");
    match transaction.batch_execute(&statement).await {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Err(anyhow!(
            "this role may not {verb} the role {quoted}: run `{verb} role {quoted} login password '…'` as one that may, \
             and this command without SUGANG_ROLE_PASSWORD"
        )),
        outcome => Ok(outcome?),
    }
}
