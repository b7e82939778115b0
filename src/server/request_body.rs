//! A request body that ends with an error when it brings no byte for too long. The clock runs
//! only while somebody waits for the body: a slow disk is not the client's fault.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::io::Pulse;
use crate::server::body::BoxError;
use crate::server::metrics::Metrics;

/// The body brought no byte for the time allowed; it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body brought no byte for {0:?}")]
pub struct BodyStalled(pub Duration);

/// A body with an idle timeout.
pub struct Watched<B: Body<Data = Bytes> + Unpin> {
    inner: B,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    ended: bool,
    received: Arc<AtomicU64>,
    metrics: Metrics,
    pulse: Arc<Pulse>,
}

impl<B: Body<Data = Bytes> + Unpin> Watched<B> {
    /// Watches `inner`; what arrives is added to `received` and `metrics`, and `pulse` is told
    /// if something was left unread.
    pub fn new(
        inner: B,
        idle: Duration,
        received: Arc<AtomicU64>,
        metrics: Metrics,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self { inner, idle, timer: None, waiting: false, ended: false, received, metrics, pulse }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + self.idle;
        let fresh = !std::mem::replace(&mut self.waiting, true);
        match &mut self.timer {
            Some(timer) if fresh => timer.as_mut().reset(deadline),
            Some(_) => {}
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        // The timer itself answers later to a task that has had much to do.
        if Instant::now() >= timer.deadline() { Poll::Ready(()) } else { timer.as_mut().poll(cx) }
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            ready!(this.poll_stalled(cx));
            return Poll::Ready(Some(Err(Box::new(BodyStalled(this.idle)))));
        };
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                if bytes > 0 {
                    this.waiting = false;
                } else if this.poll_stalled(cx).is_ready() {
                    // A frame without bytes is no progress, however many there are.
                    return Poll::Ready(Some(Err(Box::new(BodyStalled(this.idle)))));
                }
                this.received.fetch_add(bytes, Ordering::Relaxed);
                this.metrics.received(bytes);
            }
            Some(Err(_)) => {}
            None => this.ended = true,
        }
        Poll::Ready(frame.map(|result| result.map_err(Into::into)))
    }

    /// Also of a chunked body that was read to its end, which hyper's own does not know.
    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Drop for Watched<B> {
    fn drop(&mut self) {
        if !self.ended && !self.inner.is_end_stream() {
            self.pulse.left_unread();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// Brings `piece` after a pause, so often, then nothing any more.
    struct Dripping {
        piece: &'static [u8],
        pause: Duration,
        left: u32,
        timer: Option<Pin<Box<Sleep>>>,
    }

    impl Dripping {
        fn new(piece: &'static [u8], pause: Duration, left: u32) -> Self {
            Self { piece, pause, left, timer: None }
        }
    }

    impl Body for Dripping {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            if self.left == 0 {
                return Poll::Pending;
            }
            let pause = self.pause;
            if pause > Duration::ZERO {
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
                ready!(timer.as_mut().poll(cx));
                self.timer = None;
            }
            self.left -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.piece)))))
        }
    }

    const IDLE: Duration = Duration::from_millis(400);

    fn watched(inner: Dripping, received: &Arc<AtomicU64>, pulse: &Arc<Pulse>) -> Watched<Dripping> {
        Watched::new(inner, IDLE, Arc::clone(received), Metrics::new(|_| ()), Arc::clone(pulse))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_read_on_and_one_that_stops_is_an_error() {
        let (received, pulse) = (Arc::new(AtomicU64::new(0)), Arc::new(Pulse::new()));
        let mut body = watched(Dripping::new(b"x", IDLE / 4, 6), &received, &pulse);
        let begun = Instant::now();
        for _ in 0..6 {
            assert!(body.frame().await.unwrap().is_ok(), "each pause is shorter than the timeout");
        }
        assert!(begun.elapsed() > IDLE, "the whole takes longer than the timeout");
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&BodyStalled(IDLE)));
        assert_eq!(received.load(Ordering::Relaxed), 6);
        drop(body);
        assert!(pulse.is_left_unread());
    }

    /// Frames without a byte, so many of them with this pause before each: they end as a stalled body.
    async fn stalls(pause: Duration, frames: u32) {
        let (received, pulse) = (Arc::new(AtomicU64::new(0)), Arc::new(Pulse::new()));
        let mut body = watched(Dripping::new(b"", pause, frames), &received, &pulse);
        let mut read = 0;
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(_) => read += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.downcast_ref(), Some(&BodyStalled(IDLE)));
        assert!(0 < read && read < frames, "{read}");
    }

    #[tokio::test(start_paused = true)]
    async fn frames_without_bytes_now_and_then_are_no_progress() {
        stalls(IDLE / 8, 100).await;
    }

    /// By the real clock: paused time stands still while there is something to do.
    #[tokio::test]
    async fn a_flood_of_frames_without_bytes_is_no_progress() {
        stalls(Duration::ZERO, u32::MAX).await;
    }
}
