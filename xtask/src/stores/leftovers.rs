//! Ends what a killed supervisor left running.

use super::{docker, local, lock::Lock, running::Processes};
use crate::local_state::LocalState;

/// Ends the servers of the stale record, and removes the record.
///
/// On Linux the servers end with their supervisor, so this waits until they have; elsewhere it stops them.
pub async fn stop_servers(lock: &Lock) -> anyhow::Result<()> {
    if let Some(record) = lock.stale_record()? {
        let Processes {
            postgres_pid,
            redis_pid,
            ..
        } = record.stores.processes;
        for (program, pid) in [("postgres", postgres_pid), ("redis-server", redis_pid)] {
            if let Some(pid) = pid {
                local::stop_leftover(program, pid).await?;
            }
        }
        lock.withdraw()?;
    }
    Ok(())
}

/// Ends the servers and containers that a killed supervisor left.
pub async fn stop_leftovers(lock: &Lock) -> anyhow::Result<()> {
    stop_servers(lock).await?;
    if let Ok(engine) = docker::engine().await {
        docker::remove_leftovers(&engine, Some(&LocalState::open()?.id)).await?;
    }
    Ok(())
}
