//! One request and its answer: an id, a task of its own, a line in the log, the metrics.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use serde_json::json;
use tokio::time::Instant;

use super::connection::Connection;
use super::line::Departure;
use super::piece::Piece;
use super::request_body::Watched;
use super::{PeerFacts, spawn};
use crate::server::body::{self, Body, BoxError};
use crate::server::metrics::Route;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers one request. What must be counted before the protocol reads on happens here and now,
/// the rest in the future.
pub fn exchange(
    request: Request<Incoming>,
    connection: Arc<Connection>,
) -> impl Future<Output = Result<Response<Answer>, Infallible>> + Send + 'static {
    let exchange = Exchange::begin(&request, connection);
    async move {
        let response = exchange.ask(request).await;
        Ok(exchange.finish(response))
    }
}

/// A request under way; its end is noted when this is dropped.
struct Exchange {
    connection: Arc<Connection>,
    id: String,
    method: Method,
    /// Escaped, for the log.
    path: String,
    begun: Instant,
    received: Arc<AtomicU64>,
    sent: u64,
    /// `None` until there is an answer: the client left before.
    answered: Option<(StatusCode, Route)>,
    whole: bool,
}

impl Exchange {
    fn begin(request: &Request<Incoming>, connection: Arc<Connection>) -> Self {
        connection.pulse.begin(request.version() == Version::HTTP_2);
        connection.shared.options.metrics.in_flight(1);
        // Without randomness an id that says so is better than no answer.
        let id = connection.shared.options.random.id().unwrap_or_else(|_| "0".repeat(32));
        Self {
            connection,
            id,
            method: request.method().clone(),
            // The log is read at terminals: nothing a client sends may steer one.
            path: request.uri().path().escape_debug().to_string(),
            begun: Instant::now(),
            received: Arc::new(AtomicU64::new(0)),
            sent: 0,
            answered: None,
            whole: false,
        }
    }

    /// The app's answer, from a task of its own: its panic is a 500, and it runs to its end.
    async fn ask(&self, request: Request<Incoming>) -> Response<Body> {
        let connection = &self.connection;
        let facts = PeerFacts { peer: connection.peer, tls: connection.tls, request_id: self.id.clone() };
        let mut request = request.map(|incoming| self.watch(incoming));
        let departure =
            (!request.body().is_end_stream()).then(|| Departure::new(connection.presence.clone()));
        // Dropped with this future, which the protocol does when the client has left.
        let _teller = departure.as_ref().map(Departure::teller);
        if let Some(departure) = departure {
            request.extensions_mut().insert(departure);
        }
        let Ok(slot) = Arc::clone(&connection.tasks).acquire_owned().await else { return internal_error() };
        let held = (slot, Arc::clone(&connection.permit));
        let app = Arc::clone(&connection.shared.app);
        let answer = spawn(async move {
            let _held = held;
            app.call(request, facts).await
        });
        answer.await.unwrap_or_else(|_| {
            tracing::error!(request_id = %self.id, method = %self.method, path = %self.path, "the request met a bug");
            internal_error()
        })
    }

    fn watch(&self, incoming: Incoming) -> Body {
        if incoming.is_end_stream() {
            return body::empty();
        }
        let options = &self.connection.shared.options;
        let idle = options.settings.body_idle_timeout.duration();
        let (received, pulse) = (Arc::clone(&self.received), Arc::clone(&self.connection.pulse));
        Watched::new(incoming, idle, received, options.metrics.clone(), pulse).boxed_unsync()
    }

    fn finish(mut self, mut response: Response<Body>) -> Response<Answer> {
        let route = response.extensions().get::<Route>().copied().unwrap_or_default();
        self.answered = Some((response.status(), route));
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response.map(|inner| {
            let whole_at = inner.size_hint().exact();
            // The body of an answer to HEAD is only measured.
            self.whole = self.method == Method::HEAD || inner.is_end_stream();
            Answer { inner, exchange: self, whole_at }
        })
    }
}

fn internal_error() -> Response<Body> {
    let text = json!({"errors": [{"code": "UNKNOWN", "message": "internal error"}]});
    body::json(StatusCode::INTERNAL_SERVER_ERROR, &text)
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.pulse.end();
        let metrics = &self.connection.shared.options.metrics;
        metrics.in_flight(-1);
        let took = self.begun.elapsed();
        let status = self.answered.map_or(0, |(status, _)| status.as_u16());
        let route = self.answered.map(|(_, route)| route).unwrap_or_default();
        if let Some((status, route)) = self.answered {
            metrics.answered(route, status, took);
        }
        let client = self.connection.client_name.as_deref().map(|name| name.escape_debug().to_string());
        macro_rules! access {
            ($level:ident) => {
                tracing::$level!(
                    request_id = %self.id, peer = %self.connection.peer, client, method = %self.method, path = %self.path,
                    status, surface = route.surface, route = route.route, ms = took.as_millis() as u64,
                    received = self.received.load(Ordering::Relaxed), sent = self.sent, whole = self.whole,
                    "request"
                )
            };
        }
        if status >= 500 { access!(info) } else { access!(debug) }
    }
}

/// An answer's body on its way out; counts, and ends the exchange when it is dropped.
pub struct Answer {
    inner: Body,
    exchange: Exchange,
    whole_at: Option<u64>,
}

impl HttpBody for Answer {
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.exchange.sent += bytes;
                this.exchange.connection.shared.options.metrics.sent(bytes);
                this.exchange.whole |= this.whole_at == Some(this.exchange.sent);
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::error!(request_id = %this.exchange.id, %error, "the answer was cut short");
            }
            Poll::Ready(None) => this.exchange.whole = true,
            Poll::Pending => {}
        }
        let pulse = &this.exchange.connection.pulse;
        polled.map_ok(|frame| frame.map_data(|bytes| Piece::new(bytes, Arc::clone(pulse))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
