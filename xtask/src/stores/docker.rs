//! Stores in containers, through testcontainers.

use std::{collections::HashMap, process, time::Duration};

use anyhow::{Context, bail};
use nix::{sys::signal::kill, unistd::Pid};
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    bollard::{
        models::PortBinding,
        query_parameters::{
            KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
            RemoveVolumeOptionsBuilder,
        },
    },
    core::{IntoContainerPort, Mount, client::docker_client_instance},
    runners::AsyncRunner,
};
use tokio::time::timeout;

use super::{Action, Lifetime, Order, Ready, Source, Store, free_port, postgres_answers, redis_answers};
use crate::{
    progress::Step,
    project::{self, Kept},
};

const POSTGRES: (&str, &str) = ("postgres", "17");
const REDIS: (&str, &str) = ("redis", "7.2");

/// Says which keeper's a container is: whose process is gone, his containers may go too.
const KEEPER_LABEL: &str = "sugang.keeper";
/// Says which checkout's kept data a container holds.
const HOME_LABEL: &str = "sugang.home";

const PULL_LIMIT: Duration = Duration::from_secs(600);

/// The two containers.
pub struct Docker {
    postgres: ContainerAsync<GenericImage>,
    redis: ContainerAsync<GenericImage>,
    lifetime: Lifetime,
    /// Keeps a second keeper away from kept data.
    _lock: Option<std::fs::File>,
}

/// Starts both containers.
pub async fn start(lifetime: Lifetime) -> anyhow::Result<(Docker, Ready)> {
    let engine = docker_client_instance().await?;
    let version = timeout(Duration::from_secs(5), engine.version())
        .await
        .context("the engine does not answer")?;
    let version = version.context("no engine answers")?.version.unwrap_or_default();
    for (name, tag) in [POSTGRES, REDIS] {
        if engine.inspect_image(&format!("{name}:{tag}")).await.is_err() {
            let step = Step::quiet(format!("Pull the image {name}:{tag}"));
            let pull = GenericImage::new(name, tag).pull_image();
            let pulled = timeout(PULL_LIMIT, pull)
                .await
                .with_context(|| format!("{name}:{tag} takes too long to pull"))?;
            drop(pulled.with_context(|| format!("cannot pull {name}:{tag}"))?);
            step.done("");
        }
    }

    let step = Step::quiet("Start PostgreSQL and Redis in containers");
    let (kept, lock) = match lifetime {
        Lifetime::Throwaway => (None, None),
        Lifetime::Kept => (Some(Kept::open()?), Some(Kept::lock()?)),
    };
    remove_orphans(kept.as_ref()).await?;
    let password = kept
        .as_ref()
        .map_or_else(project::random, |kept| kept.stores_password.clone());

    let settings = lifetime.postgres_settings().iter().flat_map(|setting| ["-c", setting]);
    let postgres = Container {
        image: POSTGRES,
        data: "/var/lib/postgresql/data",
        port: 5432,
        host_port: free_port()?,
    };
    let (postgres, postgres_address) = postgres
        .start(kept.as_ref(), |request| {
            request
                .with_env_var("POSTGRES_USER", "sugang")
                .with_env_var("POSTGRES_PASSWORD", &password)
                .with_env_var("POSTGRES_DB", "sugang")
                .with_cmd(std::iter::once("postgres").chain(settings))
        })
        .await?;
    let redis = Container {
        image: REDIS,
        data: "/data",
        port: 6379,
        host_port: free_port()?,
    };
    let command = [
        "redis-server",
        "--bind",
        "0.0.0.0",
        "--requirepass",
        &password,
        "--save",
        lifetime.redis_save(),
        "--logfile",
        "",
    ];
    let (redis, redis_address) = redis.start(kept.as_ref(), |request| request.with_cmd(command)).await?;

    let ready = Ready {
        database_url: format!("postgres://sugang:{password}@{postgres_address}/sugang"),
        redis_url: format!("redis://:{password}@{redis_address}/0"),
        from: Source::Docker,
        description: format!(
            "Docker {version}, containers of postgres:{} and redis:{}",
            POSTGRES.1, REDIS.1
        ),
        postgres_pid: None,
        redis_pid: None,
        postgres_container: Some(postgres.id().to_owned()),
        redis_container: Some(redis.id().to_owned()),
    };
    postgres_answers(&ready.database_url, &mut || Ok(())).await?;
    redis_answers(&ready.redis_url, &mut || Ok(())).await?;
    step.done("");
    Ok((
        Docker {
            postgres,
            redis,
            lifetime,
            _lock: lock,
        },
        ready,
    ))
}

impl Docker {
    /// Carries out an order.
    pub(super) async fn obey(&mut self, order: Order) -> anyhow::Result<()> {
        let container = match order.store {
            Store::Postgres => &self.postgres,
            Store::Redis => &self.redis,
        };
        match order.action {
            Action::Stop => container.stop().await?,
            Action::Kill => {
                let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
                docker_client_instance()
                    .await?
                    .kill_container(container.id(), Some(options))
                    .await?;
            }
            Action::Start => container.start().await?,
            Action::Freeze => container.pause().await?,
            Action::Thaw => container.unpause().await?,
        }
        Ok(())
    }

    /// Ends both containers; kept data stay in their volumes.
    pub async fn end(self) -> anyhow::Result<()> {
        for container in [self.postgres, self.redis] {
            if self.lifetime == Lifetime::Kept {
                container.stop().await?;
            }
            container.rm().await?;
        }
        Ok(())
    }
}

struct Container {
    image: (&'static str, &'static str),
    /// Where the data are in the container.
    data: &'static str,
    port: u16,
    host_port: u16,
}

impl Container {
    /// Starts the container and returns it with its `host:port`.
    async fn start(
        &self,
        kept: Option<&Kept>,
        describe: impl FnOnce(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage>,
    ) -> anyhow::Result<(ContainerAsync<GenericImage>, String)> {
        let (name, tag) = self.image;
        let (port, host_port) = (self.port, self.host_port);
        let mut request = describe(GenericImage::new(name, tag).into())
            .with_label(KEEPER_LABEL, process::id().to_string())
            .with_mapped_port(host_port, port.tcp())
            .with_host_config_modifier(move |host| {
                // Chosen here, so that it stays over a restart, and reachable from this machine alone.
                let binding = PortBinding {
                    host_ip: Some("127.0.0.1".into()),
                    host_port: Some(host_port.to_string()),
                };
                host.port_bindings = Some(HashMap::from([(format!("{port}/tcp"), Some(vec![binding]))]));
            });
        if let Some(kept) = kept {
            request = request
                .with_label(HOME_LABEL, &kept.id)
                .with_mount(Mount::volume_mount(volume(name, kept), self.data));
        }
        let container = request
            .start()
            .await
            .with_context(|| format!("cannot start {name}:{tag}"))?;
        let address = format!("{}:{host_port}", container.get_host().await?).replace("localhost", "127.0.0.1");
        Ok((container, address))
    }
}

fn volume(name: &str, kept: &Kept) -> String {
    format!("sugang-{}-{name}", kept.id)
}

/// Removes what a keeper that was killed left behind: two servers on the same data would ruin them.
async fn remove_orphans(kept: Option<&Kept>) -> anyhow::Result<()> {
    let engine = docker_client_instance().await?;
    let filters = HashMap::from([("label", vec![KEEPER_LABEL])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    for container in engine.list_containers(Some(options)).await? {
        let labels = container.labels.unwrap_or_default();
        let keeper = labels
            .get(KEEPER_LABEL)
            .and_then(|pid| pid.parse().ok())
            .map(Pid::from_raw);
        let keeper_lives = keeper.is_some_and(|pid| kill(pid, None).is_ok());
        // We hold the lock of our own data, so no living keeper has them.
        let ours = kept.is_some_and(|kept| labels.get(HOME_LABEL) == Some(&kept.id));
        if (ours || !keeper_lives)
            && let Some(id) = container.id
        {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            engine.remove_container(&id, Some(options)).await?;
        }
    }
    Ok(())
}

/// Deletes the kept data of this checkout, where an engine answers.
pub async fn delete(kept: &Kept) -> anyhow::Result<()> {
    let engine = docker_client_instance().await?;
    if engine.ping().await.is_err() {
        return Ok(());
    }
    remove_orphans(Some(kept)).await?;
    for (name, _) in [POSTGRES, REDIS] {
        let options = RemoveVolumeOptionsBuilder::new().force(true).build();
        if let Err(error) = engine.remove_volume(&volume(name, kept), Some(options)).await {
            bail!("cannot delete the volume {}: {error}", volume(name, kept));
        }
    }
    Ok(())
}
