//! Stores in containers, through testcontainers.

use std::{collections::HashMap, env, path::Path, process, time::Duration};

use anyhow::{Context, anyhow, bail};
use futures::{StreamExt, TryStreamExt};
use nix::{sys::signal::kill, unistd::Pid};
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    bollard::{
        models::PortBinding,
        query_parameters::{
            KillContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
            RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
        },
    },
    core::{IntoContainerPort, Mount, client::docker_client_instance},
    runners::AsyncRunner,
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use url::Url;

use super::{Action, Lifetime, Order, Ready, START_LIMIT, Source, Store, free_port, postgres_answers, redis_answers};
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

    let addresses = Addresses::of_the_engine().await?;
    let settings = lifetime.postgres_settings();
    let settings = settings.iter().flat_map(|setting| ["-c", setting]);
    let postgres = Container {
        image: POSTGRES,
        data: "/var/lib/postgresql/data",
        port: 5432,
        host_port: free_port()?,
        addresses: &addresses,
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
        addresses: &addresses,
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
    while_it_lives(&postgres, postgres_answers(&ready.database_url, &mut || Ok(()))).await?;
    while_it_lives(&redis, redis_answers(&ready.redis_url, &mut || Ok(()))).await?;
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

/// Waits for an answer of a container, but not for one of a container that has ended.
async fn while_it_lives<T>(
    container: &ContainerAsync<GenericImage>,
    answer: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let engine = docker_client_instance().await?;
    let mut end = std::pin::pin!(engine.wait_container(container.id(), None));
    let outcome = tokio::select! {
        outcome = answer => outcome,
        _ = end.next() => Err(anyhow!("the container ended")),
    };
    if outcome.is_ok() {
        return outcome;
    }
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("10").build();
    let log: Vec<_> = engine.logs(container.id(), Some(options)).try_collect().await?;
    let log: String = log.iter().map(ToString::to_string).collect();
    outcome.with_context(|| format!("the container's last words: {}", log.trim()))
}

/// Where the engine publishes ports so that this process reaches them, and nobody beyond this machine where that can be
/// told.
struct Addresses {
    /// Addresses of the engine's machine to publish on.
    publish: Vec<String>,
    /// Hosts to try from here.
    reach: Vec<String>,
}

impl Addresses {
    async fn of_the_engine() -> anyhow::Result<Self> {
        let engine = env::var("DOCKER_HOST").ok().and_then(|url| Url::parse(&url).ok());
        if let Some(host) = engine.as_ref().and_then(Url::host_str).filter(|host| !host.is_empty()) {
            return Ok(Self {
                publish: vec!["0.0.0.0".into()],
                reach: vec![host.to_owned()],
            });
        }
        let mut addresses = vec!["127.0.0.1".to_owned()];
        // In a container, the engine may be that of the machine around it, whose loopback is not ours.
        if Path::new("/.dockerenv").exists() {
            let bridge = docker_client_instance().await?.inspect_network("bridge", None).await?;
            let gateways = bridge.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
            addresses.extend(gateways.into_iter().find_map(|config| config.gateway));
        }
        Ok(Self {
            publish: addresses.clone(),
            reach: addresses,
        })
    }

    /// The first host that takes a connection on the port.
    async fn reached(&self, port: u16) -> anyhow::Result<&str> {
        let search = async {
            loop {
                for host in &self.reach {
                    let connection = TcpStream::connect((host.as_str(), port));
                    if matches!(timeout(Duration::from_secs(2), connection).await, Ok(Ok(_))) {
                        return host;
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let found = timeout(START_LIMIT, search).await;
        let found = found.with_context(|| format!("no answer on port {port} of {}", self.reach.join(" or ")))?;
        Ok(found)
    }
}

struct Container<'a> {
    image: (&'static str, &'static str),
    /// Where the data are in the container.
    data: &'static str,
    port: u16,
    host_port: u16,
    addresses: &'a Addresses,
}

impl Container<'_> {
    /// Starts the container and returns it with its `host:port`.
    async fn start(
        &self,
        kept: Option<&Kept>,
        describe: impl FnOnce(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage>,
    ) -> anyhow::Result<(ContainerAsync<GenericImage>, String)> {
        let (name, tag) = self.image;
        let (port, host_port) = (self.port, self.host_port);
        // The port is chosen here, so that it stays over a restart.
        let bindings = self.addresses.publish.iter().map(|address| PortBinding {
            host_ip: Some(address.clone()),
            host_port: Some(host_port.to_string()),
        });
        let bindings = HashMap::from([(format!("{port}/tcp"), Some(bindings.collect()))]);
        let mut request = describe(GenericImage::new(name, tag).into())
            .with_label(KEEPER_LABEL, process::id().to_string())
            .with_mapped_port(host_port, port.tcp())
            .with_host_config_modifier(move |host| host.port_bindings = Some(bindings.clone()));
        if let Some(kept) = kept {
            request = request
                .with_label(HOME_LABEL, &kept.id)
                .with_mount(Mount::volume_mount(volume(name, kept), self.data));
        }
        let container = request
            .start()
            .await
            .with_context(|| format!("cannot start {name}:{tag}"))?;
        let host = while_it_lives(&container, self.addresses.reached(host_port)).await?;
        Ok((container, format!("{host}:{host_port}")))
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
