//! Submitting an operation: once for each key, and small ones done before the answer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Step, Workbench, import, may_see, step};
use crate::app::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::domain::bulk::BulkKind;
use crate::domain::id::{BulkId, WorkspaceId};
use crate::store::sql::holds_nul;
use crate::store::{self, StoreError};

/// How many items [`submit`] does before it leaves the rest to the runner.
const AT_ONCE_ITEMS: i64 = 1_000;
/// For how long [`submit`] goes on before it leaves the rest to the runner.
const AT_ONCE: Duration = Duration::from_millis(250);
/// For how long a key answers the operation that was submitted under it.
const KEY_LIFE: TimeDelta = TimeDelta::hours(24);
/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;
/// The size of a piece of input, in bytes.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// Submits an operation, carries out as much of it as takes a moment, and answers its id.
///
/// The same kind and request under the same key within 24 hours answers the first operation and
/// does nothing again. `input` is kept until the operation is over, in pieces.
///
/// # Errors
/// [`AppError::Refused`] with `CONFLICT` if the key was used for something else, with `INVALID` if
/// it is too long or holds control characters, or if the request holds a NUL; [`AppError::Store`] as the database has it, where nothing was submitted.
pub async fn submit(
    services: &Services,
    caller: &Caller,
    kind: BulkKind,
    request: Value,
    input: Option<String>,
    idempotency_key: Option<String>,
) -> Result<BulkId, AppError> {
    let id = services.entropy.id(services.clock.now());
    let input = input.map_or(Input::Nothing, Input::Text);
    submit_with(
        services,
        caller,
        (kind, request),
        (id, input),
        idempotency_key,
    )
    .await
}

/// What an operation is submitted with.
pub(super) enum Input {
    /// Nothing.
    Nothing,
    /// A text, which is kept in pieces.
    Text(String),
    /// Pieces that lie in the database already, under the operation's id; and what tells their text from
    /// others, as [`Digest`] has it.
    Uploaded(String),
}

/// The same, under an id that is known already.
///
/// # Errors
/// As [`submit`], and with `INVALID` where pieces that should lie there do not any more.
pub(super) async fn submit_with(
    services: &Services,
    caller: &Caller,
    (kind, request): (BulkKind, Value),
    (id, input): (BulkId, Input),
    idempotency_key: Option<String>,
) -> Result<BulkId, AppError> {
    check(&request, idempotency_key.as_deref())?;
    let digest = match &input {
        Input::Nothing => None,
        Input::Text(text) => Some(Digest::of(text)),
        Input::Uploaded(digest) => Some(digest.clone()),
    };
    let new = store::bulk::NewOperation {
        id,
        kind,
        request_hash: fingerprint(kind, &request, digest.as_deref()),
        request,
        idempotency_key: idempotency_key.map(|key| of_caller(caller, key)),
        token: caller.token,
        scope: caller.scope.clone(),
        undoes: None,
    };
    let entered = match enter(services, caller, &new, &input).await {
        // Somebody else entered the same key in the same moment: that one counts.
        Err(AppError::Store(StoreError::Duplicate(_))) => {
            enter(services, caller, &new, &input).await?
        }
        other => other?,
    };
    drop(input);
    match entered {
        Entered::Before(id) => Ok(id),
        Entered::Now => {
            begin(services, caller.workspace, new.id).await;
            Ok(new.id)
        }
    }
}

/// Whether a request and a key can be kept.
///
/// # Errors
/// [`AppError::Refused`] with `INVALID`.
pub(super) fn check(request: &Value, idempotency_key: Option<&str>) -> Result<(), AppError> {
    let key = idempotency_key.unwrap_or_default();
    if key.chars().count() > KEY_CHARS_MAX {
        return Err(refused(
            RefusalCode::Invalid,
            format!(
                "The idempotencyKey is longer than {KEY_CHARS_MAX} characters; use a shorter one."
            ),
        ));
    }
    if key.contains(char::is_control) {
        return Err(refused(
            RefusalCode::Invalid,
            "The idempotencyKey holds control characters; use one without.".to_owned(),
        ));
    }
    if holds_nul(request) {
        let message = "The input holds a NUL character: remove it.";
        return Err(Refusal::invalid(message, &[]).into());
    }
    Ok(())
}

/// A key as it is kept. Those of callers with different limits are apart: nobody learns from a key, or
/// takes one away, outside of what they see.
pub(super) fn of_caller(caller: &Caller, key: String) -> String {
    match caller.scope.sequences() {
        None => key,
        Some(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            // No key that a caller gives holds a control character.
            format!("{}\u{1}{key}", hash(ids.iter().map(String::as_str)))
        }
    }
}

/// Whether the key of an operation still answers it.
pub(super) fn counts(before: &store::bulk::Row, now: DateTime<Utc>) -> bool {
    before.created_at > (now - KEY_LIFE).timestamp_millis()
}

enum Entered {
    /// The key answers this operation.
    Before(BulkId),
    /// There is a new operation.
    Now,
}

/// One transaction: looks the key up, and enters the operation with its input.
async fn enter(
    services: &Services,
    caller: &Caller,
    new: &store::bulk::NewOperation,
    input: &Input,
) -> Result<Entered, AppError> {
    let workspace = caller.workspace;
    let now = services.clock.now();
    let tx = services.db.begin().await?;
    if let Some(key) = &new.idempotency_key
        && let Some(before) = store::bulk::by_key(&tx, workspace, key).await?
    {
        let id = BulkId::from_uuid(before.id);
        if counts(&before, now) {
            if before.request_hash == new.request_hash && may_see(caller, &before)? {
                return Ok(Entered::Before(id));
            }
            return Err(refused(
                RefusalCode::Conflict,
                "This idempotencyKey was used for another input within 24 hours; use a new key \
                 for a new operation."
                    .into(),
            ));
        }
        store::bulk::free_key(&tx, workspace, id).await?;
    }
    store::bulk::insert(&tx, workspace, new, now).await?;
    match input {
        Input::Nothing => {}
        Input::Text(text) => {
            for (ordinal, piece) in (0..).zip(pieces(text)) {
                store::bulk::insert_input(&tx, workspace, new.id, ordinal, piece).await?;
            }
        }
        Input::Uploaded(_) => {
            if !store::bulk::upload::end(&tx, workspace, new.id).await? {
                return Err(import::upload::given_up());
            }
        }
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Entered::Now)
}

fn refused(code: RefusalCode, message: String) -> AppError {
    AppError::Refused(vec![Refusal {
        code,
        message,
        path: vec!["idempotencyKey".into()],
    }])
}

/// Carries out what takes a moment. Whatever goes wrong is the runner's to repeat: the operation
/// is entered.
pub(super) async fn begin(services: &Services, workspace: WorkspaceId, id: BulkId) {
    let mut workbench = Workbench::default();
    let until = services.clock.after_real(AT_ONCE);
    loop {
        match step(services, &mut workbench, workspace, id, None).await {
            Ok(Step::More { processed })
                if processed < AT_ONCE_ITEMS && services.clock.now() < until => {}
            Ok(Step::More { .. } | Step::Over) => break,
            Err(error) => {
                tracing::warn!(bulk.id = %id, error = &error as &dyn std::error::Error,
                    "a bulk operation could not begin at once; the runner goes on with it");
                break;
            }
        }
    }
    // Only now: this bell also wakes the runner, which would take the operation over.
    services.wake.due();
}

/// What tells one submission from another: SHA-256 of kind, request and the input's [`Digest`]. The order
/// of the fields of an object does not count.
pub(super) fn fingerprint(kind: BulkKind, request: &Value, digest: Option<&str>) -> String {
    let mut request = request.clone();
    request.sort_all_objects();
    let request = request.to_string();
    hash([kind.into(), request.as_str(), digest.unwrap_or_default()])
}

/// What tells one text from another, reckoned piece by piece: SHA-256.
pub(super) struct Digest(ring::digest::Context);

impl Digest {
    /// Of no text yet.
    pub(super) fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Of a whole text.
    fn of(text: &str) -> String {
        let mut digest = Self::new();
        digest.update(text);
        digest.finish()
    }

    /// Adds the next piece.
    pub(super) fn update(&mut self, piece: &str) {
        self.0.update(piece.as_bytes());
    }

    /// The digest of all pieces, in hexadecimal digits.
    pub(super) fn finish(self) -> String {
        hexadecimal(self.0)
    }
}

/// SHA-256 of texts, in hexadecimal digits.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        // The length before each part, so that no two lists run into the same bytes.
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    hexadecimal(context)
}

fn hexadecimal(context: ring::digest::Context) -> String {
    let digest = context.finish();
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// A text in pieces of about [`PIECE_BYTES`], none of which cuts a character.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_cut_no_character() {
        // An odd byte first, so that every piece would end inside of a letter.
        let odd = format!("a{}", "é".repeat(PIECE_BYTES));
        assert_eq!(pieces(&odd).count(), 3);
        assert_eq!(pieces(&odd).collect::<String>(), odd);
        assert!(pieces(&odd).all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(pieces("").count(), 0);
    }

    #[test]
    fn a_fingerprint_depends_on_what_counts_only() {
        let a = serde_json::json!({"x": 1, "y": {"b": 1, "a": 2}});
        let b = serde_json::json!({"y": {"a": 2, "b": 1}, "x": 1});
        let of = |kind, request: &Value, input| fingerprint(kind, request, input);
        assert_eq!(of(BulkKind::Pause, &a, None), of(BulkKind::Pause, &b, None));
        assert_ne!(
            of(BulkKind::Pause, &a, None),
            of(BulkKind::Resume, &a, None)
        );
        assert_ne!(
            of(BulkKind::Pause, &a, None),
            of(BulkKind::Pause, &a, Some("x"))
        );
    }
}
