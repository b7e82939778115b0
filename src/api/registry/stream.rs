//! Answers' bodies that are read while they are sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::server::body::{Body, BoxError};

/// The body did not have the bytes it was said to have.
#[derive(Debug, thiserror::Error)]
#[error("the content is not as long as it should be")]
pub struct WrongLength;

type Step<S> = Pin<Box<dyn Future<Output = Option<(Result<Bytes, BoxError>, S)>> + Send>>;

/// A body of exactly `length` bytes: what `next` gives, again and again, with the state it gives
/// back. An error, or an end too early or too late, breaks the body off, so that the client sees
/// a cut connection and never a whole answer with wrong bytes.
pub fn unfold<S, E, F>(length: u64, state: S, mut next: impl FnMut(S) -> F + Send + 'static) -> Body
where
    S: Send + 'static,
    E: Into<BoxError>,
    F: Future<Output = Option<(Result<Bytes, E>, S)>> + Send + 'static,
{
    let mut step = move |state| -> Step<S> {
        let item = next(state);
        Box::pin(async move { item.await.map(|(bytes, state)| (bytes.map_err(Into::into), state)) })
    };
    let first = (length > 0).then(|| step(state));
    Unfold { left: length, step: first, next: Box::new(step) }.boxed_unsync()
}

struct Unfold<S> {
    left: u64,
    /// The step under way; `None` at the end.
    step: Option<Step<S>>,
    next: Box<dyn FnMut(S) -> Step<S> + Send>,
}

impl<S: Send + 'static> HttpBody for Unfold<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(step) = self.step.as_mut() else { return Poll::Ready(None) };
        let item = ready!(step.as_mut().poll(cx));
        self.step = None;
        let (bytes, state) = match item {
            Some((Ok(bytes), state)) if bytes.len() as u64 <= self.left => (bytes, state),
            Some((Err(error), _)) => return Poll::Ready(Some(Err(error))),
            Some((Ok(_), _)) | None => return Poll::Ready(Some(Err(WrongLength.into()))),
        };
        self.left -= bytes.len() as u64;
        if self.left > 0 {
            self.step = Some((self.next)(state));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.step.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

    use super::*;

    fn of(length: u64, parts: &[Result<&'static str, ()>]) -> Body {
        let parts: VecDeque<_> = parts.iter().copied().collect();
        unfold(length, parts, |mut parts| async move {
            let part = parts.pop_front()?;
            Some((part.map(Bytes::from).map_err(|()| io::Error::other("disk")), parts))
        })
    }

    #[tokio::test]
    async fn a_body_has_exactly_its_bytes_or_breaks_off() {
        type Case<'a> = (&'a str, u64, &'a [Result<&'static str, ()>], Result<&'a str, &'a str>);
        let cases: [Case<'_>; 6] = [
            ("in parts", 6, &[Ok("abc"), Ok("def")], Ok("abcdef")),
            ("none", 0, &[], Ok("")),
            ("more is not asked for", 3, &[Ok("abc"), Err(())], Ok("abc")),
            ("too short", 6, &[Ok("abc")], Err("the content is not as long as it should be")),
            ("too long", 4, &[Ok("abc"), Ok("def")], Err("the content is not as long as it should be")),
            ("an error", 6, &[Ok("abc"), Err(())], Err("disk")),
        ];
        for (name, length, parts, expected) in cases {
            let body = of(length, parts);
            assert_eq!(body.size_hint().exact(), Some(length), "{name}");
            let got = match body.collect().await {
                Ok(all) => Ok(String::from_utf8_lossy(&all.to_bytes()).into_owned()),
                Err(error) => Err(error.to_string()),
            };
            assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
    }
}
