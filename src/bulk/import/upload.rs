//! A file that comes in piece by piece, and is never held whole.
//!
//! Its pieces are written as they come, under the id of the operation that it is to become; the operation is
//! entered once the file is whole. What is cut off is deleted at once, or, where the process died, when the
//! next file begins.

use chrono::TimeDelta;
use serde_json::json;

use super::{Options, Request, holds_nul, refused};
use crate::app::{AppError, Caller, Refusal, Services};
use crate::bulk::submit::{self, Digest, Input, PIECE_BYTES};
use crate::domain::bulk::BulkKind;
use crate::domain::id::{BulkId, WorkspaceId};
use crate::domain::import::ImportReader;
use crate::store::{self, StoreError, bulk};

/// Files of which nothing has come for so long are given up. Whoever takes them in waits for less.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::minutes(15);

/// A file that comes in.
pub struct Upload {
    services: Services,
    caller: Caller,
    request: Request,
    idempotency_key: Option<String>,
    id: BulkId,
    /// What has come and is not written yet.
    pending: Vec<u8>,
    digest: Digest,
    pieces: i32,
    bytes: usize,
    is_over: bool,
}

impl Upload {
    /// Begins to take in a file.
    ///
    /// # Errors
    /// [`AppError::Refused`] where what is to be done with it cannot be read; [`AppError::Store`] as the
    /// database has it.
    pub async fn begin(
        services: &Services,
        caller: &Caller,
        options: Options,
    ) -> Result<Self, AppError> {
        let (request, idempotency_key) = options.read()?;
        submit::check(&json!(request), idempotency_key.as_deref())?;
        let now = services.clock.now();
        let id = services.entropy.id(now);
        let tx = services.db.begin().await?;
        bulk::upload::sweep(&tx, now - GIVEN_UP_AFTER).await?;
        bulk::upload::begin(&tx, caller.workspace, id, now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(Self {
            services: services.clone(),
            caller: caller.clone(),
            request,
            idempotency_key,
            id,
            pending: Vec::new(),
            digest: Digest::new(),
            pieces: 0,
            bytes: 0,
            is_over: false,
        })
    }

    /// Takes in what comes next.
    ///
    /// # Errors
    /// [`AppError::Refused`] where it is no CSV file in UTF-8, or its header cannot be read.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), AppError> {
        self.pending.extend_from_slice(bytes);
        while self.pending.len() >= PIECE_BYTES {
            self.write_piece(false).await?;
        }
        Ok(())
    }

    /// The file is whole: submits its import, does as much of it as takes a moment, and answers the
    /// operation.
    ///
    /// # Errors
    /// As [`Self::write`] and [`super::submit`].
    pub async fn finish(mut self) -> Result<BulkId, AppError> {
        let done = self.submit().await;
        // What was submitted before under the same key leaves this file to nobody.
        if !done.as_ref().is_ok_and(|id| *id == self.id) {
            self.is_over = true;
            forget(&self.services, self.caller.workspace, self.id).await?;
        }
        self.is_over = true;
        done
    }

    /// The file did not come whole: forgets what has come of it.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it; what is left is then forgotten later.
    pub async fn give_up(mut self) -> Result<(), StoreError> {
        self.is_over = true;
        forget(&self.services, self.caller.workspace, self.id).await
    }

    async fn submit(&mut self) -> Result<BulkId, AppError> {
        // A file without a byte is refused for its header.
        while !self.pending.is_empty() || self.pieces == 0 {
            self.write_piece(true).await?;
        }
        let digest = std::mem::replace(&mut self.digest, Digest::new()).finish();
        submit::submit_with(
            &self.services,
            &self.caller,
            (BulkKind::ImportPeople, json!(self.request)),
            (self.id, Input::Uploaded(digest)),
            self.idempotency_key.take(),
        )
        .await
    }

    /// Writes the first piece of what is pending.
    async fn write_piece(&mut self, is_last: bool) -> Result<(), AppError> {
        let most = self.pending.get(..PIECE_BYTES).unwrap_or(&self.pending);
        let reaches_end = most.len() == self.pending.len();
        let piece = match std::str::from_utf8(most) {
            Ok(piece) => piece,
            // The end of the piece cuts a character: the next one begins with it.
            Err(error) if error.error_len().is_none() && !(is_last && reaches_end) => {
                let whole = most.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(whole).unwrap_or_default()
            }
            Err(error) => return Err(no_text(self.bytes + error.valid_up_to()).into()),
        };
        if piece.contains('\0') {
            return Err(holds_nul().into());
        }
        if self.pieces == 0 {
            let mapping = self.request.mapping.as_ref();
            ImportReader::new(piece.as_bytes(), mapping).map_err(refused)?;
        }
        let (services, workspace) = (&self.services, self.caller.workspace);
        let tx = services.db.begin().await?;
        if !bulk::upload::touch(&tx, workspace, self.id, services.clock.now()).await? {
            return Err(given_up());
        }
        bulk::insert_input(&tx, workspace, self.id, self.pieces, piece).await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.digest.update(piece);
        self.pieces += 1;
        let written = piece.len();
        self.bytes += written;
        self.pending.drain(..written);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Whoever sent it is gone, and the request with them.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (services, workspace, id) = (self.services.clone(), self.caller.workspace, self.id);
            runtime.spawn(async move {
                if let Err(error) = forget(&services, workspace, id).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "what came of a file that was cut off is forgotten later"
                    );
                }
            });
        }
    }
}

async fn forget(services: &Services, workspace: WorkspaceId, id: BulkId) -> Result<(), StoreError> {
    let tx = services.db.begin().await?;
    // An operation that was entered all the same keeps its input.
    if bulk::upload::end(&tx, workspace, id).await? {
        store::bulk::delete_input(&tx, workspace, id).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Nothing came of a file for so long that it was forgotten.
pub(in crate::bulk) fn given_up() -> AppError {
    let message = "The file came too slowly and was given up: send it again.";
    Refusal::invalid(message, &["csv"]).into()
}

fn no_text(at: usize) -> Refusal {
    let message =
        format!("The file is not text in UTF-8 from byte {at} on: save it as CSV in UTF-8.");
    Refusal::invalid(message, &["csv"])
}
