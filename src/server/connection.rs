//! One connection from accept to close.

use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Version;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;

use super::ahead::Window;
use super::crowd::Place;
use super::exchange::exchange;
use super::io::{Guarded, IoLimits, Pulse};
use super::line::{Line, Presence};
use super::stop::{Phase, Stop};
use super::tls::common_name;
use super::{Peer, Shared};
use crate::causes;
use crate::server::body::BoxError;
use crate::server::metrics::Metrics;

/// Bytes of a request's head.
const MAX_HEAD: usize = 128 * 1024;
/// Bytes of a body that are read at once: 128 KiB cost a tenth more CPU for each byte of an upload.
const READ: usize = 408 * 1024;
/// Header lines of a request.
const MAX_HEADERS: usize = 100;
/// HTTP/2 requests at once on one connection.
const MAX_STREAMS: u32 = 64;
/// HTTP/2 streams that a client may open and reset before they are looked at, and that may be reset for its
/// errors: one that makes more of either is sent away.
const MAX_RESETS: usize = 2 * MAX_STREAMS as usize;
/// The largest HTTP/2 frame taken, and kept until it is whole; a stream's window at most: the default of 16 KiB costs twice the CPU.
const FRAME: u32 = 1024 * 1024;

/// What the requests of one connection share.
pub struct Connection {
    /// What all connections of the server share.
    pub shared: Arc<Shared>,
    /// What the socket is told.
    pub pulse: Arc<Pulse>,
    /// Whether the client is still there.
    pub presence: Presence,
    /// The other end.
    pub peer: Peer,
    /// Whether it is under TLS.
    pub tls: bool,
    /// The common name in the client's verified certificate.
    pub client_name: Option<Arc<str>>,
    /// Held by every request's task too, so that work whose client left still counts (E4).
    pub permit: Arc<OwnedSemaphorePermit>,
    /// HTTP/2 streams that are reset no longer count for the protocol, but their tasks run on.
    pub tasks: Arc<Semaphore>,
}

/// Serves `socket` until it ends.
pub async fn serve<S>(socket: S, peer: Peer, shared: Arc<Shared>, permit: OwnedSemaphorePermit, place: Place)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    let _counted = Counted::new(shared.options.metrics.clone());
    if let Err(error) = Box::pin(serve_socket(socket, peer, shared, permit, &place)).await {
        tracing::debug!(%peer, error = %causes::chain(&*error).escape_debug(), "connection ended");
    }
}

async fn serve_socket<S>(
    socket: S,
    peer: Peer,
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
    place: &Place,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    let settings = &shared.options.settings;
    let limits = IoLimits {
        head: settings.header_timeout.duration(),
        keep_alive: settings.keep_alive.duration(),
        write_idle: settings.write_idle_timeout.duration(),
    };
    let pulse = Arc::new(Pulse::new());
    let shed = place.sit(&pulse);
    let line = Line::new(socket);
    let presence = line.presence();
    let socket = Guarded::new(line, Arc::clone(&pulse), limits);
    let tasks = Arc::new(Semaphore::new(MAX_STREAMS as usize));
    let tls = shared.options.tls.clone();
    let http2 = settings.http2;
    let permit = Arc::new(permit);
    let mut connection =
        Connection { shared, pulse, presence, peer, tls: tls.is_some(), client_name: None, permit, tasks };
    let Some(tls) = tls else {
        let speaks = if http2 { Speaks::Either(place.window()) } else { Speaks::Http1 };
        return speak(speaks, socket, connection, &shed).await;
    };
    let handshake = tokio::time::timeout(limits.head, tls.acceptor().accept(socket));
    let stream = tokio::select! {
        stream = handshake => stream??,
        () = connection.shared.stop.reached(Phase::Finishing) => return Ok(()),
        () = shed.notified() => return Ok(()),
    };
    connection.pulse.handshake_done();
    connection.client_name = common_name(stream.get_ref().1.peer_certificates());
    let speaks = if is_h2(&stream) { Speaks::Http2(place.window()) } else { Speaks::Http1 };
    speak(speaks, stream, connection, &shed).await
}

fn is_h2<S>(stream: &TlsStream<Guarded<S>>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// What is spoken on a connection.
enum Speaks {
    Http1,
    Http2(Window),
    /// The client's first bytes tell.
    Either(Window),
}

async fn speak<S>(speaks: Speaks, stream: S, connection: Connection, shed: &Notify) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stop, pulse) = (connection.shared.stop.clone(), Arc::clone(&connection.pulse));
    let until = Until { stop, shed, pulse: &pulse };
    let connection = Arc::new(connection);
    let io = TokioIo::new(stream);
    match speaks {
        Speaks::Http1 => {
            let service = service_fn(move |request| exchange(request, Arc::clone(&connection)));
            drive(http1().serve_connection(io, service), until).await
        }
        Speaks::Http2(window) => {
            let service = service_fn(move |request| exchange(request, Arc::clone(&connection)));
            drive(either(&window).http2_only().serve_connection(io, service), until).await
        }
        Speaks::Either(window) => {
            let service = service_fn(|request| {
                if request.version() < Version::HTTP_2 {
                    window.is_unneeded();
                }
                exchange(request, Arc::clone(&connection))
            });
            drive(either(&window).serve_connection(io, service), until).await
        }
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The clocks of heads and idle connections are in `io`, for every protocol the same.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder.max_header_size(MAX_HEAD).max_buf_size(READ);
    // hyper's own default; setting it would move every head to the heap.
    debug_assert_eq!(MAX_HEADERS, 100);
    builder
}

/// `window` is what an HTTP/2 client may send ahead.
fn either(window: &Window) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Here the buffer is what bounds a head.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(window.of_stream())
        .initial_connection_window_size(window.of_connection())
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_frame_size(FRAME.min(window.of_stream()))
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(FRAME as usize);
    builder
}

/// What ends a connection before its client does.
struct Until<'a> {
    stop: Stop,
    /// There are too many connections, and this one is idle.
    shed: &'a Notify,
    pulse: &'a Pulse,
}

/// Runs the protocol; at the stop, or when it is shed, lets it finish what it has, and cuts it when that
/// is asked.
async fn drive<P>(protocol: P, until: Until<'_>) -> Result<(), BoxError>
where
    P: GracefulConnection<Error: Into<BoxError>>,
{
    let mut protocol = Box::pin(protocol);
    tokio::select! {
        ended = protocol.as_mut() => return ended.map_err(Into::into),
        () = until.stop.reached(Phase::Finishing) => {}
        () = until.shed.notified() => {}
    }
    Pin::as_mut(&mut protocol).graceful_shutdown();
    if until.pulse.is_unused() {
        return Ok(());
    }
    tokio::select! {
        ended = protocol => ended.map_err(Into::into),
        () = until.stop.reached(Phase::Cut) => Ok(()),
    }
}

/// An open connection in the metrics.
struct Counted(Metrics);

impl Counted {
    fn new(metrics: Metrics) -> Self {
        metrics.connection(1);
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection(-1);
    }
}
