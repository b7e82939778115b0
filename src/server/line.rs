//! A connection's socket, shared between whoever drives the connection and whoever wants to know whether
//! its client is still there.
//!
//! While a request's body is left unread nobody reads the socket, so that a client that leaves is not
//! noticed. A [`Departure`] notices: it asks the kernel, now and then, whether the other side has closed.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// How often the kernel is asked.
const LOOK: Duration = Duration::from_millis(500);

/// A socket, shared. The lock is held for single calls that do not wait, and rarely by two.
pub struct Line<S>(Arc<Mutex<S>>);

impl<S> Line<S> {
    /// Shares `socket`.
    pub fn new(socket: S) -> Self {
        Self(Arc::new(Mutex::new(socket)))
    }

    fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsFd + Send + 'static> Line<S> {
    /// Whether the other side is still there, for the requests of this connection.
    pub fn presence(&self) -> Presence {
        Presence(Arc::<Mutex<S>>::clone(&self.0))
    }
}

/// Asks whether the other side of a connection is still there. Keeps the socket open.
#[derive(Clone)]
pub struct Presence(Arc<dyn IsClosed>);

trait IsClosed: Send + Sync {
    fn is_closed(&self) -> bool;
}

impl<S: AsFd + Send> IsClosed for Mutex<S> {
    fn is_closed(&self) -> bool {
        let socket = self.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked = [PollFd::new(&*socket, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        // If the kernel does not say, the timeouts of whoever waits do.
        matches!(poll(&mut asked, Some(&Timespec::default())), Ok(1..)) && asked[0].revents().intersects(gone)
    }
}

/// When the client of a request leaves; in the extensions of requests that have a body. For one who waits.
#[derive(Clone)]
pub struct Departure {
    presence: Presence,
    /// Told when the protocol has given the request up.
    given_up: Arc<Notify>,
}

impl Departure {
    /// Of a request on the connection that `presence` asks about.
    pub fn new(presence: Presence) -> Self {
        Self { presence, given_up: Arc::new(Notify::new()) }
    }

    /// Tells, when it is dropped, that nobody waits for the answer any more.
    pub fn teller(&self) -> Teller {
        Teller(Arc::clone(&self.given_up))
    }

    /// Waits until the client has left.
    pub async fn awaited(&self) {
        while !self.presence.0.is_closed() {
            let looked = tokio::time::timeout(LOOK, self.given_up.notified());
            if looked.await.is_ok() {
                return;
            }
        }
    }
}

/// Held by the protocol's side of a request.
pub struct Teller(Arc<Notify>);

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_client_that_leaves_is_noticed_though_what_it_sent_is_unread() {
        let (ours, mut theirs) = UnixStream::pair().expect("sockets");
        theirs.write_all(b"unread").await.expect("sent");
        let line = Line::new(ours);
        let departure = Departure::new(line.presence());
        let early = tokio::time::timeout(LOOK * 3, departure.awaited());
        assert!(early.await.is_err(), "it is there");
        drop(theirs);
        tokio::time::timeout(LOOK * 60, departure.awaited()).await.expect("it has left");
    }

    #[tokio::test]
    async fn a_request_that_the_protocol_gives_up_has_left_though_the_connection_is_there() {
        let (ours, _theirs) = UnixStream::pair().expect("sockets");
        let departure = Departure::new(Line::new(ours).presence());
        drop(departure.teller());
        tokio::time::timeout(LOOK * 60, departure.awaited()).await.expect("it has left");
    }
}
