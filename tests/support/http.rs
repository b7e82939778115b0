//! A blocking HTTP/1.1 client over a plain socket, one connection a request. It sends exactly what
//! it is told, malformed or cut short included, and reads answers strictly: a body that is shorter
//! or longer than declared is a failure.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes on a busy machine; a hang fails the test instead of the CI run.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub struct Http {
    pub address: SocketAddr,
}

pub struct Request {
    http: Http,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Body,
}

enum Body {
    None,
    Whole(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

#[derive(Debug)]
pub struct Response {
    /// "GET /v2/" of the request, for failure messages.
    pub asked: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Http {
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request {
            http: *self,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    pub fn head(&self, target: &str) -> Request {
        self.request("HEAD", target)
    }

    pub fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    pub fn patch(&self, target: &str) -> Request {
        self.request("PATCH", target)
    }

    pub fn put(&self, target: &str) -> Request {
        self.request("PUT", target)
    }

    pub fn delete(&self, target: &str) -> Request {
        self.request("DELETE", target)
    }

    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Sends `bytes` as they are, then reads until the server closes, as it must after a refusal or
    /// when the request asks for it. A reset counts as a close.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        self.exchange(bytes, false)
    }

    /// As [`Http::raw`], but the client's side is closed after `bytes`: nothing more will come.
    pub fn raw_cut(&self, bytes: &[u8]) -> Vec<u8> {
        self.exchange(bytes, true)
    }

    fn exchange(&self, bytes: &[u8], cut: bool) -> Vec<u8> {
        let mut stream = self.connect().expect("the server accepts connections");
        let mut answer = Vec::new();
        // A refusal may arrive, and the socket close, before everything is written.
        if stream.write_all(bytes).is_ok() && cut {
            let _ = stream.shutdown(Shutdown::Write);
        }
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                panic!("no end of the answer: {error}; so far {:?}", String::from_utf8_lossy(&answer))
            }
            _ => answer,
        }
    }
}

impl Request {
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// With `Content-Length`, unless a header of that name is given.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Whole(bytes.into());
        self
    }

    pub fn chunked<'a>(mut self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.body = Body::Chunked(chunks.into_iter().map(<[u8]>::to_vec).collect());
        self
    }

    /// The answer; panics when there is none.
    pub fn send(self) -> Response {
        let asked = format!("{} {}", self.method, self.target);
        self.try_send().unwrap_or_else(|error| panic!("{asked}: no whole answer: {error}"))
    }

    /// The answer, or why there is none (refused, reset, cut).
    pub fn try_send(self) -> io::Result<Response> {
        let mut stream = self.http.connect()?;
        let sent = self.write(&mut stream);
        // The server may answer and close before it has read the whole body: look at the answer first.
        let answer = read_response(&mut BufReader::new(&stream), &self.method, self.asked());
        match (answer, sent) {
            (Ok(response), _) => Ok(response),
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }

    fn asked(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// The head as it goes over the wire, blank line included.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let given = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !given("host") {
            head += &format!("Host: {}\r\n", self.http.address);
        }
        if !given("connection") {
            head += "Connection: close\r\n";
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match &self.body {
            Body::Whole(bytes) if !given("content-length") => {
                head += &format!("Content-Length: {}\r\n", bytes.len())
            }
            Body::None if !given("content-length") && matches!(&*self.method, "POST" | "PUT" | "PATCH") => {
                head += "Content-Length: 0\r\n";
            }
            Body::Chunked(_) => head += "Transfer-Encoding: chunked\r\n",
            Body::Whole(_) | Body::None => {}
        }
        head += "\r\n";
        head.into_bytes()
    }

    fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&self.head_bytes())?;
        match &self.body {
            Body::None => Ok(()),
            Body::Whole(bytes) => stream.write_all(bytes),
            Body::Chunked(chunks) => {
                for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                    write!(stream, "{:x}\r\n", chunk.len())?;
                    stream.write_all(chunk)?;
                    stream.write_all(b"\r\n")?;
                }
                stream.write_all(b"0\r\n\r\n")
            }
        }
    }
}

/// Reads one answer, interim (1xx) ones skipped.
pub fn read_response(from: &mut impl BufRead, method: &str, asked: String) -> io::Result<Response> {
    loop {
        let (status, headers) = read_head(from)?;
        if (100..200).contains(&status) {
            continue;
        }
        let mut response = Response { asked, status, headers, body: Vec::new() };
        if method != "HEAD" && status != 204 && status != 304 {
            response.body = read_body(from, &response)?;
        }
        return Ok(response);
    }
}

fn read_head(from: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let first = read_line(from)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| invalid(format!("status line {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("header line {line:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(from: &mut impl BufRead, response: &Response) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(from)?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
                .map_err(|_| invalid(format!("chunk size {line:?}")))?;
            let before = body.len();
            body.resize(before + size, 0);
            from.read_exact(&mut body[before..])?;
            if !read_line(from)?.is_empty() {
                return Err(invalid("a chunk is longer than its size".to_owned()));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match response.header("content-length") {
        Some(length) => {
            let length: usize = length.parse().map_err(|_| invalid(format!("Content-Length {length:?}")))?;
            body.resize(length, 0);
            from.read_exact(&mut body)?;
        }
        None => {
            from.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended inside an answer"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| invalid("a head that is not UTF-8".to_owned()))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Response {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// As [`Response::header`]; panics when it is absent.
    pub fn need(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} header in {self}"))
    }

    /// Panics unless the status is `wanted`.
    pub fn expect(self, wanted: u16) -> Self {
        self.expect_one(&[wanted])
    }

    pub fn expect_one(self, wanted: &[u16]) -> Self {
        assert!(wanted.contains(&self.status), "expected {wanted:?}, got {self}");
        self
    }

    /// A refusal in the protocol's words: the status, and a body whose first error has `code`.
    pub fn refused(self, status: u16, code: &str) -> Self {
        let this = self.expect(status);
        assert_eq!(this.error_code(), code, "in {this}");
        this
    }

    /// The code of the first error; checks the shape of an error body on the way.
    pub fn error_code(&self) -> String {
        let body = self.json();
        let first = body["errors"].get(0).unwrap_or_else(|| panic!("no errors member in {self}"));
        assert!(first["message"].as_str().is_some_and(|text| !text.is_empty()), "no message in {self}");
        let kind = self.header("content-type").unwrap_or("");
        assert!(kind.starts_with("application/json"), "an error body is JSON, not {kind:?}: {self}");
        first["code"].as_str().unwrap_or_else(|| panic!("no code in {self}")).to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// Path and query of `Location`, whether it names a host or not.
    pub fn location(&self) -> String {
        let location = self.need("location");
        match location.split_once("://") {
            Some((_, rest)) => rest[rest.find('/').expect("a path in Location")..].to_owned(),
            None => location.to_owned(),
        }
    }
}

impl std::fmt::Display for Response {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(600)];
        write!(
            out,
            "{} -> {} {:?} {}",
            self.asked,
            self.status,
            self.headers,
            String::from_utf8_lossy(shown).escape_debug()
        )
    }
}

/// Appends `key=value` to a target that may have a query already.
pub fn with_query(target: &str, pair: &str) -> String {
    let mark = if target.contains('?') { '&' } else { '?' };
    format!("{target}{mark}{pair}")
}
