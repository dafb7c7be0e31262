//! What a token says, before it is sealed.

use uuid::Uuid;

use crate::domain::id::{ExecutionId, WorkspaceId};

/// What somebody did who has a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Opened the message.
    Open,
    /// Followed a link.
    Click {
        /// Which link of the message, from 0.
        link: u16,
        /// Where it leads.
        url: String,
    },
    /// Wants no more.
    OptOut,
}

/// What a token says: of which message it is, and what whoever has it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose message.
    pub workspace: WorkspaceId,
    /// The message's execution.
    pub execution: ExecutionId,
    /// What was done.
    pub mark: Mark,
}

const OPEN: u8 = 1;
const CLICK: u8 = 2;
const OPT_OUT: u8 = 3;

impl Token {
    /// The token as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let kind = match self.mark {
            Mark::Open => OPEN,
            Mark::Click { .. } => CLICK,
            Mark::OptOut => OPT_OUT,
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(self.workspace.uuid().as_bytes());
        bytes.extend_from_slice(self.execution.uuid().as_bytes());
        if let Mark::Click { link, url } = &self.mark {
            bytes.extend_from_slice(&link.to_be_bytes());
            bytes.extend_from_slice(url.as_bytes());
        }
        bytes
    }

    /// Reads what [`Self::bytes`] wrote; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (workspace, rest) = rest.split_first_chunk::<16>()?;
        let (execution, rest) = rest.split_first_chunk::<16>()?;
        let mark = match (*kind, rest) {
            (OPEN, []) => Mark::Open,
            (OPT_OUT, []) => Mark::OptOut,
            (CLICK, rest) => {
                let (link, url) = rest.split_first_chunk::<2>()?;
                Mark::Click {
                    link: u16::from_be_bytes(*link),
                    url: String::from_utf8(url.to_vec()).ok()?,
                }
            }
            _ => return None,
        };
        Some(Self {
            workspace: WorkspaceId::from_uuid(Uuid::from_bytes(*workspace)),
            execution: ExecutionId::from_uuid(Uuid::from_bytes(*execution)),
            mark,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            ids in any::<(u128, u128)>(), link in any::<u16>(), url in ".{0,80}", kind in 0..3,
        ) {
            let mark = match kind {
                0 => Mark::Open,
                1 => Mark::OptOut,
                _ => Mark::Click { link, url },
            };
            let token = Token {
                workspace: WorkspaceId::from_uuid(Uuid::from_u128(ids.0)),
                execution: ExecutionId::from_uuid(Uuid::from_u128(ids.1)),
                mark,
            };
            prop_assert_eq!(Token::read(&token.bytes()), Some(token));
        }

        #[test]
        fn anything_else_is_refused_or_written_the_same(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            if let Some(token) = Token::read(&bytes) {
                prop_assert_eq!(token.bytes(), bytes);
            }
        }
    }
}
