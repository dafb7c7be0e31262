//! Reading a file that lies in the database in pieces.
//!
//! The parser pulls bytes and may wait for them, so it runs on a thread of its own. It asks for a
//! piece when it has none left; the chunk that is being carried out reads the piece in its
//! transaction and hands it over. A thread whose reader is dropped ends by itself.

use std::collections::HashMap;
use std::io::{self, Read};

use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bulk::{ChunkError, Operation};
use crate::domain::id::BulkId;
use crate::domain::import::{ImportError, ImportLine, ImportReader};
use crate::store;

/// How many lines are read ahead: each may be as long as a record may be.
const LINES_AHEAD: usize = 16;

/// The readers that a process keeps between the chunks of its imports.
#[derive(Default)]
pub struct Readers(HashMap<BulkId, Reader>);

impl Readers {
    /// A reader of the operation's file that has passed `done` lines: the one that is kept, if it
    /// stands there, else one that begins anew.
    pub(super) async fn at(
        &mut self,
        tx: &DatabaseTransaction,
        operation: &Operation,
        mapping: Option<Map<String, Value>>,
        done: u64,
    ) -> Result<Reader, ChunkError> {
        // One that stands elsewhere read a chunk that was never committed.
        let kept = self
            .0
            .remove(&operation.id)
            .filter(|reader| reader.lines_done == done);
        if let Some(reader) = kept {
            return Ok(reader);
        }
        let mut reader = Reader::new(mapping);
        while reader.lines_done < done {
            if reader.next(tx, operation).await?.is_none() {
                let reason = format!("the file has fewer lines than the {done} that are done");
                return Err(ChunkError::Broken(reason));
            }
        }
        Ok(reader)
    }

    /// Keeps a reader for the next chunk.
    pub(super) fn keep(&mut self, id: BulkId, reader: Reader) {
        self.0.insert(id, reader);
    }

    /// Drops the reader of an operation.
    pub(in crate::bulk) fn forget(&mut self, id: BulkId) {
        self.0.remove(&id);
    }
}

/// Reads one file, line by line.
pub(super) struct Reader {
    lines: mpsc::Receiver<ImportLine>,
    asked: mpsc::Receiver<()>,
    pieces: mpsc::Sender<String>,
    parsing: JoinHandle<Result<(), ImportError>>,
    next_piece: i32,
    lines_done: u64,
}

impl Reader {
    fn new(mapping: Option<Map<String, Value>>) -> Self {
        let (found, lines) = mpsc::channel(LINES_AHEAD);
        let (ask, asked) = mpsc::channel(1);
        let (pieces, given) = mpsc::channel(1);
        let file = Pieces {
            ask,
            given,
            piece: String::new(),
            read: 0,
        };
        let parsing = tokio::task::spawn_blocking(move || {
            for line in ImportReader::new(file, mapping.as_ref())? {
                if found.blocking_send(line).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Self {
            lines,
            asked,
            pieces,
            parsing,
            next_piece: 0,
            lines_done: 0,
        }
    }

    /// How many lines were read.
    pub(super) const fn lines_done(&self) -> u64 {
        self.lines_done
    }

    /// The next line; `None` after the last one.
    pub(super) async fn next(
        &mut self,
        tx: &DatabaseTransaction,
        operation: &Operation,
    ) -> Result<Option<ImportLine>, ChunkError> {
        loop {
            // Receiving may be given up at any point: what was not received stays in the channel.
            tokio::select! {
                biased;
                line = self.lines.recv() => return self.received(line).await,
                Some(()) = self.asked.recv() => self.give(tx, operation).await?,
            }
        }
    }

    async fn received(
        &mut self,
        line: Option<ImportLine>,
    ) -> Result<Option<ImportLine>, ChunkError> {
        if line.is_some() {
            self.lines_done += 1;
            return Ok(line);
        }
        match (&mut self.parsing).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => Err(ChunkError::Broken(error.to_string())),
            Err(panic) => Err(ChunkError::Broken(format!(
                "reading the file failed: {panic}"
            ))),
        }
    }

    /// Hands the parser its next piece; an empty one is the end.
    async fn give(
        &mut self,
        tx: &DatabaseTransaction,
        operation: &Operation,
    ) -> Result<(), ChunkError> {
        let piece =
            store::bulk::input(tx, operation.workspace, operation.id, self.next_piece).await?;
        self.next_piece += 1;
        // A parser that has ended needs no more; that it has is seen by its lines.
        if self.pieces.send(piece.unwrap_or_default()).await.is_err() {
            self.asked.close();
        }
        Ok(())
    }
}

/// The parser's end: the pieces as one stream of bytes.
struct Pieces {
    ask: mpsc::Sender<()>,
    given: mpsc::Receiver<String>,
    piece: String,
    read: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            let gone = |()| io::Error::other("nobody reads this file any more");
            self.ask.blocking_send(()).map_err(|_| gone(()))?;
            self.piece = self.given.blocking_recv().ok_or_else(|| gone(()))?;
            self.read = 0;
        }
        let mut rest = self.piece.as_bytes().get(self.read..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.read += count;
        Ok(count)
    }
}
