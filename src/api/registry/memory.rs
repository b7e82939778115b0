//! Memory for manifests that are whole in it: a share is taken before one is read, and given back
//! when its request, or its answer's body, ends. Small ones ask for none, so that nobody who holds
//! large ones can make them wait.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::stream;
use crate::server::body::{self, Body};

/// Bytes up to which a manifest is small.
const SMALL: u64 = 64 << 10;
/// Bytes of one unit of the budget.
const UNIT: u64 = 1 << 10;
/// Bytes handed to the connection at a time, so that an answer ends when it was taken, not when it
/// was queued.
const PIECE: usize = 64 << 10;

/// The budget. Clones share it.
#[derive(Clone)]
pub struct Memory {
    units: Arc<Semaphore>,
    all: u32,
}

/// A part of the budget, given back when dropped; nothing for a small manifest.
pub struct Share(Option<OwnedSemaphorePermit>);

impl Memory {
    /// Of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        Self { units: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// A share for so many bytes, as soon as there is one.
    pub async fn share(&self, bytes: u64) -> Share {
        if bytes <= SMALL {
            return Share(None);
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.all);
        // The semaphore is never closed; were it, going on would be right.
        Share(Arc::clone(&self.units).acquire_many_owned(units).await.ok())
    }
}

impl Share {
    /// A body of `bytes` that holds this share until its end.
    pub fn body(self, bytes: Bytes) -> Body {
        if self.0.is_none() {
            return body::full(bytes);
        }
        let length = bytes.len() as u64;
        stream::unfold(length, (bytes, self), |(mut left, share)| async move {
            let piece = left.split_to(PIECE.min(left.len()));
            (!piece.is_empty()).then_some((Ok::<_, std::convert::Infallible>(piece), (left, share)))
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_large_manifest_waits_for_its_share_and_a_small_one_does_not() {
        let memory = Memory::new(1 << 20);
        let bytes = Bytes::from(vec![7; 700 << 10]);
        let answer = memory.share(bytes.len() as u64).await.body(bytes.clone());
        let mut second = Box::pin(memory.share(700 << 10));
        assert!(futures_pending(second.as_mut()).await, "the first is not sent yet");
        let _small = memory.share(SMALL).await;
        assert_eq!(answer.collect().await.expect("a whole body").to_bytes(), bytes);
        second.await;
    }

    #[tokio::test]
    async fn one_larger_than_the_budget_takes_it_all() {
        let memory = Memory::new(100 << 10);
        drop(memory.share(10 << 20).await);
        drop(memory.share(10 << 20).await);
    }

    /// Whether a future is not ready when asked once.
    async fn futures_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}
