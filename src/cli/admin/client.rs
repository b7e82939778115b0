//! HTTP/1.1 over a Unix socket, one connection a call: what a command needs, no more.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::super::Failure;
use crate::server::reach;

/// Bytes of an answer at most; a page of 1,000 items has far fewer.
const MOST: usize = 64 << 20;
/// Longer than anything a server is asked takes; one that hangs must not hang scripts.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server to ask.
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
    patience: Duration,
}

impl Client {
    /// The server on this socket.
    pub fn new(socket: PathBuf) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Failure::Io { what: "cannot start".to_owned(), source })?;
        Ok(Self { socket, runtime, patience: PATIENCE })
    }

    /// Gives up on a call after this time, not after minutes.
    pub fn hasty(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// `GET`.
    pub fn get(&self, target: &str) -> Result<Value, Failure> {
        self.call(Method::GET, target, None)
    }

    /// `POST`, with a JSON body or none.
    pub fn post(&self, target: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.call(Method::POST, target, body)
    }

    /// `PUT`.
    pub fn put(&self, target: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PUT, target, Some(body))
    }

    /// `PATCH`.
    pub fn patch(&self, target: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, target, Some(body))
    }

    /// `DELETE`.
    pub fn delete(&self, target: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, target, None)
    }

    /// Lets some time go by before it is asked again.
    pub fn pause(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Whether a server listens there. One that may not be asked counts: it runs.
    pub fn is_answered(&self) -> bool {
        let connected = self.runtime.block_on(self.connect());
        let absent = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
        connected.map_or_else(|error| !absent.contains(&error.kind()), |_| true)
    }

    /// Every item of a list, page after page, as one page. `target` has a query already.
    pub fn all(&self, target: &str) -> Result<Value, Failure> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let mut page = self.get(&format!("{target}{after}"))?;
            if let Some(Value::Array(items)) = page.get_mut("items") {
                all.append(items);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={}", super::part(next)),
                None => return Ok(json!({"items": all, "next": null})),
            }
        }
    }

    fn call(&self, method: Method, target: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let (status, bytes) = self.runtime.block_on(async {
            let asked = tokio::time::timeout(self.patience, self.exchange(method, target, body));
            let late = |_| Err(Failure::Server(format!("no answer within {:?}", self.patience)));
            asked.await.unwrap_or_else(late)
        })?;
        let answer: Option<Value> = serde_json::from_slice(&bytes).ok();
        match answer {
            Some(answer) if status.is_success() => Ok(answer),
            answer => Err(Failure::Server(refusal(status, answer.as_ref()))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let stream = self.connect().await.map_err(|error| absent(&self.socket, &error))?;
        let broken =
            |error: &dyn std::fmt::Display| Failure::Server(format!("the server broke off: {error}"));
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
        let request = request(method, target, body).map_err(|error| broken(&error))?;
        let asking = async {
            let response: Response<_> = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST).collect().await;
            Ok((status, body.map_err(|error| broken(&error))?.to_bytes()))
        };
        let mut asking = Box::pin(asking);
        tokio::select! {
            answer = &mut asking => answer,
            // The connection may end before the answer was looked at.
            _ = connection => asking.await,
        }
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let reach = reach(&self.socket)?;
        UnixStream::connect(&reach.address).await
    }
}

fn request(method: Method, target: &str, body: Option<&Value>) -> hyper::http::Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(target).header(header::HOST, "localhost");
    match body {
        Some(body) => {
            let json = request.header(header::CONTENT_TYPE, "application/json");
            json.body(Full::new(Bytes::from(body.to_string())))
        }
        None => request.body(Full::default()),
    }
}

/// Why nobody answered, and what to do.
fn absent(socket: &Path, error: &io::Error) -> Failure {
    let socket = socket.display();
    Failure::Server(match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "no server answers on {socket}: start one with `pierhead serve`, or say which one is meant \
             with --data, --config or --socket"
        ),
        ErrorKind::PermissionDenied => {
            format!("you may not use {socket}: run this as root or as the user the server runs as")
        }
        _ => format!("cannot use {socket}: {error}"),
    })
}

fn refusal(status: StatusCode, answer: Option<&Value>) -> String {
    let message = answer.and_then(|answer| answer.pointer("/error/message")).and_then(Value::as_str);
    message.map_or_else(|| format!("the server answered {status}, not as one of ours does"), str::to_owned)
}

/// An answer as its type; a server of another version may give another.
pub fn read<T: DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer).map_err(|error| {
        Failure::Server(format!(
            "the server answered what this program does not know ({error}): is it of another version?"
        ))
    })
}
