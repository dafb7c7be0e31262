//! Looking whether a sender could send, without sending anything.

use super::{Caller, Sender, Services, not_there};
use crate::app::AppError;
use crate::channel::dispatch::{SenderProbe, SenderRoute};
use crate::domain::id::SenderId;
use crate::domain::sender::check::Finding;
use crate::store::sender;

/// Connects as the sender would, logs in and names it; what was found, in that order, up to the
/// first failure. Nothing changes: also a sender that rests after trouble goes on to rest, for what a
/// check finds well says nothing of limits that are met only by messages.
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
        return Err(not_there().into());
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
    Ok((sender, findings))
}
