//! Use cases: what a mutation does, with its refusals, and who may do it.
//!
//! Functions are free and take the [`Services`] and the [`Caller`]. They open the transactions;
//! events are appended as the last statement before the commit, and the bells of
//! [`crate::wake::Wake`] ring after it.

pub mod analytics;
mod calendar;
mod deadlock;
pub mod dkim;
pub mod engagement;
pub mod execution;
pub mod given_up;
mod name;
pub mod oauth;
pub mod opportunity;
pub mod person;
pub mod pipeline;
pub mod returned;
pub mod sender;
pub mod sequence;
mod services;
mod stopping;
pub mod suppression;
pub mod task;
pub mod texting;
mod time_zone;
pub mod token;
pub mod tracking;
pub mod webhook;
pub mod workflow;
pub mod workspace;

use strum::{Display, EnumString, IntoStaticStr};

pub use self::services::Services;
use crate::domain::id::{TokenId, WorkspaceId};
use crate::domain::scope::SequenceScope;
use crate::store::StoreError;

/// What a token allows; each role includes those before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, IntoStaticStr,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also writes: sequences, people, leads.
    Editor,
    /// Also manages senders, tokens and the workspace.
    Admin,
}

/// Who asks: the token of a request, already checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The workspace that the token belongs to; every query is bound to it.
    pub workspace: WorkspaceId,
    /// What the token allows.
    pub role: Role,
    /// The token.
    pub token: TokenId,
    /// How the caller is named to people: the token's id.
    pub name: String,
    /// The sequences that the token is limited to. Whoever serves a caller that is limited narrows
    /// what is read and changed to them.
    pub scope: SequenceScope,
}

/// Why a use case did nothing, by kinds that programs tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// What the input names is not there, or is another workspace's.
    NotFound,
    /// A field holds what it must not.
    Invalid,
    /// The object is in a state that forbids this.
    WrongState,
    /// Another write came first.
    Conflict,
    /// The same is already there.
    AlreadyExists,
    /// A plan, cap or size limit forbids this.
    Limit,
}

/// A refusal the caller can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, for programs.
    pub code: RefusalCode,
    /// What is wrong, for people, in one sentence that names the remedy.
    pub message: String,
    /// The offending field, from the mutation's input; empty where no single field is at fault.
    pub path: Vec<String>,
}

impl Refusal {
    /// A refusal of the field at `path`.
    pub fn new(code: RefusalCode, message: impl Into<String>, path: &[&str]) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Self {
            code,
            message: message.into(),
            path,
        }
    }

    /// A field that holds what it must not.
    pub fn invalid(message: impl Into<String>, path: &[&str]) -> Self {
        Self::new(RefusalCode::Invalid, message, path)
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>, path: &[&str]) -> Self {
        Self::new(RefusalCode::NotFound, message, path)
    }
}

/// Why a use case failed. It then changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The caller can repair it: every problem at once.
    #[error("the input was refused")]
    Refused(Vec<Refusal>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A rule of the program itself was broken; the text is for the log.
    #[error("{0}")]
    Internal(String),
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(vec![refusal])
    }
}

impl From<sea_orm::DbErr> for AppError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Store(error.into())
    }
}

impl AppError {
    /// The refusals, where it is refused; everything else stays an error.
    ///
    /// # Errors
    /// The error itself where the caller cannot repair it.
    pub fn refusals(self) -> Result<Vec<Refusal>, Self> {
        match self {
            Self::Refused(refusals) => Ok(refusals),
            other => Err(other),
        }
    }
}
