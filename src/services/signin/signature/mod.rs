//! Signatures of requests as Huawei's SDKs make them: `SDK-HMAC-SHA256`. The client hashes a
//! *canonical request* and signs date and hash with its SK; we make the same text of what came over
//! the wire. Clients differ in how they spell it (`canonical`), so a few spellings are tried.
//!
//! G1: every header the client says it signed is there, the date among them; a header that says what
//! the body hashes to is signed, and agrees with the body that came.
//! G2: a signature is good for the window around its date and for nothing after it. Within it, it can
//! be sent again: it proves the request, not that it is the first.
//! G3: host, project and content type count as signed only if the client lists them.

mod canonical;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use super::{Secret, hex};

const DATE: &str = "x-sdk-date";
const CONTENT: &str = "x-sdk-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const MAX_HEADERS: usize = 64;

/// A signature as the `Authorization` header has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    access: String,
    /// Lower case, in the order given.
    headers: Vec<String>,
    tag: [u8; 32],
}

/// A request as it came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as sent, still encoded, without the query.
    pub path: &'a str,
    /// What follows the `?` as sent; empty without.
    pub query: &'a str,
    /// Names and values as sent, in their order. Where there is no `Host` header (HTTP/2), the
    /// authority stands for it.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body, before any decoding.
    pub body: &'a [u8],
}

/// A request whose signature is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The date it was signed with: UTC milliseconds since 1970.
    pub at_ms: u64,
    /// Whether the signature covers the body. SDKs leave out bodies that are not JSON.
    pub covers_body: bool,
}

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another key, or another request.
    #[error("verify aksk signature fail")]
    Wrong,
    /// Its date is too far from now; the client's clock may be wrong.
    #[error("signature expired")]
    Expired,
    /// What is needed to check it is not there or cannot be read.
    #[error("verify aksk signature fail: {0}")]
    Malformed(&'static str),
}

impl Signature {
    /// The only algorithm there is.
    pub const ALGORITHM: &'static str = "SDK-HMAC-SHA256";

    /// Reads what follows the algorithm: `Access=…, SignedHeaders=…, Signature=…`, in any order.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mut access, mut headers, mut tag) = (None, None, None);
        for part in text.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let repeated = match name {
                "Access" => access.replace(is_access(value).then(|| value.to_owned())?).is_some(),
                "SignedHeaders" => headers.replace(header_names(value)?).is_some(),
                "Signature" => tag.replace(hex::decode32(value)?).is_some(),
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(Self { access: access?, headers: headers?, tag: tag? })
    }

    /// The AK it says it was made with.
    pub fn access(&self) -> &str {
        &self.access
    }

    /// Checks it for this request, at `now_ms`, with a clock of the client up to `skew` off.
    /// Without a secret (an unknown AK) the same is done, and the answer is [`Refused::Wrong`].
    pub fn verify(
        &self,
        secret: Option<&Secret>,
        request: &Request<'_>,
        now_ms: u64,
        skew: Duration,
    ) -> Result<Signed, Refused> {
        let sent = Sent::new(request.headers);
        let date = sent.only(DATE)?.ok_or(Refused::Malformed("X-Sdk-Date is missing"))?;
        let at_ms = parse_date(date).ok_or(Refused::Malformed("X-Sdk-Date is not a date"))?;
        if !self.headers.iter().all(|name| sent.has(name)) {
            return Err(Refused::Malformed("a signed header is missing"));
        }
        if !self.signs(DATE) || (sent.has(CONTENT) && !self.signs(CONTENT)) {
            return Err(Refused::Malformed("a header that has to be signed is not"));
        }
        if u128::from(at_ms.abs_diff(now_ms)) > skew.as_millis() {
            return Err(Refused::Expired);
        }
        let payloads = payloads(request.body, sent.only(CONTENT)?)?;
        let nobody = Secret::new(vec![0; 40]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.unwrap_or(&nobody).expose());
        let covers_body = self.matching(&key, request, date, &sent, &payloads).ok_or(Refused::Wrong)?;
        secret.map(|_| Signed { at_ms, covers_body }).ok_or(Refused::Wrong)
    }

    fn signs(&self, header: &str) -> bool {
        self.headers.iter().any(|name| name == header)
    }

    /// Whether the body is covered, in the first spelling of the request that has this signature.
    fn matching(
        &self,
        key: &hmac::Key,
        request: &Request<'_>,
        date: &[u8],
        sent: &Sent<'_>,
        payloads: &[Payload],
    ) -> Option<bool> {
        let headers = self.canonical_headers(sent);
        let method = request.method.to_ascii_uppercase();
        let queries = canonical::queries(request.query);
        for path in canonical::paths(request.path) {
            for query in &queries {
                let head = [method.as_bytes(), path.as_bytes(), query.as_bytes(), headers.as_slice()];
                let head = head.join(&b'\n');
                for payload in payloads {
                    let canonical = [head.as_slice(), payload.spelt.as_bytes()].join(&b'\n');
                    let hash = hex::encode(digest(&SHA256, &canonical).as_ref());
                    let text = [Self::ALGORITHM.as_bytes(), date, hash.as_bytes()].join(&b'\n');
                    if hmac::verify(key, &text, &self.tag).is_ok() {
                        return Some(payload.covers);
                    }
                }
            }
        }
        None
    }

    /// A line for each value of each signed header, values sorted, an empty line, and their names.
    fn canonical_headers(&self, sent: &Sent<'_>) -> Vec<u8> {
        let mut lines = Vec::new();
        for name in &self.headers {
            let mut values = sent.values(name).to_vec();
            values.sort_unstable();
            for value in values {
                lines.extend_from_slice(name.as_bytes());
                lines.push(b':');
                lines.extend_from_slice(value);
                lines.push(b'\n');
            }
        }
        lines.push(b'\n');
        lines.extend_from_slice(self.headers.join(";").as_bytes());
        lines
    }
}

fn is_access(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Names of headers, lower-cased; none twice, and not the header they stand in.
fn header_names(text: &str) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split(';') {
        let name = name.to_ascii_lowercase();
        let sound =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let refused = name.is_empty() || !sound || name == "authorization" || names.contains(&name);
        if refused || names.len() == MAX_HEADERS {
            return None;
        }
        names.push(name);
    }
    Some(names)
}

/// The headers of a request by lower-case name, values trimmed.
struct Sent<'a>(HashMap<String, Vec<&'a [u8]>>);

impl<'a> Sent<'a> {
    fn new(headers: &[(&str, &'a [u8])]) -> Self {
        let mut sent: HashMap<String, Vec<&'a [u8]>> = HashMap::new();
        for (name, value) in headers {
            sent.entry(name.to_ascii_lowercase()).or_default().push(value.trim_ascii());
        }
        Self(sent)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn values(&self, name: &str) -> &[&'a [u8]] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of a header that may be there once.
    fn only(&self, name: &str) -> Result<Option<&'a [u8]>, Refused> {
        match self.values(name) {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(Refused::Malformed("a header of the signature is there twice")),
        }
    }
}

/// What may stand for the body in the canonical request.
struct Payload {
    spelt: String,
    covers: bool,
}

/// Spellings of the body, given the header that says its hash. Python signs an empty body as such
/// though the header says that the body is not signed.
fn payloads(body: &[u8], declared: Option<&[u8]>) -> Result<Vec<Payload>, Refused> {
    let own = hex::encode(digest(&SHA256, body).as_ref());
    match declared.map(std::str::from_utf8) {
        None => Ok(vec![Payload { spelt: own, covers: true }]),
        Some(Ok(UNSIGNED)) => {
            let mut spellings = vec![Payload { spelt: UNSIGNED.to_owned(), covers: false }];
            if body.is_empty() {
                spellings.push(Payload { spelt: own, covers: true });
            }
            Ok(spellings)
        }
        Some(Ok(hash)) if hash.len() == own.len() => {
            verify_slices_are_equal(hash.to_ascii_lowercase().as_bytes(), own.as_bytes())
                .map(|()| vec![Payload { spelt: hash.to_owned(), covers: true }])
                .map_err(|_| Refused::Wrong)
        }
        Some(_) => Err(Refused::Malformed("X-Sdk-Content-Sha256 is not a hash")),
    }
}

/// `20240102T030405Z` as UTC milliseconds since 1970.
fn parse_date(value: &[u8]) -> Option<u64> {
    let digits = |range: std::ops::Range<usize>| -> Option<i16> {
        value.get(range)?.iter().try_fold(0, |number: i16, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i16::from(digit - b'0'))
        })
    };
    let small = |from: usize| digits(from..from + 2).and_then(|number| i8::try_from(number).ok());
    if value.len() != 16 || value.get(8) != Some(&b'T') || value.get(15) != Some(&b'Z') {
        return None;
    }
    let civil =
        jiff::civil::DateTime::new(digits(0..4)?, small(4)?, small(6)?, small(9)?, small(11)?, small(13)?, 0);
    let at = jiff::tz::Offset::UTC.to_timestamp(civil.ok()?).ok()?;
    u64::try_from(at.as_millisecond()).ok()
}
