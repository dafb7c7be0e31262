//! API tokens: made once, shown once, known afterwards only by their hash.

pub mod access;
mod uses;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use super::{AppError, Caller, Refusal, RefusalCode, Role, Services};
use crate::clock::Clock;
use crate::domain::id::{TokenId, WorkspaceId};
use crate::domain::scope::SequenceScope;
use crate::entropy::Entropy;
use crate::secrets::sha256_hex;
use crate::store::token::{self, Row};
use crate::store::{self, Db, StoreError, audit, dialect, sequence, workspace};

/// What every token begins with, so that a leaked one is recognised.
pub const PREFIX: &str = "cdz_";
/// The random bytes of a token: 256 bits cannot be guessed, so that a plain hash protects them.
const SECRET_LEN: usize = 32;
/// How many characters of a token stay known, so that its owner recognises it: 24 bits of it.
const HINT_LEN: usize = PREFIX.len() + 4;
/// The longest text that is looked up as a token.
const TEXT_MAX: usize = 128;
/// The longest name of a workspace or a token, in characters.
pub(super) const NAME_MAX: usize = 100;
/// The most sequences that a token is limited to.
pub const SEQUENCES_MAX: usize = 100;
/// The most tokens of a workspace that are valid or were.
const TOKENS_MAX: i64 = 10_000;

/// A token as it is shown, once.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The secret text.
    pub secret: String,
    /// Who comes with it.
    pub caller: Caller,
}

/// What a token is to be.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// When it ends; never, if it is not said.
    pub expires_at: Option<DateTime<Utc>>,
    /// The sequences that it is limited to.
    pub scope: SequenceScope,
}

impl Terms {
    /// A token of a role that does not expire.
    pub fn of(role: Role) -> Self {
        Self {
            name: format!("{role} token").to_lowercase(),
            role,
            expires_at: None,
            scope: SequenceScope::All,
        }
    }

    /// What is wrong with them.
    fn check(&self, now: DateTime<Utc>) -> Vec<Refusal> {
        let mut wrong = Vec::new();
        if !is_name(&self.name) {
            let message = format!("A token's name has from 1 to {NAME_MAX} printable characters.");
            wrong.push(Refusal::invalid(message, &["name"]));
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            let message = "The token would have expired already; give a time in the future.";
            wrong.push(Refusal::invalid(message, &["expiresAt"]));
        }
        if let Some(sequences) = self.scope.sequences() {
            let path = &["sequenceIds"];
            if !(1..=SEQUENCES_MAX).contains(&sequences.len()) {
                let message = format!(
                    "A token is limited to at least one sequence and at most {SEQUENCES_MAX}; \
                     leave sequenceIds out for a token of the whole workspace."
                );
                wrong.push(Refusal::invalid(message, path));
            }
            if self.role == Role::Admin {
                let message = "An admin manages the whole workspace: a token that is limited to \
                               sequences is a viewer's or an editor's.";
                wrong.push(Refusal::invalid(message, path));
            }
        }
        wrong
    }
}

/// Whether a text can be the name of a token or of a workspace.
pub(super) fn is_name(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.chars().count() <= NAME_MAX && !text.chars().any(char::is_control)
}

/// Makes a token of a workspace, and the workspace if it is new.
///
/// # Errors
/// [`AppError::Refused`] for a name that is none; [`AppError::Store`] as the database has it.
pub async fn create(
    db: &Db,
    clock: &Clock,
    entropy: &Entropy,
    workspace: &str,
    terms: &Terms,
) -> Result<NewToken, AppError> {
    let workspace = workspace.trim();
    let mut wrong = terms.check(clock.now());
    if !is_name(workspace) {
        let message = format!("A workspace's name has from 1 to {NAME_MAX} printable characters.");
        wrong.push(Refusal::invalid(message, &["workspace"]));
    }
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    match enter(db, clock, entropy, workspace, terms).await {
        // Somebody else made the workspace in the same moment.
        Err(AppError::Store(StoreError::Duplicate(_))) => {
            enter(db, clock, entropy, workspace, terms).await
        }
        other => other,
    }
}

/// One transaction: the workspace, if it is new, and the token.
async fn enter(
    db: &Db,
    clock: &Clock,
    entropy: &Entropy,
    name: &str,
    terms: &Terms,
) -> Result<NewToken, AppError> {
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
    check_sequences(&tx, workspace, terms).await?;
    let (secret, row) = draw(entropy, workspace, terms, COMMAND_LINE, now);
    let made = caller(
        workspace,
        terms.role,
        TokenId::from_uuid(row.id),
        terms.scope.clone(),
    );
    let entry = audited(entropy, workspace, terms, made.token, now);
    token::insert(&tx, row).await?;
    audit::finish(&tx, &entry, &audit::Ending::DONE).await?;
    tx.commit().await?;
    Ok(NewToken {
        secret,
        caller: made,
    })
}

/// Who made what was made on the server's own machine.
const COMMAND_LINE: &str = "command line";

/// The entry of the audit of a token that is made on the server's own machine.
fn audited(
    entropy: &Entropy,
    workspace: WorkspaceId,
    terms: &Terms,
    made: TokenId,
    now: DateTime<Utc>,
) -> audit::NewEntry {
    let sequences = terms.scope.sequences().map(|ids| {
        let ids = ids.iter().map(ToString::to_string);
        ids.collect::<Vec<_>>()
    });
    audit::NewEntry {
        id: entropy.id(now),
        workspace,
        at: now,
        token: None,
        name: COMMAND_LINE.to_owned(),
        role: None,
        mutation: "tokenCreate".to_owned(),
        input: serde_json::json!({ "input": {
            "name": terms.name.trim(), "role": terms.role.to_string(), "sequenceIds": &sequences,
        } }),
        objects: [made.to_string()]
            .into_iter()
            .chain(sequences.into_iter().flatten())
            .collect(),
        request: None,
    }
}

fn draw(
    entropy: &Entropy,
    workspace: WorkspaceId,
    terms: &Terms,
    by: &str,
    now: DateTime<Utc>,
) -> (String, Row) {
    let mut bytes = [0; SECRET_LEN];
    entropy.fill(&mut bytes);
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let id: TokenId = entropy.id(now);
    let row = Row {
        id: id.uuid(),
        workspace_id: workspace.uuid(),
        name: terms.name.trim().to_owned(),
        role: terms.role.to_string(),
        secret_hash: sha256_hex(&secret),
        hint: secret.chars().take(HINT_LEN).collect(),
        created_at: now.timestamp_millis(),
        created_by: by.to_owned(),
        expires_at: terms.expires_at.map(|at| at.timestamp_millis()),
        revoked_at: None,
        revoked_by: None,
        last_used_at: None,
        sequence_ids: store::scope::kept(&terms.scope),
    };
    (secret, row)
}

/// Makes another token of the caller's workspace.
///
/// # Errors
/// [`AppError::Refused`] with every field that is wrong, or with `LIMIT` where the workspace has as
/// many as it may have; [`AppError::Store`] as the database has it.
pub async fn add(
    services: &Services,
    by: &Caller,
    terms: &Terms,
) -> Result<(String, Row), AppError> {
    let now = services.clock.now();
    let wrong = terms.check(now);
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    let tx = services.db.begin().await?;
    if token::count(&tx, by.workspace).await? >= TOKENS_MAX {
        let message =
            format!("A workspace has at most {TOKENS_MAX} tokens, revoked ones included.");
        return Err(Refusal::new(RefusalCode::Limit, message, &[]).into());
    }
    check_sequences(&tx, by.workspace, terms).await?;
    let (secret, row) = draw(&services.entropy, by.workspace, terms, &by.name, now);
    token::insert(&tx, row.clone()).await?;
    tx.commit().await?;
    tracing::info!(token = %TokenId::from_uuid(row.id), role = row.role, by = by.name, "made a token");
    Ok((secret, row))
}

/// Revokes a token of the caller's workspace; one that was revoked before stays as it is. What was begun
/// with it goes on, unless `ends_operations` says otherwise.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such token, and with
/// `WRONG_STATE` if it is the caller's own; [`AppError::Store`] as the database has it.
pub async fn revoke(
    services: &Services,
    by: &Caller,
    id: TokenId,
    ends_operations: bool,
) -> Result<Row, AppError> {
    if id == by.token {
        let message = "This is the token that you are using: revoke it with another one, so that \
                       nobody locks themselves out.";
        return Err(Refusal::new(RefusalCode::WrongState, message, &["id"]).into());
    }
    let tx = services.db.begin().await?;
    let Some(mut row) = token::lock(&tx, by.workspace, id).await? else {
        let message = "There is no token with this id: take the id from `tokens`.";
        return Err(Refusal::not_found(message, &["id"]).into());
    };
    let now = services.clock.now();
    let is_new = row.revoked_at.is_none();
    if is_new {
        row.revoked_at = Some(now.timestamp_millis());
        row.revoked_by = Some(by.name.clone());
        token::save(&tx, row.clone()).await?;
    }
    if ends_operations {
        for operation in store::bulk::open_of_token(&tx, by.workspace, id).await? {
            if store::bulk::cancel(&tx, by.workspace, operation, now).await? {
                store::bulk::delete_input(&tx, by.workspace, operation).await?;
            }
        }
        dialect::notify(&tx).await?;
    }
    tx.commit().await?;
    if ends_operations {
        services.wake.log();
    }
    if is_new {
        tracing::info!(token = %id, by = by.name, "revoked a token");
    }
    Ok(row)
}

/// Refuses terms that name a sequence which the workspace does not have.
async fn check_sequences(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    terms: &Terms,
) -> Result<(), AppError> {
    let asked = terms.scope.sequences().unwrap_or_default();
    let found = sequence::find_many(tx, workspace, asked).await?;
    match asked
        .iter()
        .find(|id| found.iter().all(|row| row.id != **id))
    {
        None => Ok(()),
        Some(id) => {
            let message = format!("There is no sequence {id}: take the ids from `sequences`.");
            Err(Refusal::not_found(message, &["sequenceIds"]).into())
        }
    }
}

fn caller(workspace: WorkspaceId, role: Role, token: TokenId, scope: SequenceScope) -> Caller {
    Caller {
        scope,
        workspace,
        role,
        token,
        name: token.to_string(),
    }
}
