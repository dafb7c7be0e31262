//! Looking whether a sender could send, without sending anything.

use super::{Caller, Sender, Services, not_there};
use crate::app::AppError;
use crate::app::dkim::signing_key;
use crate::channel::dispatch::{SenderProbe, SenderRoute};
use crate::channel::dkim::SigningKey;
use crate::channel::dns::{Published, Question};
use crate::domain::address::recipient_domain;
use crate::domain::id::SenderId;
use crate::domain::outcome::ErrorCode;
use crate::domain::sender::Transport;
use crate::domain::sender::check::{CheckKind, Finding};
use crate::store::{dkim, sender};

/// Connects as the sender would, logs in and names it; what was found, in that order, up to the
/// first failure, and what the DNS says of the domain of an email sender. Nothing changes: also a sender that rests after trouble goes on to rest, for what a
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
    let keys = dkim::of_senders(services.db.read(), caller.workspace, &[id]).await?;
    let key = match keys.first() {
        Some((_, key)) => {
            let rows = dkim::find_many(services.db.read(), caller.workspace, &[*key]).await?;
            rows.into_iter().next()
        }
        None => None,
    };
    let signing_key = key.as_ref().map(signing_key);
    let probe = SenderProbe {
        route: SenderRoute {
            sender: sender.id,
            workspace: caller.workspace,
            revision: sender.revision,
            transport: sender.transport.clone(),
            secret: sender.secret.clone(),
            signing_key: signing_key.clone(),
        },
        address: sender.address.clone(),
    };
    let public = key.as_ref().map(|key| key.public_key.as_str());
    let (mut findings, of_domain) = tokio::join!(
        services.transports.check(&probe),
        authentication(services, caller, &sender, signing_key.as_ref().zip(public)),
    );
    findings.extend(of_domain);
    Ok((sender, findings))
}

/// What the DNS says of the domain of an email sender.
async fn authentication(
    services: &Services,
    caller: &Caller,
    sender: &Sender,
    key: Option<(&SigningKey, &str)>,
) -> Vec<Finding> {
    let Transport::Smtp(smtp) = &sender.transport else {
        return Vec::new();
    };
    let Some(domain) = recipient_domain(&sender.address) else {
        return Vec::new();
    };
    let signer = key.map(|(key, _)| services.transports.signer(caller.workspace, key));
    let signer = match signer.transpose() {
        Ok(signer) => signer,
        Err(why) => {
            let message = format!(
                "The key that signs emails of {domain} cannot be used: {why}. Make another by \
                 dkimKeyCreate."
            );
            let code = ErrorCode::ConnectionFailed;
            return vec![Finding::failed(CheckKind::Dkim, code, message)];
        }
    };
    let key = key.zip(signer.as_ref());
    let question = Question {
        address: &sender.address,
        domain: &domain,
        host: &smtp.host,
        key: key.map(|((key, public), signer)| Published {
            key,
            signer,
            public,
        }),
    };
    let found = services.transports.dns().authentication(&question).await;
    found.findings(&domain, &smtp.host).into()
}
