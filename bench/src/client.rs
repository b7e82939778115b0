//! One keep-alive HTTP/1.1 connection to a registry.
//! Every answer's body is read to its end before the next request, and is bounded where it is kept.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::content::{self, Payload};
use crate::error::BenchError;

/// The longest answer that is kept in memory; a peer gives 10,000 tags in one.
const KEPT: usize = 64 << 20;

/// Where a registry listens.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    host: HeaderValue,
}

impl Target {
    /// A registry on this machine.
    pub fn local(address: SocketAddr) -> Self {
        let digits = Bytes::from(address.to_string());
        // An address is written in digits, dots, colons and brackets: a header value always.
        let host = HeaderValue::from_maybe_shared(digits).unwrap_or(HeaderValue::from_static("localhost"));
        Self { address, host }
    }

    /// Reads `http://host[:port]`, looking the host up.
    pub async fn from_url(url: &str) -> Result<Self, BenchError> {
        let wrong = |why| BenchError::Url { url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http:// can be driven"));
        }
        if !matches!(uri.path(), "" | "/") {
            return Err(wrong("the host alone is wanted, without a path"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("not a host"))?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let mut found = tokio::net::lookup_host((name, authority.port_u16().unwrap_or(80)))
            .await
            .map_err(BenchError::io(format!("looking up {name}")))?;
        let address = found.next().ok_or_else(|| wrong("the host has no address"))?;
        Ok(Self { address, host })
    }
}

/// A request that can be sent again and again; sending shares its path.
#[derive(Clone)]
pub struct Call {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Call {
    /// A request for a path that begins with `/`.
    pub fn new(method: Method, path: &str) -> Result<Self, BenchError> {
        let what = || format!("{method} {path}");
        let uri = path.parse().map_err(|_| BenchError::content(what(), "this is not a path"))?;
        Ok(Self { method, uri, headers: HeaderMap::new() })
    }

    /// `GET` of a path.
    pub fn get(path: &str) -> Result<Self, BenchError> {
        Self::new(Method::GET, path)
    }

    /// With one more header.
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Method and path, for messages.
    pub fn what(&self) -> String {
        format!("{} {}", self.method, self.uri)
    }
}

/// An answer read to its end.
pub struct Reply {
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body.
    pub body: Bytes,
}

impl Reply {
    /// A header as text, if it is there and is text.
    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where to go on: the path and query of `Location`, which may name the host or not.
    pub fn location(&self) -> Option<String> {
        let uri: Uri = self.header(LOCATION)?.parse().ok()?;
        uri.path_and_query().map(|path| path.as_str().to_owned())
    }
}

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
        let mut request = Request::new(payload);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.uri.clone();
        *request.headers_mut() = call.headers.clone();
        request.headers_mut().insert(HOST, self.target.host.clone());
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
        let what = format!("connecting to {}", self.target.address);
        let stream = TcpStream::connect(self.target.address).await.map_err(BenchError::io(what.as_str()))?;
        stream.set_nodelay(true).map_err(BenchError::io(what.as_str()))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(BenchError::exchange(what))?;
        self.driver.abort_all();
        self.driver = JoinSet::new();
        // What ends the connection early is also told to the request that waits on it.
        self.driver.spawn(async move { drop(connection.await) });
        Ok(sender)
    }
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

    use super::*;

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
        (Arc::new(Target::local(address)), task)
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

    #[tokio::test]
    async fn only_the_root_of_a_plain_http_host_is_driven() {
        let table = [
            ("port", "http://127.0.0.1:5000", true),
            ("slash", "http://127.0.0.1:5000/", true),
            ("no port", "http://127.0.0.1", true),
            ("address of version 6", "http://[::1]:5000", true),
            ("path", "http://127.0.0.1/v2/", false),
            ("tls", "https://127.0.0.1", false),
            ("no scheme", "127.0.0.1:5000", false),
            ("empty", "", false),
        ];
        for (row, url, driven) in table {
            assert_eq!(Target::from_url(url).await.is_ok(), driven, "{row}");
        }
    }
}
