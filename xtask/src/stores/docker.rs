//! Stores in containers, through testcontainers.

mod container;
mod ports;

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, bail};
use nix::{sys::signal::kill, unistd::Pid};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    bollard::{
        Docker as Engine,
        errors::Error::DockerResponseServerError,
        query_parameters::{
            KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
            RemoveVolumeOptionsBuilder,
        },
    },
    core::client::docker_client_instance,
    runners::AsyncRunner,
};
use tokio::time::{sleep, timeout};

use super::{
    choice::{Lifetime, Source},
    command::{Action, Command, Store},
    probe::{free_port, wait_for_postgres, wait_for_redis},
    running::{Processes, RunningStores},
};
use crate::{local_state::LocalState, progress::Step, project};
use container::{Container, HOME_LABEL, POSTGRES, REDIS, SUPERVISOR_LABEL, volume, while_running};
use ports::Ports;

const ENGINE_LIMIT: Duration = Duration::from_secs(5);
const PULL_LIMIT: Duration = Duration::from_secs(600);

/// The two containers.
pub struct Docker {
    postgres: ContainerAsync<GenericImage>,
    redis: ContainerAsync<GenericImage>,
    lifetime: Lifetime,
}

/// The engine, if one answers.
pub async fn engine() -> anyhow::Result<Engine> {
    let engine = docker_client_instance().await?;
    let version = timeout(ENGINE_LIMIT, engine.version()).await;
    version
        .context("the engine does not answer")?
        .context("no engine answers")?;
    Ok(engine)
}

/// Starts both containers.
pub async fn start(lifetime: Lifetime) -> anyhow::Result<(Docker, RunningStores)> {
    let engine = engine().await?;
    pull_images(&engine).await?;

    let step = Step::quiet("Start PostgreSQL and Redis in containers");
    let kept = match lifetime {
        Lifetime::Throwaway => None,
        Lifetime::Kept => Some(LocalState::open()?),
    };
    remove_leftovers(&engine, kept.as_ref().map(|kept| kept.id.as_str())).await?;
    let password = kept
        .as_ref()
        .map_or_else(project::random, |kept| kept.stores_password.clone());
    let ports = Ports::of_the_engine(&engine).await?;
    let (postgres, postgres_address) = start_postgres(lifetime, kept.as_ref(), &password, &ports).await?;
    let (redis, redis_address) = start_redis(lifetime, kept.as_ref(), &password, &ports).await?;

    let version = engine.version().await?.version.unwrap_or_default();
    let running = RunningStores {
        database_url: format!("postgres://sugang:{password}@{postgres_address}/sugang"),
        redis_url: format!("redis://:{password}@{redis_address}/0"),
        from: Source::Docker,
        description: format!(
            "Docker {version}, containers of postgres:{} and redis:{}",
            POSTGRES.1, REDIS.1
        ),
        processes: Processes {
            postgres_container: Some(postgres.id().to_owned()),
            redis_container: Some(redis.id().to_owned()),
            ..Processes::default()
        },
    };
    while_running(&postgres, wait_for_postgres(&running.database_url, &mut || Ok(()))).await?;
    while_running(&redis, wait_for_redis(&running.redis_url, &mut || Ok(()))).await?;
    step.done("");
    let docker = Docker {
        postgres,
        redis,
        lifetime,
    };
    Ok((docker, running))
}

async fn pull_images(engine: &Engine) -> anyhow::Result<()> {
    for (name, tag) in [POSTGRES, REDIS] {
        if engine.inspect_image(&format!("{name}:{tag}")).await.is_err() {
            let step = Step::quiet(format!("Pull the image {name}:{tag}"));
            let pulled = timeout(PULL_LIMIT, GenericImage::new(name, tag).pull_image())
                .await
                .with_context(|| format!("{name}:{tag} takes too long to pull"))?;
            drop(pulled.with_context(|| format!("cannot pull {name}:{tag}"))?);
            step.done("");
        }
    }
    Ok(())
}

async fn start_postgres(
    lifetime: Lifetime,
    kept: Option<&LocalState>,
    password: &str,
    ports: &Ports,
) -> anyhow::Result<(ContainerAsync<GenericImage>, String)> {
    let settings = lifetime.postgres_settings();
    let settings = settings.iter().flat_map(|setting| ["-c", setting]);
    let container = Container {
        image: POSTGRES,
        data: "/var/lib/postgresql/data",
        port: 5432,
        host_port: free_port()?,
        ports,
    };
    container
        .start(kept, |request| {
            request
                .with_env_var("POSTGRES_USER", "sugang")
                .with_env_var("POSTGRES_PASSWORD", password)
                .with_env_var("POSTGRES_DB", "sugang")
                .with_cmd(std::iter::once("postgres").chain(settings))
        })
        .await
}

async fn start_redis(
    lifetime: Lifetime,
    kept: Option<&LocalState>,
    password: &str,
    ports: &Ports,
) -> anyhow::Result<(ContainerAsync<GenericImage>, String)> {
    let container = Container {
        image: REDIS,
        data: "/data",
        port: 6379,
        host_port: free_port()?,
        ports,
    };
    let command = [
        "redis-server",
        "--bind",
        "0.0.0.0",
        "--requirepass",
        password,
        "--save",
        lifetime.redis_save(),
        "--logfile",
        "",
    ];
    container.start(kept, |request| request.with_cmd(command)).await
}

impl Docker {
    /// Executes a command.
    pub async fn handle(&mut self, command: Command) -> anyhow::Result<()> {
        let container = match command.store {
            Store::Postgres => &self.postgres,
            Store::Redis => &self.redis,
        };
        match command.action {
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

/// Removes containers that a killed supervisor left: two servers on the same data would ruin them.
///
/// Call it with the checkout's id only under its lock, since it then removes all containers of the checkout.
pub async fn remove_leftovers(engine: &Engine, checkout: Option<&str>) -> anyhow::Result<()> {
    let filters = HashMap::from([("label", vec![SUPERVISOR_LABEL])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    for container in engine.list_containers(Some(options)).await? {
        let labels = container.labels.unwrap_or_default();
        let supervisor = labels.get(SUPERVISOR_LABEL).and_then(|pid| pid.parse().ok());
        let is_supervised = supervisor.is_some_and(|pid| kill(Pid::from_raw(pid), None).is_ok());
        let is_ours = checkout.is_some_and(|id| labels.get(HOME_LABEL).is_some_and(|home| home == id));
        if (is_ours || !is_supervised)
            && let Some(id) = container.id
        {
            remove(engine, &id).await?;
        }
    }
    Ok(())
}

/// Removes a container, or waits until another process that removes it has finished.
async fn remove(engine: &Engine, id: &str) -> anyhow::Result<()> {
    for _ in 0..100 {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match engine.remove_container(id, Some(options)).await {
            Err(DockerResponseServerError { status_code: 409, .. }) => sleep(Duration::from_millis(100)).await,
            Ok(()) | Err(DockerResponseServerError { status_code: 404, .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the container {id} is still being removed")
}

/// Deletes the kept data of this checkout.
pub async fn delete(kept: &LocalState) -> anyhow::Result<()> {
    let engine = engine().await?;
    remove_leftovers(&engine, Some(&kept.id)).await?;
    for (name, _) in [POSTGRES, REDIS] {
        let options = RemoveVolumeOptionsBuilder::new().force(true).build();
        let volume = volume(name, kept);
        if let Err(error) = engine.remove_volume(&volume, Some(options)).await {
            bail!("cannot delete the volume {volume}: {error}");
        }
    }
    Ok(())
}
