//! The requests of the workload: each is one change, in one of the ways clients do it.

use super::model::Change;
use crate::support::http::{Request, with_query};
use crate::support::images::sha256;
use crate::support::{Http, Response, Rng};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the power is being cut.
static DARK: AtomicBool = AtomicBool::new(false);

/// Said just before the power is cut, and taken back before the next round. No answer that arrives in
/// between counts: with real power there would be none. Here the process lives on for a moment, and
/// the kernel lies to it: on an ext4 shut down without a log flush an `fdatasync` can find its
/// transaction neither running nor committing any more, and return success for what is lost
/// (seen: 32 such successes in 80 cuts of six writers, every one after the call to cut).
pub fn power_is_going(dark: bool) {
    DARK.store(dark, Ordering::SeqCst);
}

/// What became of a change.
#[derive(Debug)]
pub enum Outcome {
    Acknowledged,
    /// 4xx: it did not happen. With the answer, for messages.
    Refused(String),
    /// 507: the disk is full. It did not happen, unless the disk also fails to take it back.
    Full(String),
    /// 5xx: it may have happened.
    Failed(String),
    /// No answer: it may have happened.
    Unanswered(io::Error),
    /// No answer or a 5xx to a request before the one that makes the change: it did not happen.
    NotSent(String),
}

/// How a blob is pushed.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// POST with the digest and the bytes.
    One,
    /// POST, then PUT with the bytes.
    Two,
    /// POST, one PATCH of unknown length, PUT.
    Streamed,
    /// POST, PATCHes in order, PUT with the last bytes.
    Chunked,
}

pub const WAYS: [Way; 4] = [Way::One, Way::Two, Way::Streamed, Way::Chunked];

/// A repository of a server.
#[derive(Clone, Debug)]
pub struct Place {
    pub http: Http,
    pub name: String,
}

impl Place {
    pub fn request(&self, method: &str, rest: &str) -> Request {
        self.http.request(method, &format!("/v2/{}/{rest}", self.name))
    }

    pub fn push_blob(&self, way: Way, bytes: &[u8]) -> Outcome {
        let digest = sha256(bytes);
        if matches!(way, Way::One) {
            let request = self.request("POST", &format!("blobs/uploads/?digest={digest}"));
            return last(request.header("Content-Type", "application/octet-stream").body(bytes), &[201]);
        }
        match self.session(way, bytes) {
            Ok((location, rest)) => {
                let target = with_query(&location, &format!("digest={digest}"));
                last(
                    self.http.put(&target).header("Content-Type", "application/octet-stream").body(rest),
                    &[201],
                )
            }
            Err(outcome) => outcome,
        }
    }

    /// Everything before the PUT: its location and the bytes left for it.
    fn session<'a>(&self, way: Way, bytes: &'a [u8]) -> Result<(String, &'a [u8]), Outcome> {
        let mut location = early(self.request("POST", "blobs/uploads/"), 202)?.location();
        let patch =
            |location: &str| self.http.patch(location).header("Content-Type", "application/octet-stream");
        match way {
            Way::One | Way::Two => Ok((location, bytes)),
            Way::Streamed => {
                let pieces: Vec<&[u8]> = bytes.chunks(bytes.len() / 3 + 1).collect();
                location = early(patch(&location).chunked(pieces), 202)?.location();
                Ok((location, &[]))
            }
            Way::Chunked => {
                let step = bytes.len() / 3 + 1;
                let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
                let Some((rest, pieces)) = pieces.split_last() else { return Ok((location, bytes)) };
                for (number, piece) in pieces.iter().enumerate() {
                    let first = number * step;
                    let range = format!("{first}-{}", first + piece.len() - 1);
                    let request = patch(&location).header("Content-Range", range).body(*piece);
                    location = early(request, 202)?.location();
                }
                Ok((location, rest))
            }
        }
    }

    pub fn put_manifest(&self, bytes: &[u8], tags: &[String]) -> Outcome {
        let value: serde_json::Value = serde_json::from_slice(bytes).expect("a manifest of the workload");
        let kind = value["mediaType"].as_str().expect("manifests of the workload say their type");
        let digest = sha256(bytes);
        let (reference, more) = match tags.split_first() {
            Some((first, more)) => (first.as_str(), more),
            None => (digest.as_str(), tags),
        };
        let mut target = format!("manifests/{reference}");
        for tag in more {
            target = with_query(&target, &format!("tag={tag}"));
        }
        last(self.request("PUT", &target).header("Content-Type", kind).body(bytes), &[201])
    }

    /// `from` a repository, or from wherever the registry finds it. 202 is a refusal: nothing is
    /// mounted, and the session it opens is given back.
    pub fn mount(&self, digest: &str, from: Option<&str>) -> Outcome {
        let from = from.map(|name| format!("&from={name}")).unwrap_or_default();
        let request = self.request("POST", &format!("blobs/uploads/?mount={digest}{from}"));
        let response = match request.try_send() {
            Ok(response) => response,
            Err(error) => return Outcome::Unanswered(error),
        };
        if response.status == 202 {
            let _ = self.http.delete(&response.location()).try_send();
            return Outcome::Refused("nothing to mount from".to_owned());
        }
        outcome(response, &[201])
    }

    pub fn delete(&self, rest: &str) -> Outcome {
        last(self.request("DELETE", rest), &[202])
    }

    /// Makes `change`, which brings no bytes.
    pub fn remove(&self, change: &Change) -> Outcome {
        match change {
            Change::Unlink(digest) => self.delete(&format!("blobs/{digest}")),
            Change::Untag(reference) | Change::Delete(reference) => {
                self.delete(&format!("manifests/{reference}"))
            }
            Change::Link(_) | Change::Put { .. } => panic!("{change:?} is not a removal"),
        }
    }
}

/// A request on the way: only its success leads on.
fn early(request: Request, wanted: u16) -> Result<Response, Outcome> {
    match request.try_send() {
        Ok(response) if response.status == wanted => Ok(response),
        Ok(response) if response.status < 500 => Err(Outcome::Refused(response.to_string())),
        Ok(response) => Err(Outcome::NotSent(response.to_string())),
        Err(error) => Err(Outcome::NotSent(error.to_string())),
    }
}

/// The request that makes the change.
fn last(request: Request, wanted: &[u16]) -> Outcome {
    match request.try_send() {
        Ok(response) => outcome(response, wanted),
        Err(error) => Outcome::Unanswered(error),
    }
}

fn outcome(response: Response, wanted: &[u16]) -> Outcome {
    if DARK.load(Ordering::SeqCst) {
        return Outcome::Unanswered(io::Error::other("the power was gone when this answer came"));
    }
    match response.status {
        status if wanted.contains(&status) => Outcome::Acknowledged,
        400..500 => Outcome::Refused(response.to_string()),
        507 => Outcome::Full(response.to_string()),
        500.. => Outcome::Failed(response.to_string()),
        _ => panic!("an answer the workload does not know: {response}"),
    }
}

/// Bytes that a seed and a length give again at any time.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    pub seed: u64,
    pub length: usize,
}

impl Content {
    /// Most are small; some cross the sizes at which a server changes its way of writing.
    pub fn random(rng: &mut Rng) -> Self {
        let length = match rng.below(100) {
            0..2 => 0,
            2..85 => 1 + rng.below(4_000),
            85..97 => rng.below(128 * 1024),
            97..98 => (1 << 20) * (1 + rng.below(2)),
            _ => rng.below(2_500_000),
        };
        Self { seed: rng.number(), length }
    }

    /// One of a few that every writer knows, so that repositories share digests.
    pub fn common(rng: &mut Rng) -> Self {
        let seed = rng.below(8) as u64;
        Self { seed, length: 300 + seed as usize * 37 }
    }

    pub fn bytes(self) -> Vec<u8> {
        Rng::seeded(self.seed).bytes(self.length)
    }
}
