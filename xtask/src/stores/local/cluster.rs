//! A new PostgreSQL cluster.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{account::Account, folder, launch::Launch};

/// Runs `initdb` in the folder `data`; its superuser is `sugang` with this password.
pub fn initialize(initdb: &Path, data: &Path, password: &str, account: Option<&Account>) -> anyhow::Result<()> {
    folder::make(data, account)?;
    let password_file = write_password(data, password, account)?;
    let locale = match cfg!(target_os = "macos") {
        true => "en_US.UTF-8",
        false => "C.UTF-8",
    };
    let mut initdb = Launch::new(initdb.to_owned(), account.cloned(), data.with_extension("initdb.log"));
    initdb.arguments([
        "-D",
        &data.to_string_lossy(),
        "--username=sugang",
        "--auth=scram-sha-256",
    ]);
    initdb.arguments([format!("--pwfile={}", password_file.display())]);
    initdb.arguments(["--encoding=UTF8", &format!("--locale={locale}"), "--no-sync"]);
    let status = initdb.command()?.status();
    fs::remove_file(&password_file)?;
    if !status.context("cannot start initdb")?.success() {
        let complaint = initdb.end_of_log();
        fs::remove_dir_all(data)?;
        bail!("initdb failed\n{complaint}");
    }
    Ok(())
}

fn write_password(data: &Path, password: &str, account: Option<&Account>) -> anyhow::Result<PathBuf> {
    let file = data.with_extension("password");
    fs::write(&file, password)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    if let Some(account) = account {
        account.own(&file)?;
    }
    Ok(file)
}
