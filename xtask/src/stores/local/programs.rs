//! The programs of the stores.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::progress;

/// Where the programs are, and which PostgreSQL they are.
pub struct Programs {
    pub initdb: PathBuf,
    pub postgres: PathBuf,
    postgres_version: String,
    pub redis_server: PathBuf,
}

/// Programs are missing that these packages of Debian and Ubuntu have.
#[derive(Clone, Debug)]
pub struct MissingPackages(Vec<&'static str>);

impl MissingPackages {
    /// The packages' names.
    pub fn packages(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for MissingPackages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no programs of {}", self.0.join(" and "))
    }
}

impl std::error::Error for MissingPackages {}

impl fmt::Display for Programs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PostgreSQL {} and Redis", self.postgres_version)
    }
}

impl Programs {
    /// Finds the newest PostgreSQL, and Redis.
    ///
    /// # Errors
    /// [`MissingPackages`] when one is missing.
    pub async fn find() -> anyhow::Result<Self> {
        let postgres_folder = postgres_folders().into_iter().next();
        let redis_server = which::which("redis-server").ok();
        let (folder, redis_server) = match (postgres_folder, redis_server) {
            (Some(folder), Some(redis_server)) => (folder, redis_server),
            (postgres, redis) => {
                let postgres = postgres.is_none().then_some("postgresql");
                let redis = redis.is_none().then_some("redis-server");
                bail!(MissingPackages(postgres.into_iter().chain(redis).collect()));
            }
        };
        let postgres = folder.join("postgres");
        let version = progress::output(tokio::process::Command::new(&postgres).arg("--version")).await?;
        let version = version.split(' ').nth(2).context("an odd version of PostgreSQL")?;
        Ok(Self {
            initdb: folder.join("initdb"),
            postgres,
            postgres_version: version.trim().to_owned(),
            redis_server,
        })
    }

    /// Refuses data of another major version, which this one cannot read.
    pub fn for_data(self, data: &Path) -> anyhow::Result<Self> {
        let Ok(written_by) = fs::read_to_string(data.join("PG_VERSION")) else {
            return Ok(self);
        };
        let written_by = written_by.trim();
        if self.postgres_version.split('.').next() != Some(written_by) {
            bail!(
                "PostgreSQL {written_by} wrote {}, and the newest here is {}: install PostgreSQL {written_by}, or delete \
                 the data with `cargo xtask down --delete`",
                data.display(),
                self.postgres_version
            );
        }
        Ok(self)
    }
}

/// Folders with PostgreSQL's servers: Debian's, newest first, then those of the `PATH`.
pub fn postgres_folders() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<u32> = versions
        .filter_map(|version| version.file_name().to_string_lossy().parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let debian = versions
        .iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let path = env::var_os("PATH").unwrap_or_default();
    let is_complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    debian.chain(env::split_paths(&path)).filter(is_complete).collect()
}
