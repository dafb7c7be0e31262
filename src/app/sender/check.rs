//! Looking whether a sender could send, without sending anything.

use std::time::Duration;

use tokio::time::timeout;

use super::{Caller, Sender, Services, not_there};
use crate::app::AppError;
use crate::app::dkim::signing_key;
use crate::channel::dispatch::{SenderProbe, SenderRoute};
use crate::channel::dkim::SigningKey;
use crate::channel::dns::{Published, Question};
use crate::channel::oauth::GrantOf;
use crate::domain::address::recipient_domain;
use crate::domain::id::SenderId;
use crate::domain::oauth::MailLogin;
use crate::domain::outcome::ErrorCode;
use crate::domain::sender::Transport;
use crate::domain::sender::check::{CheckKind, CheckStatus, Finding};
use crate::store::{dkim, grant, sender};

/// Somebody waits for the answer, so that a token server gets less time than for a message.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);

/// Asks the token server of its grant, connects as the sender would, logs in and names it; what was found,
/// in that order, up to the first failure, and what the DNS says of the domain of an email sender. Nothing
/// else changes than the access token of the grant: also a sender that rests after trouble goes on to rest, for what a
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
    let key = keys.into_iter().next().map(|(_, key)| key);
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
    let (findings, of_domain) = tokio::join!(
        server(services, caller, &sender, &probe),
        authentication(services, caller, &sender, signing_key.as_ref().zip(public)),
    );
    let mut findings = findings?;
    findings.extend(of_domain);
    Ok((sender, findings))
}

/// What is found on the way to the server: of its grant, where it has one, and of the server itself.
async fn server(
    services: &Services,
    caller: &Caller,
    sender: &Sender,
    probe: &SenderProbe,
) -> Result<Vec<Finding>, AppError> {
    let of = GrantOf {
        workspace: caller.workspace,
        sender: sender.id,
    };
    let grants = grant::find_many(services.db.read(), caller.workspace, &[sender.id]).await?;
    let mut findings = Vec::new();
    if !grants.is_empty() {
        findings.push(granted(services, of, sender).await);
    }
    if findings
        .iter()
        .all(|finding| finding.status != CheckStatus::Failed)
    {
        findings.extend(services.transports.check(probe).await);
    }
    Ok(findings)
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
    let (signer, unusable) = match signer.transpose() {
        Ok(signer) => (signer, None),
        Err(why) => (None, Some(why)),
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
    let mut findings: Vec<Finding> = found.findings(&domain, &smtp.host).into();
    if let Some(why) = unusable {
        let message = format!(
            "The key that signs emails of {domain} cannot be used ({why}), so that none leave: switch it \
             off by dkimKeyUpdate, or another one on in its place."
        );
        findings.retain(|finding| finding.kind != CheckKind::Dkim);
        let code = ErrorCode::ConnectionFailed;
        findings.push(Finding::failed(CheckKind::Dkim, code, message));
    }
    findings
}

/// Whether the token server takes the refresh token. It fails the sender where its transport logs in so, and
/// is to be looked at where only its inbox does.
async fn granted(services: &Services, of: GrantOf, sender: &Sender) -> Finding {
    let kind = CheckKind::Grant;
    let (code, message) = match timeout(TOKEN_WITHIN, services.grants.refresh(of)).await {
        Ok(Ok(())) => {
            let message = "The token server took the refresh token and gave an access token.";
            return Finding::passed(kind, message);
        }
        Ok(Err(error)) => {
            let code = error.outcome().error_code();
            (code.unwrap_or(ErrorCode::AuthFailed), error.to_string())
        }
        Err(_) => {
            let message = format!(
                "The token server did not answer within {} seconds: try again later, and check tokenUrl \
                 if it stays so.",
                TOKEN_WITHIN.as_secs()
            );
            (ErrorCode::Timeout, message)
        }
    };
    match &sender.transport {
        Transport::Smtp(smtp) if smtp.login == MailLogin::Xoauth2 && sender.secret.is_none() => {
            Finding::failed(kind, code, message)
        }
        _ => Finding::warned(kind, message),
    }
}
