//! The lock on a checkout's own stores, and the record that lets other commands use them while they run.
//!
//! Three files in `.sugang/`, all private to their owner:
//! - `lock` is locked by the supervisor for as long as it has the stores. The lock ends with the process, however it
//!   ends.
//! - `stores.json` says where the stores are. It means something only while `lock` is locked; otherwise it is stale.
//! - `users` is locked, shared, by every other command that uses the stores. The supervisor waits for them.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{choice::Access, probe::START_LIMIT, running::RunningStores};
use crate::local_state::LocalState;

const POLL: Duration = Duration::from_millis(50);

/// What `stores.json` holds.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    pub stores: RunningStores,
    /// The supervisor's process.
    pub supervisor: u32,
    /// The process of the command that started the supervisor.
    pub command: u32,
    /// That command as it is typed.
    pub started_by: String,
}

/// The lock, held by this process until it is dropped.
pub struct Lock {
    _file: File,
    folder: PathBuf,
}

/// Stores that another command keeps running, and waits for this one before it stops them.
pub struct Borrowed {
    pub record: Record,
    _user: File,
}

/// What a command gets of the checkout's own stores.
pub enum Claim {
    /// The right to start them.
    Start(Lock),
    /// The running ones.
    Use(Borrowed),
}

impl Lock {
    /// Takes the lock; `None` while another process holds it.
    pub fn try_take() -> anyhow::Result<Option<Self>> {
        Self::try_take_in(LocalState::make_folder()?)
    }

    fn try_take_in(folder: PathBuf) -> anyhow::Result<Option<Self>> {
        let file = open(&folder.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file, folder })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock .sugang/"),
        }
    }

    /// Takes the lock, or says which command holds it and how to stop that.
    pub fn take() -> anyhow::Result<Self> {
        match Self::try_take()? {
            Some(lock) => Ok(lock),
            None => bail!(occupied()?),
        }
    }

    /// The record of a supervisor that was killed: it holds the lock no more, and never removed its record.
    pub fn stale_record(&self) -> anyhow::Result<Option<Record>> {
        read_record(&self.folder)
    }

    /// Lets other commands use the stores.
    pub fn publish(&self, record: &Record) -> anyhow::Result<()> {
        // Readers must never see half a record.
        let new = self.folder.join("stores.json.new");
        remove(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(serde_json::to_string_pretty(record)?.as_bytes())?;
        Ok(fs::rename(&new, self.folder.join("stores.json"))?)
    }

    /// Lets no further command use the stores.
    pub fn withdraw(&self) -> anyhow::Result<()> {
        remove(&self.folder.join("stores.json"))
    }

    /// Waits until no other command uses the stores. Call [`Lock::withdraw`] first.
    pub async fn wait_for_users(&self) -> anyhow::Result<()> {
        let users = open(&self.folder.join("users"))?;
        let mut is_told = false;
        loop {
            match users.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => {
                    if !is_told {
                        // The terminal may be gone with the command that started this process.
                        let message = "Another command still uses the stores. Waiting for it; Ctrl-C stops them now.";
                        writeln!(std::io::stderr(), "{message}").ok();
                        is_told = true;
                    }
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            sleep(POLL).await;
        }
    }
}

/// Claims the checkout's own stores: to start them, or (for [`Access::Shared`]) to use them where they run.
///
/// Stores that are being started or stopped by another command are waited for.
pub async fn claim(access: Access) -> anyhow::Result<Claim> {
    if access != Access::Shared {
        return Lock::take().map(Claim::Start);
    }
    let begun = Instant::now();
    loop {
        if let Some(lock) = Lock::try_take()? {
            return Ok(Claim::Start(lock));
        }
        if let Some(borrowed) = borrow(&LocalState::folder()?)? {
            return Ok(Claim::Use(borrowed));
        }
        if begun.elapsed() > START_LIMIT {
            bail!(occupied()?);
        }
        sleep(POLL).await;
    }
}

/// The record of the stores that run, without using them.
pub fn running_record() -> anyhow::Result<Option<Record>> {
    let record = read_record(&LocalState::folder()?)?;
    Ok(record.filter(|record| is_running(record.supervisor)))
}

/// Announces this process as a user first, then reads the record: a supervisor that withdraws it afterwards waits.
fn borrow(folder: &Path) -> anyhow::Result<Option<Borrowed>> {
    let user = open(&folder.join("users"))?;
    match user.try_lock_shared() {
        Ok(()) => {}
        // The supervisor stops the stores at this moment.
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    // A record that a killed supervisor left is stale, even while another supervisor starts.
    let record = read_record(folder)?.filter(|record| is_running(record.supervisor));
    Ok(record.map(|record| Borrowed { record, _user: user }))
}

/// Whether a process with this id runs, under any user.
fn is_running(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None) != Err(Errno::ESRCH)
}

fn occupied() -> anyhow::Result<String> {
    Ok(match running_record()? {
        Some(record) => format!(
            "this checkout's stores run already, for `{}` (process {}): stop that first, with Ctrl-C or `cargo xtask down`",
            record.started_by, record.command
        ),
        None => "another command starts or stops this checkout's stores at this moment: try again, or stop it with \
                 `cargo xtask down`"
            .to_owned(),
    })
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

fn read_record(folder: &Path) -> anyhow::Result<Option<Record>> {
    let path = folder.join("stores.json");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let record = serde_json::from_str(&text);
            Ok(Some(record.with_context(|| format!("{} is damaged", path.display()))?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{
        super::{choice::Source, running::Processes},
        *,
    };

    fn record() -> Record {
        Record {
            stores: RunningStores {
                database_url: "postgres://sugang:secret@127.0.0.1:1/sugang".into(),
                redis_url: "redis://:secret@127.0.0.1:2/0".into(),
                from: Source::Local,
                description: "a test's".into(),
                processes: Processes::default(),
            },
            supervisor: std::process::id(),
            command: std::process::id(),
            started_by: "cargo xtask up".into(),
        }
    }

    fn lock(folder: &tempfile::TempDir) -> anyhow::Result<Option<Lock>> {
        Lock::try_take_in(folder.path().to_owned())
    }

    /// Takes a lock that was just released. A program that another test starts at that moment has a copy of the lock's file
    /// until it executes, and so may hold the lock a little longer.
    fn lock_again(folder: &tempfile::TempDir) -> anyhow::Result<Lock> {
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        loop {
            match lock(folder)? {
                Some(lock) => return Ok(lock),
                None if std::time::Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                None => anyhow::bail!("the lock did not end with its process"),
            }
        }
    }

    #[test]
    fn one_process_starts_the_stores() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let first = lock(&folder)?;
        assert!(first.is_some());
        assert!(lock(&folder)?.is_none());
        drop(first);
        lock_again(&folder)?;
        Ok(())
    }

    #[test]
    fn the_record_is_private_and_readable_while_published() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let lock = lock(&folder)?.context("the lock is free")?;
        assert!(borrow(folder.path())?.is_none());
        lock.publish(&record())?;
        lock.publish(&record())?;
        let mode = fs::metadata(folder.path().join("stores.json"))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let borrowed = borrow(folder.path())?.context("the stores run")?;
        assert_eq!(borrowed.record.stores.database_url, record().stores.database_url);
        lock.withdraw()?;
        assert!(borrow(folder.path())?.is_none());
        Ok(())
    }

    #[test]
    fn a_killed_supervisor_leaves_a_stale_record() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let first = lock(&folder)?.context("the lock is free")?;
        let killed = Record {
            // Above the largest process id of Linux.
            supervisor: i32::MAX.unsigned_abs(),
            ..record()
        };
        first.publish(&killed)?;
        assert!(borrow(folder.path())?.is_none());
        drop(first);
        let next = lock_again(&folder)?;
        assert!(next.stale_record()?.is_some());
        Ok(())
    }

    #[tokio::test]
    async fn the_supervisor_waits_for_users() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let lock = lock(&folder)?.context("the lock is free")?;
        lock.publish(&record())?;
        let borrowed = borrow(folder.path())?.context("the stores run")?;
        lock.withdraw()?;
        let wait = tokio::time::timeout(Duration::from_millis(200), lock.wait_for_users());
        assert!(wait.await.is_err());
        drop(borrowed);
        tokio::time::timeout(Duration::from_secs(5), lock.wait_for_users()).await?
    }
}
