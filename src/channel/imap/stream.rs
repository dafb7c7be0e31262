//! A connection to an IMAP server, plain or encrypted, of which no more is read at once than was asked
//! for, and no more is held than has come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::answer::{Answer, Excess};

/// The library makes so much more room than it needs, at most, in bytes.
const SPARE: usize = 64 << 10;

/// How much may still be read; shared by a connection and who asks over it.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    /// So many bytes from now on.
    pub fn allow(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    wire: Wire,
    left: Allowance,
    answer: Answer,
}

impl Stream {
    pub fn plain(stream: TcpStream, left: Allowance) -> Self {
        Self::over(Wire::Plain(stream), left)
    }

    pub fn tls(stream: TlsStream<TcpStream>, left: Allowance) -> Self {
        Self::over(Wire::Tls(Box::new(stream)), left)
    }

    fn over(wire: Wire, left: Allowance) -> Self {
        let answer = Answer::default();
        Self { wire, left, answer }
    }

    /// The socket of a connection that is not encrypted.
    pub fn into_tcp(self) -> Option<TcpStream> {
        match self.wire {
            Wire::Plain(stream) => Some(stream),
            Wire::Tls(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.left.0.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::Error::other(Excess::Sent)));
        }
        // The library has made room for what the server announced.
        if buffer.remaining() > left.saturating_add(SPARE) {
            return Poll::Ready(Err(io::Error::other(Excess::Announced)));
        }
        let before = buffer.filled().len();
        let read = match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        ready!(read)?;
        let piece = buffer.filled().get(before..).unwrap_or_default();
        let left = left.saturating_sub(piece.len());
        self.left.0.store(left, Ordering::Relaxed);
        Poll::Ready(self.answer.take(piece, left).map_err(io::Error::other))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(context),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
