//! Bodies that are written while they are sent, and whose length nobody knows before.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};

use crate::server::body::{Body, BoxError};

type Step<S> = Pin<Box<dyn Future<Output = Option<(Result<Bytes, BoxError>, S)>> + Send>>;

/// A body of what `next` gives, again and again, with the state it gives back, until it gives nothing. An
/// error breaks the body off, so that the client sees a cut connection and never a list that looks whole.
pub fn body<S, E, F>(state: S, mut next: impl FnMut(S) -> F + Send + 'static) -> Body
where
    S: Send + 'static,
    E: Into<BoxError>,
    F: Future<Output = Option<(Result<Bytes, E>, S)>> + Send + 'static,
{
    let mut step = move |state| -> Step<S> {
        let item = next(state);
        Box::pin(async move { item.await.map(|(bytes, state)| (bytes.map_err(Into::into), state)) })
    };
    Pieces { step: Some(step(state)), next: Box::new(step) }.boxed_unsync()
}

struct Pieces<S> {
    /// The step under way; `None` at the end.
    step: Option<Step<S>>,
    next: Box<dyn FnMut(S) -> Step<S> + Send>,
}

impl<S: Send + 'static> HttpBody for Pieces<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(step) = self.step.as_mut() else { return Poll::Ready(None) };
        let item = ready!(step.as_mut().poll(cx));
        self.step = None;
        match item {
            None => Poll::Ready(None),
            Some((Err(error), _)) => Poll::Ready(Some(Err(error))),
            Some((Ok(bytes), state)) => {
                self.step = Some((self.next)(state));
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.step.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

    use super::*;

    #[tokio::test]
    async fn a_body_is_all_its_pieces_or_breaks_off() {
        type Case<'a> = (&'a str, &'a [Result<&'static str, ()>], Result<&'a str, &'a str>);
        let cases: [Case<'_>; 3] = [
            ("none", &[], Ok("")),
            ("some", &[Ok("[1"), Ok(""), Ok(",2]")], Ok("[1,2]")),
            ("an error", &[Ok("[1"), Err(()), Ok("]")], Err("disk")),
        ];
        for (name, pieces, expected) in cases {
            let pieces: VecDeque<_> = pieces.iter().copied().collect();
            let body = body(pieces, |mut pieces| async move {
                let piece = pieces.pop_front()?;
                Some((piece.map(Bytes::from).map_err(|()| io::Error::other("disk")), pieces))
            });
            let got = match body.collect().await {
                Ok(all) => Ok(String::from_utf8_lossy(&all.to_bytes()).into_owned()),
                Err(error) => Err(error.to_string()),
            };
            assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
    }
}
