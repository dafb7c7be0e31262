//! Looking whether a sender could send, without sending anything.

use super::{Caller, Sender, Services};
use crate::app::{AppError, Refusal};
use crate::channel::dispatch::{SenderProbe, SenderRoute};
use crate::domain::id::SenderId;
use crate::domain::sender::check::{Finding, can_send};
use crate::store::{dialect, sender};

/// Connects as the sender would, logs in and names it; what was found, in that order, up to the
/// first failure. A sender that was left alone after trouble of its own and is found well now tries
/// again at once; it is not switched on, and nothing else changes.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such sender; [`AppError::Store`]
/// as the database has it.
pub async fn check(
    services: &Services,
    caller: &Caller,
    id: SenderId,
) -> Result<(Sender, Vec<Finding>), AppError> {
    let found = sender::find_many(services.db.read(), caller.workspace, &[id]).await?;
    let Some(sender) = found.into_iter().next() else {
        let message = "There is no sender with this id: take the id from an answer of this API.";
        return Err(Refusal::not_found(message, &["id"]).into());
    };
    let probe = SenderProbe {
        route: SenderRoute {
            sender: sender.id,
            workspace: caller.workspace,
            revision: sender.revision,
            transport: sender.transport.clone(),
            secret: sender.secret.clone(),
        },
        address: sender.address.clone(),
    };
    let findings = services.transports.check(&probe).await;
    if sender.unhealthy_until.is_none() || !can_send(&findings) {
        return Ok((sender, findings));
    }
    Ok((lift(services, caller, sender).await?, findings))
}

/// Lets a sender that is well try at once, unless it was changed while it was looked at.
async fn lift(services: &Services, caller: &Caller, seen: Sender) -> Result<Sender, AppError> {
    let tx = services.db.begin().await?;
    let Some(mut sender) = sender::lock(&tx, caller.workspace, seen.id).await? else {
        return Ok(seen);
    };
    if sender.revision != seen.revision {
        return Ok(sender);
    }
    sender.recover();
    sender.updated_at = services.clock.now();
    sender::save(&tx, caller.workspace, &sender).await?;
    // Another node may be the one that sends through it.
    dialect::notify(&tx).await?;
    tx.commit().await?;
    services.wake.due();
    Ok(sender)
}
