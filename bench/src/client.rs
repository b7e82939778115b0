//! One keep-alive HTTP/1.1 connection to a registry, plain or over TLS.
//! Every answer's body is read to its end before the next request, and is bounded where it is kept.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::call::{Call, Reply};
use crate::content;
use crate::error::BenchError;
use crate::payload::Payload;
use crate::target::Target;

/// The longest answer that is kept in memory; a peer gives 10,000 tags in one.
const KEPT: usize = 64 << 20;
/// A reader held to a rate does not sleep for less than this: the runtime's timers could not.
const SHORT: Duration = Duration::from_millis(2);

/// A connection, opened by the first request and again after the registry closed it.
pub struct Connection {
    target: Arc<Target>,
    sender: Option<SendRequest<Payload>>,
    driver: JoinSet<()>,
}

impl Connection {
    /// A connection that is not open yet.
    pub fn new(target: &Arc<Target>) -> Self {
        Self { target: Arc::clone(target), sender: None, driver: JoinSet::new() }
    }

    /// Sends a request and reads an answer that must have the expected status.
    pub async fn ask(
        &mut self,
        call: &Call,
        payload: Payload,
        expected: StatusCode,
    ) -> Result<Reply, BenchError> {
        let (status, reply) = self.try_ask(call, payload).await?;
        if status == expected {
            return Ok(reply);
        }
        let text = String::from_utf8_lossy(&reply.body);
        let body = text.chars().take(300).collect();
        Err(BenchError::Status { what: call.what(), expected, status, body })
    }

    /// Sends a request and reads whatever answer comes.
    pub async fn try_ask(
        &mut self,
        call: &Call,
        payload: Payload,
    ) -> Result<(StatusCode, Reply), BenchError> {
        let response = self.send(call, payload).await?;
        let (parts, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(bytes) = next(&mut incoming, call).await? {
            if body.len() + bytes.len() > KEPT {
                return Err(BenchError::content(
                    call.what(),
                    format!("the answer is longer than {KEPT} bytes"),
                ));
            }
            body.extend_from_slice(&bytes);
        }
        Ok((parts.status, Reply { headers: parts.headers, body: body.freeze() }))
    }

    /// Reads a body of any size and keeps nothing of it; returns its length.
    pub async fn drain(&mut self, call: &Call) -> Result<u64, BenchError> {
        let mut incoming = self.body(call).await?;
        let mut length = 0;
        while let Some(bytes) = next(&mut incoming, call).await? {
            length += bytes.len() as u64;
        }
        Ok(length)
    }

    /// As [`Connection::drain`], reading at most so many bytes a second on average; what was missed while the
    /// registry kept it waiting is made up for.
    pub async fn drain_at(&mut self, call: &Call, bytes_per_second: f64) -> Result<u64, BenchError> {
        let mut incoming = self.body(call).await?;
        let (begun, mut length) = (Instant::now(), 0);
        while let Some(bytes) = next(&mut incoming, call).await? {
            length += bytes.len() as u64;
            let due = begun + Duration::from_secs_f64(length as f64 / bytes_per_second);
            if due.saturating_duration_since(Instant::now()) > SHORT {
                tokio::time::sleep_until(due.into()).await;
            }
        }
        Ok(length)
    }

    /// Reads a body of any size and returns its digest.
    pub async fn digest(&mut self, call: &Call) -> Result<String, BenchError> {
        let mut incoming = self.body(call).await?;
        let mut hash = Sha256::new();
        while let Some(bytes) = next(&mut incoming, call).await? {
            hash.update(&bytes);
        }
        Ok(content::name(hash))
    }

    async fn body(&mut self, call: &Call) -> Result<Incoming, BenchError> {
        let response = self.send(call, Payload::EMPTY).await?;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        let (what, status) = (call.what(), response.status());
        Err(BenchError::Status { what, expected: StatusCode::OK, status, body: String::new() })
    }

    async fn send(&mut self, call: &Call, payload: Payload) -> Result<Response<Incoming>, BenchError> {
        let mut request: Request<Payload> = call.request(payload);
        request.headers_mut().insert(HOST, self.target.host().clone());
        let sent = self.sender().await?.send_request(request).await;
        sent.map_err(BenchError::exchange(call.what()))
    }

    /// The open connection: the one there is if it can take a request, else a new one.
    async fn sender(&mut self) -> Result<&mut SendRequest<Payload>, BenchError> {
        let ready = match self.sender.as_mut() {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !ready {
            self.sender = None;
        }
        match self.sender {
            Some(ref mut sender) => Ok(sender),
            None => {
                let opened = self.open().await?;
                Ok(self.sender.insert(opened))
            }
        }
    }

    async fn open(&mut self) -> Result<SendRequest<Payload>, BenchError> {
        let address = self.target.address();
        let what = format!("connecting to {address}");
        let stream = connect(address, self.target.source()).await.map_err(BenchError::io(what.as_str()))?;
        stream.set_nodelay(true).map_err(BenchError::io(what.as_str()))?;
        let Some(tls) = self.target.tls().cloned() else { return self.handshake(stream, what).await };
        let connecting = TlsConnector::from(tls.config).connect(tls.name, stream);
        let stream = Box::pin(connecting).await.map_err(BenchError::io(format!("{what} over TLS")))?;
        self.handshake(stream, what).await
    }

    async fn handshake<S>(&mut self, stream: S, what: String) -> Result<SendRequest<Payload>, BenchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(BenchError::exchange(what))?;
        self.driver.abort_all();
        self.driver = JoinSet::new();
        // What ends the connection early is also told to the request that waits on it.
        self.driver.spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

async fn connect(address: SocketAddr, source: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

async fn next(incoming: &mut Incoming, call: &Call) -> Result<Option<Bytes>, BenchError> {
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(BenchError::exchange(call.what()))?;
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::tls::{Identity, Trust};

    /// Answers each connection once with these bytes and closes it.
    async fn answering(answer: &'static str) -> (Arc<Target>, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await;
                if read.is_ok() {
                    drop(stream.write_all(answer.as_bytes()).await);
                }
            }
        });
        (Arc::new(Target::local(address, None)), task)
    }

    #[tokio::test]
    async fn a_connection_the_registry_closed_is_opened_again() {
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        let (target, _registry) = answering(answer).await;
        let call = Call::get("/v2/").expect("this is a path");
        let mut connection = Connection::new(&target);
        for _ in 0..3 {
            let reply = connection.ask(&call, Payload::EMPTY, StatusCode::OK).await.expect("it answers");
            assert_eq!(reply.body, "hi");
        }
        assert_eq!(connection.drain(&call).await.ok(), Some(2));
        assert_eq!(connection.digest(&call).await.ok(), Some(content::digest(b"hi")));
    }

    #[tokio::test]
    async fn a_connection_comes_from_the_address_it_is_told() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let told = IpAddr::from([127, 0, 0, 3]);
        for (source, seen) in [(None, Ipv4Addr::LOCALHOST.into()), (Some(told), told)] {
            let (_stream, accepted) = tokio::join!(connect(address, source), listener.accept());
            assert_eq!(accepted.expect("somebody came").1.ip(), seen, "{source:?}");
        }
    }

    #[tokio::test]
    async fn a_reader_held_to_a_rate_takes_the_time_it_should() {
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789";
        let (target, _registry) = answering(answer).await;
        let call = Call::get("/v2/").expect("this is a path");
        let begun = Instant::now();
        assert_eq!(Connection::new(&target).drain_at(&call, 200.0).await.ok(), Some(10));
        assert!(begun.elapsed() >= Duration::from_millis(49), "ten bytes at 200 a second");
        assert_eq!(Connection::new(&target).drain_at(&call, 1e9).await.ok(), Some(10));
    }

    #[tokio::test]
    async fn another_status_is_an_error_with_the_answers_text() {
        let answer = "HTTP/1.1 507 Full\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull";
        let (target, _registry) = answering(answer).await;
        let call = Call::get("/v2/").expect("this is a path");
        let asked = Connection::new(&target).ask(&call, Payload::EMPTY, StatusCode::OK).await;
        let Err(BenchError::Status { status, body, .. }) = asked else { panic!("507 is not 200") };
        assert_eq!((status, body.as_str()), (StatusCode::INSUFFICIENT_STORAGE, "full"));
        assert!(Connection::new(&target).drain(&call).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_an_error() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        let (target, _registry) = answering(answer).await;
        let call = Call::get("/v2/").expect("this is a path");
        let drained = Connection::new(&target).drain(&call).await;
        assert!(matches!(drained, Err(BenchError::Exchange { .. })));
    }

    /// Serves one TLS connection after another: each is answered once and closed.
    async fn answering_over_tls(identity: &Identity) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let acceptor = TlsAcceptor::from(identity.server());
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = [0; 4096];
                if stream.read(&mut request).await.is_ok() {
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await);
                    drop(stream.shutdown().await);
                }
            }
        });
        (address, task)
    }

    #[tokio::test]
    async fn a_registry_over_tls_is_driven_if_its_certificate_is_trusted() {
        let (own, stranger) = (Identity::new().expect("a certificate"), Identity::new().expect("another"));
        let (address, _registry) = answering_over_tls(&own).await;
        let call = Call::get("/v2/").expect("this is a path");
        let url = format!("https://{address}");
        let anyone = Trust { ca: None, insecure: true };
        let table = [
            ("its certificate", Target::local(address, Some(&own)), true),
            ("another one", Target::local(address, Some(&stranger)), false),
            ("anyone", Target::from_url(&url, &anyone).await.expect("a host"), true),
            ("plain HTTP", Target::local(address, None), false),
        ];
        for (row, target, trusted) in table {
            let asked = Connection::new(&Arc::new(target)).ask(&call, Payload::EMPTY, StatusCode::OK).await;
            assert_eq!(asked.is_ok_and(|reply| reply.body == "hi"), trusted, "{row}");
        }
    }
}
