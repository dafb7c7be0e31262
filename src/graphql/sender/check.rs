//! Looking whether a sender could send.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};

use super::Sender;
use crate::app::Role;
use crate::app::sender as app;
use crate::domain::sender::check as domain;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::execution::ExecutionErrorCode;
use crate::graphql::node;

/// A sender to look at.
#[derive(InputObject)]
pub struct SenderCheckInput {
    /// The sender.
    id: ID,
}

/// What a check of a sender answers.
#[derive(SimpleObject)]
pub struct SenderCheckPayload {
    /// The sender as it is now; null where the mutation was refused.
    sender: Option<Sender>,
    /// What was found; null where the mutation was refused.
    check: Option<SenderCheck>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// What was found when a sender was looked at.
#[derive(SimpleObject)]
pub struct SenderCheck {
    /// Whether it can send: nothing failed.
    can_send: bool,
    /// What was looked at, in order: the server up to the first that failed, and for EMAIL by smtp what
    /// the DNS says of the domain, with what to publish there.
    findings: Vec<SenderFinding>,
}

/// One thing that was looked at.
#[derive(SimpleObject)]
pub struct SenderFinding {
    /// What was looked at.
    kind: SenderCheckKind,
    /// What was found.
    status: SenderCheckStatus,
    /// The same in a sentence for people, with the server's words and the remedy where there are
    /// any.
    message: String,
    /// The error that messages would end with; null where it did not fail.
    error_code: Option<ExecutionErrorCode>,
}

/// What a check of a sender looks at.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::CheckKind")]
pub enum SenderCheckKind {
    /// Whether the token server of its OAuth grant takes the refresh token.
    Grant,
    /// Whether its server answers, and how the connection is protected.
    Connection,
    /// Whether the server takes its login.
    Login,
    /// Whether the server lets it send from its address or number. Some servers tell only when a
    /// message comes.
    Address,
    /// Whether the domain of an EMAIL sender lets its server send: the SPF record (RFC 7208).
    Spf,
    /// Whether its emails are signed, and receivers find the key: the DKIM record (RFC 6376).
    Dkim,
    /// What its domain asks receivers to do with emails that are neither: the DMARC record (RFC 9989).
    Dmarc,
}

/// What a check of a sender found.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::CheckStatus")]
pub enum SenderCheckStatus {
    /// As it should be.
    Passed,
    /// It sends, but somebody should look at it.
    Warned,
    /// It cannot send.
    Failed,
}

impl From<domain::Finding> for SenderFinding {
    fn from(finding: domain::Finding) -> Self {
        Self {
            kind: finding.kind.into(),
            status: finding.status.into(),
            message: finding.message,
            error_code: finding.error_code.map(Into::into),
        }
    }
}

/// Looking at senders.
#[derive(Default)]
pub struct SenderCheckMutation;

#[Object]
impl SenderCheckMutation {
    /// Looks whether a sender could send: asks the token server of its `oauth` for an access token, connects
    /// to its server, logs in and names its address, and sends nothing. For EMAIL it also looks up whether
    /// receivers will trust what it sends. It answers within 35 seconds, and changes nothing else: a
    /// sender that rests after trouble and is found well tries at once when it is enabled again by
    /// `senderUpdate`. Needs the role ADMIN.
    async fn sender_check(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sender.")] input: SenderCheckInput,
    ) -> Result<SenderCheckPayload> {
        let caller = ctx.require(Role::Admin)?;
        let refused = |user_errors| SenderCheckPayload {
            sender: None,
            check: None,
            user_errors,
        };
        let id = match node::id(&input.id, &["id"]) {
            Ok(id) => id,
            Err(error) => return Ok(refused(vec![error])),
        };
        match app::check(ctx.services(), caller, id).await {
            Ok((sender, findings)) => Ok(SenderCheckPayload {
                sender: Some(Sender(Arc::new(sender))),
                check: Some(SenderCheck {
                    can_send: domain::can_send(&findings),
                    findings: findings.into_iter().map(Into::into).collect(),
                }),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(refused(user_errors(error)?)),
        }
    }
}
