//! Workers and their leases.
//!
//! A worker is one run of a process. Its lease covers everything it holds, so that keeping hold
//! costs one small write for the whole process. Whoever finds a lease run out deletes the worker's
//! row and takes its leads back in the same transaction; a worker without a row can hand nothing
//! over any more, so a process that comes back from the dead does no harm.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::WorkerId;

/// Enters a worker with its first lease.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn register(
    connection: &impl ConnectionTrait,
    worker: WorkerId,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<()> {
    sql::execute(
        connection,
        "INSERT INTO worker (id, started_at, lease_until) VALUES ($1, $2, $3)",
        Arguments::new()
            .with(worker.uuid())
            .with(now.timestamp_millis())
            .with(lease_until.timestamp_millis()),
    )
    .await?;
    Ok(())
}

/// Prolongs a lease. `false`: the worker was given up by the others and must start anew.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn prolong(
    connection: &impl ConnectionTrait,
    worker: WorkerId,
    lease_until: DateTime<Utc>,
) -> Result<bool> {
    let changed = sql::execute(
        connection,
        "UPDATE worker SET lease_until = $1 WHERE id = $2",
        Arguments::new()
            .with(lease_until.timestamp_millis())
            .with(worker.uuid()),
    )
    .await?;
    Ok(changed == 1)
}

/// Whether a worker's lease holds; it cannot be given up by the others before this transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn holds(
    tx: &impl ConnectionTrait,
    worker: WorkerId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let statement = format!(
        "SELECT id FROM worker WHERE id = $1 AND lease_until > $2 {}",
        dialect::for_share(tx, "worker")
    );
    let arguments = Arguments::new()
        .with(worker.uuid())
        .with(now.timestamp_millis());
    Ok(!sql::ids(tx, &statement, arguments).await?.is_empty())
}

/// The workers whose lease has run out, and, with `everyone`, all of them: a process that owns its
/// database alone knows that whoever was there before it is gone.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn expired(
    tx: &impl ConnectionTrait,
    now: DateTime<Utc>,
    everyone: bool,
) -> Result<Vec<WorkerId>> {
    let statement = format!(
        "SELECT id FROM worker WHERE lease_until < $1 ORDER BY id {}",
        dialect::for_update_skip_locked(tx, "worker")
    );
    let limit = if everyone {
        i64::MAX
    } else {
        now.timestamp_millis()
    };
    let ids: Vec<Uuid> = sql::ids(tx, &statement, Arguments::new().with(limit)).await?;
    Ok(ids.into_iter().map(WorkerId::from_uuid).collect())
}

/// Removes a worker; from then on nothing that it does counts.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn remove(connection: &impl ConnectionTrait, worker: WorkerId) -> Result<()> {
    sql::execute(
        connection,
        "DELETE FROM worker WHERE id = $1",
        Arguments::new().with(worker.uuid()),
    )
    .await?;
    Ok(())
}

/// Removes a worker that holds nothing any more. One that does stays until its lease runs out and
/// what it holds is taken back.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn sign_off(connection: &impl ConnectionTrait, worker: WorkerId) -> Result<()> {
    sql::execute(
        connection,
        "DELETE FROM worker WHERE id = $1
           AND NOT EXISTS (SELECT 1 FROM execution WHERE worker_id = $1)",
        Arguments::new().with(worker.uuid()),
    )
    .await?;
    Ok(())
}

/// How many workers have a lease that holds.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(connection: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<i64> {
    sql::number(
        connection,
        "SELECT count(*) AS n FROM worker WHERE lease_until > $1",
        Arguments::new().with(now.timestamp_millis()),
    )
    .await
}
