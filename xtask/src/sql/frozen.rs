//! Released schema files are frozen: databases have run them, and nothing runs them again.

use std::path::Path;

use anyhow::bail;
use tokio::process::Command;

use crate::progress;

const SCHEMA: &str = "migrations/schema";

/// Compares the schema files with those of the latest release, and returns what the comparison was with.
///
/// # Errors
/// When a released file was changed, renamed or deleted.
pub(super) async fn check(root: &Path) -> anyhow::Result<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(root).args(arguments);
        command
    };
    let tags = ["tag", "--list", "v[0-9]*", "--sort=-version:refname"];
    let Ok(tags) = progress::output(&mut git(&tags)).await else {
        return Ok("left out, since this is not a git checkout".to_owned());
    };
    let Some(release) = tags.lines().next() else {
        return Ok("none yet".to_owned());
    };
    let changes = [
        "diff",
        "--no-renames",
        "--name-status",
        "--diff-filter=a",
        release,
        "--",
        SCHEMA,
    ];
    let changes = progress::output(&mut git(&changes)).await?;
    if !changes.is_empty() {
        bail!("{release} has these files, and databases have run them; add a new file instead:\n{changes}");
    }
    Ok(format!("as in {release}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_released_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let schema = root.join(SCHEMA);
        fs::create_dir_all(&schema).unwrap();
        let git = async |arguments: &str| {
            let mut command = Command::new("git");
            command
                .arg("-C")
                .arg(root)
                .args(["-c", "user.name=t", "-c", "user.email=t@example.com"]);
            progress::output(command.args(arguments.split(' '))).await.unwrap();
        };
        let commit = async || {
            git("add --all").await;
            git("commit --quiet --message change").await;
        };
        assert_eq!(check(root).await.unwrap(), "left out, since this is not a git checkout");

        git("init --quiet").await;
        fs::write(schema.join("V01__a.sql"), "create table a ();").unwrap();
        commit().await;
        fs::write(schema.join("V01__a.sql"), "create table a (id bigint);").unwrap();
        assert_eq!(check(root).await.unwrap(), "none yet");

        commit().await;
        git("tag v0.9.0").await;
        fs::write(schema.join("V02__b.sql"), "create table b ();").unwrap();
        commit().await;
        git("tag v0.10.0").await;
        fs::write(schema.join("V03__c.sql"), "create table c ();").unwrap();
        assert_eq!(check(root).await.unwrap(), "as in v0.10.0");

        fs::write(schema.join("V02__b.sql"), "create table b (id bigint);").unwrap();
        fs::rename(schema.join("V01__a.sql"), schema.join("V01__z.sql")).unwrap();
        let error = check(root).await.unwrap_err().to_string();
        assert!(error.contains("D\tmigrations/schema/V01__a.sql"), "{error}");
        assert!(error.contains("M\tmigrations/schema/V02__b.sql"), "{error}");
        assert!(!error.contains("V03"), "{error}");
    }
}
