//! Which stores a command takes, and how.

use std::{env, fmt};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// The flag that forces one kind of stores, for every command that needs them.
#[derive(clap::Args, Clone, Copy)]
pub struct StoresChoice {
    /// Take these PostgreSQL and Redis instead of the first that work.
    #[arg(long, value_name = "WHICH", env = "SUGANG_STORES")]
    pub stores: Option<Source>,
}

impl StoresChoice {
    /// The sources to try, in this order.
    pub fn sources(self) -> Vec<Source> {
        self.stores
            .map_or_else(|| Source::value_variants().to_vec(), |source| vec![source])
    }

    /// Whether the stores of other processes are taken, as far as the environment tells.
    pub fn is_external(self) -> bool {
        let are_set = ["DATABASE_URL", "REDIS_URL"]
            .iter()
            .all(|name| env::var_os(name).is_some());
        match self.stores {
            Some(source) => source == Source::Url,
            None => are_set,
        }
    }
}

/// Where stores can come from, in the order in which they are tried.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// DATABASE_URL and REDIS_URL.
    Url,
    /// Containers of postgres:17 and redis:7.2.
    Docker,
    /// The programs of this machine; as root on Debian and Ubuntu, installed by apt when they are missing.
    Local,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Url => "DATABASE_URL and REDIS_URL",
            Self::Docker => "Docker",
            Self::Local => "the programs of this machine",
        })
    }
}

/// How a command uses stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// New stores, deleted with the supervisor.
    Throwaway,
    /// The checkout's own stores, which no other command may have started.
    Exclusive,
    /// The checkout's own stores; those that another command keeps running, where there are such.
    Shared,
}

impl Access {
    /// How long the data live.
    pub fn lifetime(self) -> Lifetime {
        match self {
            Self::Throwaway => Lifetime::Throwaway,
            Self::Exclusive | Self::Shared => Lifetime::Kept,
        }
    }
}

/// How long the data live, which decides how durable the stores are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the supervisor. No write is flushed to the disk.
    Throwaway,
    /// Until `cargo xtask reset`.
    Kept,
}

impl Lifetime {
    /// Settings of PostgreSQL.
    ///
    /// Tests open a pool for each of many databases at once. Kept data may grow: PostgreSQL gets an eighth of the memory,
    /// which it takes as it needs it, and may write much before a checkpoint.
    pub fn postgres_settings(self) -> Vec<String> {
        let settings: &[&str] = match self {
            Self::Throwaway => &[
                "max_connections=400",
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ],
            Self::Kept => &["max_connections=200", "max_wal_size=4GB"],
        };
        let mut settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
        if self == Self::Kept {
            let megabytes = (memory() >> 20) / 8;
            settings.push(format!("shared_buffers={}MB", megabytes.clamp(128, 4096)));
        }
        settings
    }

    /// When Redis saves: `seconds changes`, or empty for never.
    pub fn redis_save(self) -> &'static str {
        match self {
            Self::Throwaway => "",
            Self::Kept => "60 1",
        }
    }
}

/// Bytes of memory of this machine; 0 where it does not tell.
fn memory() -> u64 {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    System::new_with_specifics(memory).map_or(0, |system| system.total_memory())
}
