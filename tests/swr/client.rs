//! A client that signs as Huawei's SDKs do, and a registry with two accounts to ask.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use serde_json::{Value, json};

use super::support::{Http, Image, Response, Rng, Server, Settings};

/// A registry with the accounts `main` (administrator `admin`, user `ann`, who was granted nothing) and `beta`
/// (administrator `betty`).
pub struct House {
    pub server: Server,
    pub admin: Client,
    pub ann: Client,
    pub betty: Client,
}

/// Somebody with an access key.
#[derive(Clone)]
pub struct Client {
    pub http: Http,
    pub id: String,
    key: String,
    secret: String,
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// What a client's clock says.
#[expect(clippy::disallowed_methods, reason = "the server under test has a clock of its own, the machine's")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Runs a command of the binary on the server's data: its JSON.
pub fn command(server: &Server, line: &str) -> Value {
    let arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let output = server.command(&arguments);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

impl House {
    /// None, loudly, where no server can be started.
    pub fn open() -> Option<Self> {
        Self::with(Settings::default().closed())
    }

    pub fn with(settings: Settings) -> Option<Self> {
        let server = Server::own(settings)?;
        command(&server, "init --generate-password");
        command(&server, "user add ann");
        command(&server, "account add beta --user betty --generate-password");
        let [admin, ann, betty] =
            [("main", "admin"), ("main", "ann"), ("beta", "betty")].map(|(a, u)| Client::of(&server, a, u));
        Some(Self { server, admin, ann, betty })
    }

    /// Pushes a small image as somebody.
    pub fn push(&self, who: &Client, repository: &str, tag: &str, seed: u64) -> Image {
        let image = Image::small(&mut Rng::seeded(seed));
        let login = who.login();
        for blob in image.layers.iter().chain([&image.config]) {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", super::support::sha256(blob));
            let push = who.http.post(&path).header("Authorization", &login).body(blob.clone());
            push.send().expect(201);
        }
        let put = who.http.put(&format!("/v2/{repository}/manifests/{tag}")).header("Authorization", &login);
        put.header("Content-Type", image.media_type).body(image.manifest.clone()).send().expect(201);
        image
    }
}

impl Client {
    fn of(server: &Server, account: &str, user: &str) -> Self {
        let key = command(server, &format!("key add {user} --account {account}"));
        let shown = command(server, &format!("user show {user} --account {account}"));
        let (id, key, secret) = (text(&shown["id"]), text(&key["key"]), text(&key["secret"]));
        Self { http: server.http(), id, key, secret }
    }

    /// With another secret key.
    pub fn wrong(&self) -> Self {
        Self { secret: "0".repeat(40), ..self.clone() }
    }

    /// `Authorization` as docker sends it.
    pub fn login(&self) -> String {
        use base64ct::{Base64, Encoding as _};
        let password = hex(mac(self.secret.as_bytes(), self.key.as_bytes()).as_ref());
        let user = format!("region-1@{}:{password}", self.key);
        format!("Basic {}", Base64::encode_string(user.as_bytes()))
    }

    pub fn get(&self, target: &str) -> Response {
        self.send("GET", target, None)
    }

    pub fn delete(&self, target: &str) -> Response {
        self.send("DELETE", target, None)
    }

    pub fn post(&self, target: &str, body: Value) -> Response {
        self.send("POST", target, Some(body))
    }

    pub fn patch(&self, target: &str, body: Value) -> Response {
        self.send("PATCH", target, Some(body))
    }

    /// Signs and sends a request; every answer is held to what all have in common.
    pub fn send(&self, method: &str, target: &str, body: Option<Value>) -> Response {
        let body = body.map(|value| value.to_string()).unwrap_or_default();
        let answer = self.signed(method, target, body.as_bytes(), body.as_bytes()).send();
        let id = answer.need("x-request-id").to_owned();
        assert_eq!(answer.need("cache-control"), "no-store", "{answer}");
        match answer.status {
            204 => assert!(answer.body.is_empty() && answer.header("content-type").is_none(), "{answer}"),
            _ => assert_eq!(answer.need("content-type"), "application/json;charset=utf-8", "{answer}"),
        }
        if answer.status >= 400 {
            let body = answer.json();
            assert_eq!(body["request_id"], id.as_str(), "{answer}");
            assert_eq!(body["errors"][0]["errorCode"], body["error_code"], "{answer}");
            assert_eq!(body["errors"][0]["errorMessage"], body["error_msg"], "{answer}");
            assert_eq!(
                (&body["errorCode"], &body["errorMessage"]),
                (&body["error_code"], &body["error_msg"])
            );
        }
        answer
    }

    /// A request that carries `sent` and is signed over `signed`.
    pub fn signed(
        &self,
        method: &str,
        target: &str,
        sent: &[u8],
        signed: &[u8],
    ) -> super::support::http::Request {
        let date = now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let names = "content-type;host;x-sdk-date";
        let host = self.http.address.to_string();
        let slash = if path.ends_with('/') { "" } else { "/" };
        let path = path.replace('$', "%24").replace("%2F", "/");
        let canonical = format!(
            "{method}\n{path}{slash}\n{}\ncontent-type:application/json\nhost:{host}\nx-sdk-date:{date}\n\n{names}\n{}",
            sorted(query),
            hex(digest::digest(&digest::SHA256, signed).as_ref()),
        );
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("SDK-HMAC-SHA256\n{date}\n{hash}");
        let tag = hex(mac(self.secret.as_bytes(), text.as_bytes()).as_ref());
        let authorization =
            format!("SDK-HMAC-SHA256 Access={}, SignedHeaders={names}, Signature={tag}", self.key);
        let request = self.http.request(method, target).header("Content-Type", "application/json");
        let request = request.header("X-Sdk-Date", date).header("Authorization", authorization);
        if sent.is_empty() { request } else { request.body(sent) }
    }
}

impl Response {
    /// Panics unless the status and SWR's code are these.
    pub fn refusal(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        let body = answer.json();
        let found = body["error_code"].as_str().unwrap_or_default();
        assert_eq!(found.strip_prefix("SVCSTG.SWR.").unwrap_or(found), code, "{answer}");
        body
    }

    /// Panics unless the status is this and the body `{}`.
    pub fn empty(self, status: u16) {
        assert_eq!(self.expect(status).json(), json!({}));
    }
}

/// The query in its canonical order; the tests send values that are encoded as the canonical form wants them.
fn sorted(query: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

fn mac(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}
