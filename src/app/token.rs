//! API tokens: made once, shown once, known afterwards only by their hash.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{AppError, Caller, Refusal, Role};
use crate::clock::Clock;
use crate::domain::id::{TokenId, WorkspaceId};
use crate::entropy::Entropy;
use crate::secrets::sha256_hex;
use crate::store::{Db, StoreError, token, workspace};

/// What every token begins with, so that a leaked one is recognised.
pub const PREFIX: &str = "cdz_";
/// The random bytes of a token: 256 bits cannot be guessed, so that a plain hash protects them.
const SECRET_LEN: usize = 32;
/// The longest text that is looked up as a token.
const TEXT_MAX: usize = 128;
/// The longest name of a workspace, in characters.
const NAME_MAX: usize = 100;

/// A token as it is shown, once.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The secret text.
    pub secret: String,
    /// Who comes with it.
    pub caller: Caller,
}

/// Makes a token of a workspace, and the workspace if it is new.
///
/// # Errors
/// [`AppError::Refused`] for a name that is none; [`AppError::Store`] as the database has it.
pub async fn create(
    db: &Db,
    clock: &Clock,
    entropy: &Entropy,
    name: &str,
    role: Role,
) -> Result<NewToken, AppError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        let message = format!("A workspace's name has from 1 to {NAME_MAX} printable characters.");
        return Err(Refusal::invalid(message, &["workspace"]).into());
    }
    let mut bytes = [0; SECRET_LEN];
    entropy.fill(&mut bytes);
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let made = match enter(db, clock, entropy, name, role, &secret).await {
        // Somebody else made the workspace in the same moment.
        Err(StoreError::Duplicate(_)) => enter(db, clock, entropy, name, role, &secret).await?,
        other => other?,
    };
    Ok(NewToken {
        secret,
        caller: made,
    })
}

/// One transaction: the workspace, if it is new, and the token.
async fn enter(
    db: &Db,
    clock: &Clock,
    entropy: &Entropy,
    name: &str,
    role: Role,
    secret: &str,
) -> Result<Caller, StoreError> {
    let now = clock.now();
    let tx = db.begin().await?;
    let workspace = match workspace::by_name(&tx, name).await? {
        Some(workspace) => workspace,
        None => {
            let workspace: WorkspaceId = entropy.id(now);
            workspace::insert(&tx, workspace, name, now).await?;
            workspace
        }
    };
    let token: TokenId = entropy.id(now);
    token::insert(&tx, workspace, token, role.into(), &sha256_hex(secret), now).await?;
    tx.commit().await?;
    Ok(caller(workspace, role, token))
}

/// Who comes with this token; `None` for every text that is no valid token, for whatever reason.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn authenticate(
    db: &Db,
    clock: &Clock,
    text: &str,
) -> Result<Option<Caller>, StoreError> {
    if !text.starts_with(PREFIX) || text.len() > TEXT_MAX {
        return Ok(None);
    }
    let Some(row) = token::valid(db.read(), &sha256_hex(text), clock.now()).await? else {
        return Ok(None);
    };
    let role = Role::from_str(&row.role).map_err(|error| StoreError::corrupt("role", error))?;
    let workspace = WorkspaceId::from_uuid(row.workspace_id);
    Ok(Some(caller(workspace, role, TokenId::from_uuid(row.id))))
}

fn caller(workspace: WorkspaceId, role: Role, token: TokenId) -> Caller {
    Caller {
        workspace,
        role,
        token,
        name: token.to_string(),
    }
}
