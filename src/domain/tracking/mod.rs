//! The marks in emails that tell what contacts do with them, and by which they opt out.
//!
//! A mark is an address of this server with a token behind it. What the token says is sealed: whoever
//! has it learns nothing from it, and nobody can make one. The target of a link is in its token, so that
//! the server redirects to nothing that it has not sealed itself.

pub mod agent;
mod base;
pub mod hit;
mod links;
mod token;

use std::fmt;
use std::sync::Arc;

pub use self::base::{BaseUrl, BaseUrlError, host_of};
pub use self::token::{Mark, Token};
use super::id::{ExecutionId, WorkspaceId};

/// Makes tokens, which nobody else can read or make.
pub trait Seal: Send + Sync + fmt::Debug {
    /// A token that says these bytes: the same for the same ones, of letters, digits, `-` and `_`.
    fn token(&self, plain: &[u8]) -> String;

    /// A tag for an address that answers to a message go to: letters and digits of which the case says
    /// nothing.
    fn tag(&self, workspace: WorkspaceId, message: ExecutionId) -> String;
}

/// Where openings are noted, behind the base URL and before the token.
pub const OPENED_AT: &str = "/o/";
/// Where links lead.
pub const CLICKED_AT: &str = "/c/";
/// Where contacts opt out.
pub const OPT_OUT_AT: &str = "/u/";

/// What marks are made with.
#[derive(Debug, Clone)]
pub struct Marks {
    /// Seals their tokens.
    pub seal: Arc<dyn Seal>,
    /// By which address this server is reached from outside; none, only senders with an address of their
    /// own mark their emails.
    pub base: Option<BaseUrl>,
}

impl Marks {
    /// By which address the marks of a sender are reached: its own, else that of the server.
    pub fn base_of<'a>(&'a self, own: Option<&'a BaseUrl>) -> Option<&'a BaseUrl> {
        own.or(self.base.as_ref())
    }

    /// What marks one email of a sender; none where no address is known.
    pub fn marker(
        &self,
        own: Option<&BaseUrl>,
        workspace: WorkspaceId,
        execution: ExecutionId,
        (opens, clicks): (bool, bool),
    ) -> Option<Marker> {
        Some(Marker {
            seal: Arc::clone(&self.seal),
            base: self.base_of(own)?.clone(),
            workspace,
            execution,
            opens,
            clicks,
        })
    }
}

/// Marks one email: always the same way, however often it is tried.
#[derive(Debug, Clone)]
pub struct Marker {
    seal: Arc<dyn Seal>,
    base: BaseUrl,
    workspace: WorkspaceId,
    execution: ExecutionId,
    opens: bool,
    clicks: bool,
}

impl PartialEq for Marker {
    /// There is one key in a process.
    fn eq(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.workspace, one.execution, one.opens, one.clicks);
        self.base == other.base && of(self) == of(other)
    }
}

impl Eq for Marker {}

impl Marker {
    /// Where the contact opts out.
    pub fn unsubscribe_url(&self) -> String {
        self.url(OPT_OUT_AT, Mark::OptOut)
    }

    /// The HTML with its marks; as it is where it has none to get, or cannot be read.
    pub fn mark(&self, html: &str) -> String {
        if !self.opens && !self.clicks {
            return html.to_owned();
        }
        links::rewrite(self, html).unwrap_or_else(|_| html.to_owned())
    }

    fn url(&self, place: &str, mark: Mark) -> String {
        let token = Token {
            workspace: self.workspace,
            execution: self.execution,
            mark,
        };
        format!("{}{place}{}", self.base, self.seal.token(&token.bytes()))
    }
}
