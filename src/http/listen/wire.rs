//! A connection's bytes, and the time that its client has for them.
//!
//! Between two requests nothing has to come; from the first byte of a head on, the rest has its time. While
//! a request is answered its body is the reader's affair, and a client that takes nothing of the answer is
//! given up.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::places::Place;

/// What a client hears whose first request did not come in time.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Whose turn it is on a connection; cheap to clone.
#[derive(Clone, Default)]
pub struct Turn(Arc<Turns>);

#[derive(Default)]
struct Turns {
    /// Even while it is the client's turn, odd while it is the server's.
    number: AtomicU64,
    /// Whether something is written that the client has not taken yet.
    is_stuck: AtomicBool,
    /// What is taken until the connection's end.
    kept: Mutex<Option<Place>>,
}

/// The server's turn, until it is dropped.
pub struct Busy(Option<Turn>);

impl Turn {
    /// A request's head has come.
    pub fn begin(&self) -> Busy {
        self.0.number.fetch_add(1, Ordering::SeqCst);
        Busy(Some(self.clone()))
    }

    /// Whether the server has nothing to answer, and the client has taken what was.
    pub fn is_clients(&self) -> bool {
        self.number().is_multiple_of(2) && !self.0.is_stuck.load(Ordering::SeqCst)
    }

    fn number(&self) -> u64 {
        self.0.number.load(Ordering::SeqCst)
    }
}

impl Busy {
    /// No request follows; the place is taken until the connection's end.
    pub fn for_ever(mut self, place: Option<Place>) {
        if let Some(turn) = self.0.take() {
            *turn.0.kept.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(turn) = &self.0 {
            turn.0.number.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A connection.
pub struct Wire {
    stream: TcpStream,
    turn: Turn,
    /// The turn of the client that `head` is for.
    number: u64,
    /// When the head must be there; `None` before its first byte.
    head: Option<Pin<Box<Sleep>>>,
    head_within: Duration,
    /// When the client must have read something; `None` while it does.
    stuck: Option<Pin<Box<Sleep>>>,
    read_within: Duration,
    _place: Place,
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is polled beside what it bounds, as no future stands around a connection's reads"
)]
fn in_time(within: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(within))
}

fn too_slow() -> io::Error {
    io::Error::from(io::ErrorKind::TimedOut)
}

impl Wire {
    /// A connection that was just taken; its first head has its time from now on.
    pub fn new(
        stream: TcpStream,
        turn: Turn,
        head_within: Duration,
        read_within: Duration,
        place: Place,
    ) -> Self {
        Self {
            stream,
            turn,
            number: 0,
            head: Some(in_time(head_within)),
            head_within,
            stuck: None,
            read_within,
            _place: place,
        }
    }

    /// What a write came to, within the time that a client may read nothing.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let is_stuck = written.is_pending();
        self.turn.0.is_stuck.store(is_stuck, Ordering::SeqCst);
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let within = self.read_within;
        let stuck = self.stuck.get_or_insert_with(|| in_time(within));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(too_slow()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let number = wire.turn.number();
        if number != wire.number {
            wire.number = number;
            wire.head = None;
        }
        let filled = buffer.filled().len();
        let read = Pin::new(&mut wire.stream).poll_read(cx, buffer);
        if !number.is_multiple_of(2) {
            return read;
        }
        match read {
            Poll::Ready(_) => {
                if wire.head.is_none() && buffer.filled().len() > filled {
                    wire.head = Some(in_time(wire.head_within));
                }
                read
            }
            Poll::Pending => {
                let Some(head) = &mut wire.head else {
                    return Poll::Pending;
                };
                ready!(head.as_mut().poll(cx));
                // Nothing was answered before, so that nothing stands between.
                if number == 0 {
                    drop(wire.stream.try_write(TOO_SLOW));
                }
                Poll::Ready(Err(too_slow()))
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.stream).poll_write(cx, bytes);
        wire.written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.stream).poll_write_vectored(cx, slices);
        wire.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// What is answered. The server's turn lasts until all of it is handed on to be written, and so does the
/// request's place.
pub struct Answer {
    body: Body,
    _busy: Option<Busy>,
    _place: Option<Place>,
}

impl Answer {
    /// The answer to a request.
    pub fn new(body: Body, busy: Busy, place: Option<Place>) -> Self {
        Self {
            body,
            _busy: Some(busy),
            _place: place,
        }
    }

    /// An answer that is there as a whole.
    pub fn whole(body: Body) -> Self {
        Self {
            body,
            _busy: None,
            _place: None,
        }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
