//! The socket under a connection, watched: a head that does not end, a connection nobody uses
//! and a client that takes nothing are cut here, below TLS and HTTP, so that no protocol needs
//! its own clocks. A [`Pulse`] tells the socket what the requests above are doing.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long, at the close, what the client still sends is read and thrown away: a close with
/// unread bytes is a reset, which can take the answer away from a client that is still sending.
const LINGER: Duration = Duration::from_secs(3);

/// What a connection is doing, shared by its socket and its requests. Times are milliseconds
/// since the connection came.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    in_flight: AtomicU32,
    idle_since: AtomicU64,
    /// When the first byte of the next head came, plus one; 0 if none has.
    head_since: AtomicU64,
    served: AtomicBool,
    multiplexed: AtomicBool,
    unread: AtomicBool,
    /// Pieces of answers that are not yet taken, and when one last was given or some of it taken.
    offering: AtomicU32,
    moved: AtomicU64,
}

impl Pulse {
    /// A connection has come.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            in_flight: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            served: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            offering: AtomicU32::new(0),
            moved: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The head of a request is whole. `multiplexed`: other heads may come meanwhile (HTTP/2).
    pub fn begin(&self, multiplexed: bool) {
        self.multiplexed.store(multiplexed, Ordering::Release);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.head_since.store(0, Ordering::Release);
        self.served.store(true, Ordering::Release);
    }

    /// A request has ended.
    pub fn end(&self) {
        self.idle_since.store(self.now(), Ordering::Release);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// The TLS handshake is done: what was read so far was no head.
    pub fn handshake_done(&self) {
        self.idle_since.store(self.now(), Ordering::Release);
        self.head_since.store(0, Ordering::Release);
    }

    /// No request is under way and none has begun to arrive.
    pub fn is_unused(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0 && self.head_since.load(Ordering::Acquire) == 0
    }

    /// Since when it waits for the client to ask something; none while a request is under way, or a piece
    /// of an answer is yet to be taken.
    pub fn idle_since(&self) -> Option<Instant> {
        let busy = self.in_flight.load(Ordering::Acquire) > 0 || self.offering.load(Ordering::Acquire) > 0;
        let since = self.idle_since.load(Ordering::Acquire);
        (!busy).then(|| self.start + Duration::from_millis(since))
    }

    /// A request body was given up before its end.
    pub fn left_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Whether one was.
    pub fn is_left_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// An answer gave a piece (`true`), or that piece was taken or given up (`false`).
    pub fn offer(&self, given: bool) {
        self.took();
        if given {
            self.offering.fetch_add(1, Ordering::AcqRel);
        } else {
            self.offering.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The client took bytes of a piece; the request that it answers may have ended long ago.
    pub fn took(&self) {
        let now = self.now();
        self.moved.store(now, Ordering::Release);
        if self.in_flight.load(Ordering::Acquire) == 0 {
            self.idle_since.store(now, Ordering::Release);
        }
    }

    /// The client took bytes of some kind. In HTTP/1 after a request that is an answer's rest. In
    /// HTTP/2, or before the first request, it may be anything, an answer to a PING for one.
    fn wrote(&self) {
        let answers = self.served.load(Ordering::Acquire) && !self.multiplexed.load(Ordering::Acquire);
        if answers && self.in_flight.load(Ordering::Acquire) == 0 {
            self.idle_since.store(self.now(), Ordering::Release);
        }
    }

    fn arrived(&self) {
        if self.in_flight.load(Ordering::Acquire) == 0 && self.head_since.load(Ordering::Acquire) == 0 {
            self.head_since.store(self.now() + 1, Ordering::Release);
        }
    }

    /// When to look again, and what it means if nothing has happened by then.
    fn patience(&self, limits: &IoLimits) -> (Instant, Verdict) {
        let at = |ms: u64, wait: Duration| self.start + Duration::from_millis(ms) + wait;
        // HTTP/2 has windows of its own: a client can leave them shut over a willing socket.
        if self.multiplexed.load(Ordering::Acquire) && self.offering.load(Ordering::Acquire) > 0 {
            return (at(self.moved.load(Ordering::Acquire), limits.write_idle), Verdict::Slow);
        }
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return (Instant::now() + limits.keep_alive.min(limits.write_idle), Verdict::Fine);
        }
        let head = self.head_since.load(Ordering::Acquire);
        let idle = self.idle_since.load(Ordering::Acquire);
        if !self.served.load(Ordering::Acquire) {
            // From the accept (or handshake): bytes that trickle in do not buy more time.
            (at(idle, limits.head), Verdict::Slow)
        } else if head > 0 && !self.multiplexed.load(Ordering::Acquire) {
            (at(head - 1, limits.head), Verdict::Slow)
        } else {
            (at(idle, limits.keep_alive), Verdict::Idle)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Slow,
    Idle,
}

impl Verdict {
    fn end(self) -> io::Result<()> {
        match self {
            Self::Idle | Self::Fine => Ok(()),
            Self::Slow => Err(io::Error::new(ErrorKind::TimedOut, "the client is too slow")),
        }
    }
}

/// How long a socket is waited for.
#[derive(Clone, Copy, Debug)]
pub struct IoLimits {
    /// For a whole head.
    pub head: Duration,
    /// For the next request.
    pub keep_alive: Duration,
    /// For the client to take a byte.
    pub write_idle: Duration,
}

/// A watched socket.
pub struct Guarded<S> {
    inner: S,
    pulse: Arc<Pulse>,
    limits: IoLimits,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    write_waits: bool,
    lingers: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    /// Watches `inner`.
    pub fn new(inner: S, pulse: Arc<Pulse>, limits: IoLimits) -> Self {
        let (deadline, _) = pulse.patience(&limits);
        let read_timer = Box::pin(tokio::time::sleep_until(deadline));
        Self { inner, pulse, limits, read_timer, write_timer: None, write_waits: false, lingers: None }
    }

    /// What to answer a read that brings nothing: the end once the connection is idle too long,
    /// an error for a head that takes too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // While a write waits, its own clock rules.
            let (deadline, verdict) = if self.write_waits {
                (Instant::now() + self.limits.write_idle, Verdict::Fine)
            } else {
                self.pulse.patience(&self.limits)
            };
            if deadline < self.read_timer.deadline() {
                self.read_timer.as_mut().reset(deadline);
            }
            ready!(self.read_timer.as_mut().poll(cx));
            if Instant::now() < deadline {
                self.read_timer.as_mut().reset(deadline);
                continue;
            }
            return Poll::Ready(verdict.end());
        }
    }

    /// What to answer a read that brings bytes though time is over: a client that never stops
    /// sending would else never be looked at.
    fn overdue(&self) -> Option<io::Result<()>> {
        let (deadline, verdict) = self.pulse.patience(&self.limits);
        let over = !self.write_waits && verdict != Verdict::Fine && Instant::now() >= deadline;
        over.then(|| verdict.end())
    }

    /// Starts the clock of a write that waits, and says when it has run out.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let deadline = Instant::now() + self.limits.write_idle;
        let fresh = !std::mem::replace(&mut self.write_waits, true);
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if fresh {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(ErrorKind::TimedOut, "the client takes no byte"))
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_waits = false;
            self.pulse.wrote();
            return result;
        }
        Poll::Ready(Err(ready!(self.poll_taken(cx))))
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Throws away what the client sends until it closes or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let timer = self.lingers.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let over = match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => buffer.filled().is_empty(),
                Poll::Ready(Err(_)) => true,
                Poll::Pending => {
                    ready!(timer.as_mut().poll(cx));
                    true
                }
            };
            if over || Instant::now() >= timer.deadline() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                if buffer.filled().len() > before {
                    self.pulse.arrived();
                    if let Some(end) = self.overdue() {
                        buffer.set_filled(before);
                        return Poll::Ready(end);
                    }
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_patience(cx),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        if self.pulse.is_left_unread() { self.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(400);
    const LIMITS: IoLimits = IoLimits { head: LONG, keep_alive: LONG, write_idle: LONG };

    fn guarded(limits: IoLimits) -> (Guarded<DuplexStream>, DuplexStream, Arc<Pulse>) {
        let (ours, theirs) = duplex(16);
        let pulse = Arc::new(Pulse::new());
        (Guarded::new(ours, Arc::clone(&pulse), limits), theirs, pulse)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_is_cut_at_its_deadline() {
        let (mut socket, mut client, _) = guarded(IoLimits { head: SHORT, ..LIMITS });
        let begun = Instant::now();
        client.write_all(b"GET").await.unwrap();
        let mut head = Vec::new();
        let error = socket.read_to_end(&mut head).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() < LONG / 2);
        assert_eq!(head, b"GET");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_quietly_and_a_busy_one_does_not() {
        let (mut socket, _client, pulse) = guarded(IoLimits { keep_alive: SHORT, ..LIMITS });
        pulse.begin(false);
        let mut byte = [0];
        let while_busy = tokio::time::timeout(SHORT * 3, socket.read(&mut byte)).await;
        assert!(while_busy.is_err(), "a request is under way");
        pulse.end();
        assert_eq!(socket.read(&mut byte).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_its_window_shut_is_cut() {
        let (mut socket, _client, pulse) = guarded(IoLimits { write_idle: SHORT, ..LIMITS });
        pulse.begin(true);
        pulse.offer(true);
        pulse.offer(false);
        let mut byte = [0];
        let while_taken = tokio::time::timeout(SHORT * 3, socket.read(&mut byte)).await;
        assert!(while_taken.is_err(), "nothing waits to be taken");
        pulse.offer(true);
        let error = socket.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_before_a_request_or_beside_answers_buys_no_time() {
        for requests in [0, 1] {
            let (mut socket, mut client, pulse) =
                guarded(IoLimits { head: SHORT, keep_alive: SHORT, ..LIMITS });
            for _ in 0..requests {
                pulse.begin(true);
                pulse.end();
            }
            let (mut read, mut write) = tokio::io::split(&mut socket);
            let answering = async {
                loop {
                    write.write_all(b"pong").await.unwrap();
                    client.read_exact(&mut [0; 4]).await.unwrap();
                    tokio::time::sleep(SHORT / 8).await;
                }
            };
            let mut byte = [0];
            let reading = tokio::time::timeout(LONG / 2, read.read(&mut byte));
            tokio::select! {
                () = answering => {}
                ended = reading => {
                    let ended = ended.unwrap();
                    assert_eq!(ended.is_err(), requests == 0, "{requests}: {ended:?}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_an_answer_may_take_longer_than_an_idle_connection() {
        let (mut socket, mut client, pulse) = guarded(IoLimits { keep_alive: SHORT, ..LIMITS });
        pulse.begin(false);
        pulse.end();
        let slow = async {
            for _ in 0..6 {
                tokio::time::sleep(SHORT / 4).await;
                client.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        let (mut read, mut write) = tokio::io::split(&mut socket);
        let answer = async {
            write.write_all(&[7; 96]).await.unwrap();
            Instant::now()
        };
        let idle = async {
            assert_eq!(read.read(&mut [0]).await.unwrap(), 0);
            Instant::now()
        };
        let (written, ended, ()) = tokio::join!(answer, idle, slow);
        assert!(written < ended, "the connection counts as idle from the last byte on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_head_is_cut_though_the_first_came_in_time() {
        let (mut socket, mut client, pulse) = guarded(IoLimits { head: SHORT, ..LIMITS });
        pulse.begin(false);
        pulse.end();
        client.write_all(b"G").await.unwrap();
        let error = socket.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_and_a_slow_one_is_not() {
        let (mut socket, mut client, _) = guarded(IoLimits { write_idle: SHORT, ..LIMITS });
        let slow = async {
            for _ in 0..6 {
                tokio::time::sleep(SHORT / 4).await;
                client.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(socket.write_all(&[7; 96]), slow);
        written.unwrap();
        let error = socket.write_all(&[7; 64]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_with_an_unread_body_takes_the_rest_first() {
        let (mut socket, mut client, pulse) = guarded(LIMITS);
        pulse.left_unread();
        let client = async {
            client.write_all(&[7; 1000]).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let (closed, ()) = tokio::join!(socket.shutdown(), client);
        closed.unwrap();
    }
}
