//! A server on a real socket with an app of the test's own.

mod crowded;
mod windows;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::{Request, Response, StatusCode};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    App, BodyStalled, Clients, Ended, Inherited, Options, Pair, PeerFacts, Phase, Server, Stop, Tls, spawn,
};
use crate::config::{Period, ServerSettings};
use crate::seams::TestRandom;
use crate::server::body::{self, Body};
use crate::server::metrics::Metrics;

const DEADLINE: Duration = Duration::from_secs(60);
const BIG: usize = 64 << 20;

/// `/read` reads the body, `/turn` does when the test says so, `/ended` says whether it knows its end then, `/wait` waits for the test, `/panic` panics, `/big` answers a lot,
/// `/refuse` answers without reading.
#[derive(Default)]
struct TestApp {
    entered: Notify,
    go_on: Notify,
    done: Notify,
    stalled: Notify,
}

async fn answer(app: Arc<TestApp>, request: Request<Body>, facts: PeerFacts) -> Response<Body> {
    match request.uri().path() {
        path @ ("/read" | "/turn") => {
            if path == "/turn" {
                app.entered.notify_one();
                app.go_on.notified().await;
            }
            match request.into_body().collect().await {
                Ok(read) => Response::new(body::full(format!("{} bytes", read.to_bytes().len()))),
                Err(error) if error.is::<BodyStalled>() => {
                    app.stalled.notify_one();
                    with_status(StatusCode::REQUEST_TIMEOUT)
                }
                Err(_) => with_status(StatusCode::BAD_REQUEST),
            }
        }
        "/ended" => {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                frame.unwrap();
            }
            Response::new(body::full(body.is_end_stream().to_string()))
        }
        "/wait" => {
            app.entered.notify_one();
            app.go_on.notified().await;
            app.done.notify_one();
            Response::new(body::full("waited"))
        }
        "/panic" => panic!("as the test wishes"),
        "/big" => Response::new(body::full(vec![7; BIG])),
        "/refuse" => with_status(StatusCode::FORBIDDEN),
        _ => Response::new(body::full(format!("{} {}", facts.peer, facts.tls))),
    }
}

fn with_status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

struct Handle(Arc<TestApp>);

impl App for Handle {
    fn call(
        &self,
        request: Request<Body>,
        facts: PeerFacts,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(answer(Arc::clone(&self.0), request, facts))
    }
}

struct Running {
    address: SocketAddr,
    app: Arc<TestApp>,
    metrics: Metrics,
    stop: Stop,
    task: JoinHandle<Ended>,
}

fn start(change: impl FnOnce(&mut ServerSettings)) -> Running {
    start_with(None, change)
}

fn start_with(tls: Option<Arc<Tls>>, change: impl FnOnce(&mut ServerSettings)) -> Running {
    let mut settings = ServerSettings::default();
    change(&mut settings);
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let metrics = Metrics::new(|_| ());
    let random = Arc::new(TestRandom::default());
    let options = Options { listen, settings, tls, metrics: metrics.clone(), random };
    let server = Server::bind(options, &Inherited::default()).unwrap();
    let address = server.addresses()[0];
    let (app, stop) = (Arc::new(TestApp::default()), Stop::default());
    let task = spawn(server.run(Arc::new(Handle(Arc::clone(&app))), stop.clone()));
    Running { address, app, metrics, stop, task }
}

impl Running {
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket
    }

    async fn ask(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        rest(self.send(request.as_bytes()).await).await
    }

    async fn end(self) -> Ended {
        self.stop.begin();
        timeout(DEADLINE, self.task).await.unwrap().unwrap()
    }
}

/// All that comes until the server closes.
async fn rest(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(DEADLINE, socket.read_to_end(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_panic_ends_its_request_with_500_and_nothing_else() {
    let server = start(|_| ());
    let answer = server.ask("/panic").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.contains("x-request-id: 0000"), "{answer}");
    assert!(server.ask("/").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.end().await, Ended::Finished);
}

#[tokio::test]
async fn each_answer_has_an_id_of_its_own() {
    let server = start(|_| ());
    let id =
        |answer: String| answer.lines().find(|line| line.starts_with("x-request-id: ")).map(str::to_owned);
    let (first, second) = (id(server.ask("/").await).unwrap(), id(server.ask("/").await).unwrap());
    assert_eq!(first.len(), "x-request-id: ".len() + 32);
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_and_an_idle_connection_closed() {
    let short = "200ms".parse::<Period>().unwrap();
    let server = start(|settings| settings.header_timeout = short);
    assert_eq!(rest(server.send(b"GET / HTTP/1.1\r\nHost:").await).await, "");
    // Long enough for a request that comes at once, however busy the machine is.
    let server = start(|settings| settings.keep_alive = "2s".parse().unwrap());
    let answer = rest(server.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_stops_is_told_to_the_app_and_one_that_drips_is_not_cut() {
    let server = start(|settings| settings.body_idle_timeout = "400ms".parse().unwrap());
    let head = b"PUT /read HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\n";
    let answer = rest(server.send(head).await).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

    // Each byte is far from too late, all of them together are.
    let idle = "3s".parse::<Period>().unwrap();
    let server = start(|settings| settings.body_idle_timeout = idle);
    let mut socket = server.send(head).await;
    for _ in 0..6 {
        tokio::time::sleep(idle.duration() / 5).await;
        socket.write_all(b"x").await.unwrap();
    }
    let answer = rest(socket).await;
    assert!(answer.contains("6 bytes"), "{answer}");
}

#[tokio::test]
async fn a_body_cut_short_is_an_error_and_never_a_shorter_body() {
    let server = start(|_| ());
    let chunked = b"PUT /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let mut socket = server.send(chunked).await;
    socket.shutdown().await.unwrap();
    let answer = rest(socket).await;
    assert!(!answer.contains("5 bytes"), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let idle = "200ms".parse::<Period>().unwrap();
    let server = start(|settings| settings.write_idle_timeout = idle);
    let mut socket = server.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let gone = async {
        while !server.metrics.text().contains("pierhead_connections 0") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // The gauge is 0 before the accept, too: the first byte says that this is over.
    timeout(DEADLINE, socket.readable()).await.unwrap().unwrap();
    timeout(DEADLINE, gone).await.unwrap();
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(bytes @ 1..) = timeout(DEADLINE, socket.read(&mut buffer)).await.unwrap() {
        read += bytes;
    }
    assert!(read < BIG, "the answer was cut");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = start(|_| ());
    let mut socket = server.send(b"PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n").await;
    // Some of it, whether or not the server still takes it.
    let _ = timeout(DEADLINE, socket.write_all(&vec![7; 4_000_000])).await.unwrap();
    let mut start = [0; 12];
    timeout(DEADLINE, socket.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"HTTP/1.1 403");
}

#[tokio::test]
async fn a_stop_lets_a_request_under_way_finish_and_closes_idle_connections() {
    let server = start(|_| ());
    let idle = server.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let silent = server.send(b"").await;
    let busy = server.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.app.entered.notified().await;
    server.stop.begin();
    assert!(rest(idle).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(silent).await, "");
    assert!(!server.task.is_finished());
    server.app.go_on.notify_one();
    assert!(rest(busy).await.ends_with("waited"));
    assert_eq!(server.end().await, Ended::Finished);
}

#[tokio::test]
async fn a_stop_cuts_what_is_left_when_its_time_is_over() {
    let server = start(|settings| settings.stop_timeout = "100ms".parse().unwrap());
    let _busy = server.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.app.entered.notified().await;
    let stop = server.stop.clone();
    assert_eq!(server.end().await, Ended::Cut(1));
    assert_eq!(stop.phase(), Phase::Cut);
}

#[tokio::test]
async fn work_runs_to_its_end_though_the_client_leaves_and_a_stop_waits_for_it() {
    let server = start(|_| ());
    let socket = server.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.app.entered.notified().await;
    drop(socket);
    server.stop.begin();
    while !server.metrics.text().contains("pierhead_connections 0") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!server.task.is_finished(), "the work still counts");
    server.app.go_on.notify_one();
    timeout(DEADLINE, server.app.done.notified()).await.unwrap();
    assert_eq!(server.end().await, Ended::Finished);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let server = start(|settings| settings.max_connections = 1);
    let first = server.send(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    server.app.entered.notified().await;
    let second = server.ask("/");
    tokio::pin!(second);
    let early = timeout(Duration::from_millis(200), second.as_mut()).await;
    assert!(early.is_err(), "there is one permit");
    server.app.go_on.notify_one();
    assert!(rest(first).await.ends_with("waited"));
    assert!(second.await.starts_with("HTTP/1.1 200 "));
}

/// A pair in `dir`, and a client that trusts it.
fn write_pair(dir: &Path) -> TlsConnector {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // A resumed session would not look at the certificate.
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let old = write_pair(dir.path());
    let files = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let pair = || Pair::read(&files.0, &files.1, None).unwrap();
    let tls = Arc::new(Tls::new(pair(), &Clients::not_asked(), false).unwrap());
    let server = start_with(Some(Arc::clone(&tls)), |_| ());
    let connect = async |client: &TlsConnector| {
        let socket = TcpStream::connect(server.address).await.unwrap();
        client.connect("localhost".try_into().unwrap(), socket).await
    };
    let mut before = connect(&old).await.unwrap();
    let new = write_pair(dir.path());
    tls.replace(pair(), &Clients::not_asked()).unwrap();

    let mut status = [0; 12];
    before.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    timeout(DEADLINE, before.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert!(connect(&old).await.is_err(), "the old certificate is not shown any more");
    assert!(connect(&new).await.is_ok());
}

#[tokio::test]
async fn http2_is_spoken_only_where_it_is_switched_on() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for (http2, frame_type) in [(true, Some(4)), (false, None)] {
        let server = start(|settings| settings.http2 = http2);
        let mut socket = server.send(preface).await;
        let mut header = [0; 9];
        let read = timeout(DEADLINE, socket.read_exact(&mut header)).await.unwrap();
        let settings_frame = read.ok().filter(|_| &header[..4] != b"HTTP").map(|_| header[3]);
        assert_eq!(settings_frame, frame_type, "http2 = {http2}");
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// Every stream's window is nothing until it is opened.
const SETTINGS_SHUT: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingpong";
/// `GET /` as stream 1; `PUT /read` without its end as the same.
const GET: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
const PUT: &[u8] = b"\0\0\x10\x01\x04\0\0\0\x01\x02\x03PUT\x86\x04\x05/read\x41\x01a";
const ONE_BYTE_MORE: &[u8] = b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\x01";
const EMPTY_DATA: &[u8] = b"\0\0\0\0\0\0\0\0\x01";

/// Sends `first`, then `again` each time `pause` is over, until the server closes: what it sent.
async fn nag(server: &Running, first: &[&[u8]], again: &[u8], pause: Duration) -> Vec<u8> {
    let (mut reader, mut writer) = server.send(&first.concat()).await.into_split();
    let nagging = async {
        loop {
            tokio::time::sleep(pause).await;
            if writer.write_all(again).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut sent = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        // A reset is a close, too: the server may close with a frame of ours unread.
        while let Ok(bytes @ 1..) = reader.read(&mut buffer).await {
            sent.extend_from_slice(&buffer[..bytes]);
        }
    };
    timeout(DEADLINE, async {
        tokio::select! { () = nagging => {}, () = reading => {} }
    })
    .await
    .expect("the server closes");
    sent
}

/// Type and payload of every frame in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        frames.push((*kind, payload));
        bytes = rest;
    }
    frames
}

/// All bytes of all DATA frames.
fn data(bytes: &[u8]) -> Vec<u8> {
    frames(bytes).into_iter().filter(|(kind, _)| *kind == 0).flat_map(|(_, data)| data.to_vec()).collect()
}

#[tokio::test]
async fn frames_that_ask_nothing_do_not_keep_an_http2_connection_open() {
    let short: Period = "400ms".parse().unwrap();
    let long: Period = "10min".parse().unwrap();
    type Row<'a> = (&'a str, &'a [&'a [u8]], &'a [u8], Period, Period);
    let rows: [Row<'_>; 6] = [
        ("PING and no request", &[PREFACE, SETTINGS], PING, short, long),
        ("SETTINGS and no request", &[PREFACE, SETTINGS], SETTINGS, short, long),
        ("PING after a request", &[PREFACE, SETTINGS, GET], PING, long, short),
        ("SETTINGS after a request", &[PREFACE, SETTINGS, GET], SETTINGS, long, short),
        ("a flood of PING", &[PREFACE, SETTINGS], &PING.repeat(4000), short, long),
        ("a flood after a request", &[PREFACE, SETTINGS, GET], &PING.repeat(4000), long, short),
    ];
    for (name, first, again, head, idle) in rows {
        let server = start(|settings| {
            settings.http2 = true;
            (settings.header_timeout, settings.keep_alive, settings.write_idle_timeout) = (head, idle, long);
        });
        let pause = if again.len() > 1000 { Duration::ZERO } else { short.duration() / 4 };
        let sent = nag(&server, first, again, pause).await;
        assert!(first.len() < 3 || !data(&sent).is_empty(), "{name}: the request was answered");
    }
}

#[tokio::test]
async fn an_answer_left_behind_a_shut_window_is_given_up_whatever_else_is_sent() {
    let (short, long): (Period, Period) = ("400ms".parse().unwrap(), "10min".parse().unwrap());
    let server = start(|settings| {
        settings.http2 = true;
        (settings.keep_alive, settings.write_idle_timeout) = (long, short);
    });
    let sent = nag(&server, &[PREFACE, SETTINGS_SHUT, GET], PING, short.duration() / 4).await;
    assert!(data(&sent).is_empty());
}

#[tokio::test]
async fn an_http2_answer_taken_byte_by_byte_is_not_cut() {
    // The whole answer takes longer than may pass between two of its bytes, each byte far less.
    let short: Period = "3s".parse().unwrap();
    let server = start(|settings| {
        settings.http2 = true;
        (settings.keep_alive, settings.write_idle_timeout) = (short, short);
    });
    let sent = nag(&server, &[PREFACE, SETTINGS_SHUT, GET], ONE_BYTE_MORE, short.duration() / 15).await;
    let answer = String::from_utf8(data(&sent)).unwrap();
    assert!(answer.starts_with("127.0.0.1:") && answer.ends_with(" false"), "{answer}");
}

#[tokio::test]
async fn empty_frames_are_no_progress_of_a_body() {
    let (short, long): (Period, Period) = ("400ms".parse().unwrap(), "10min".parse().unwrap());
    let server = start(|settings| {
        settings.http2 = true;
        (settings.body_idle_timeout, settings.keep_alive) = (short, long);
    });
    tokio::select! {
        told = timeout(DEADLINE, server.app.stalled.notified()) => told.expect("the app is told"),
        sent = nag(&server, &[PREFACE, SETTINGS, PUT], EMPTY_DATA, short.duration() / 4) => {
            panic!("cut: {:?}", frames(&sent))
        }
    }
}

#[tokio::test]
async fn a_chunked_body_read_to_its_end_is_at_its_end() {
    let server = start(|_| ());
    let request = b"PUT /ended HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = rest(server.send(request).await).await;
    assert!(answer.ends_with("true"), "{answer}");
}
