//! Everything that can go wrong in this surface: one table from kind to status, code and message.
//!
//! Codes are those of OCI distribution-spec "Error Codes" and, where that has none, of the Docker
//! Registry HTTP API V2. Clients print `code: message` and scripts match the texts, so that every
//! change of the table shows in `errors.golden.txt`.
//!
//! B1: an error about bytes on our disk is never a 2xx, 3xx or 404 that would look like an answer.

use hyper::ext::ReasonPhrase;
use hyper::header;
use serde_json::json;

use super::reply::Reply;
use crate::api::failure::{self, Told, kinds};
use crate::services::access::Refusal;
use crate::services::error::{Error, SourceError};
use crate::services::guard::Refused;

/// Of a 5xx docker and skopeo show the status line alone.
const DISK_FULL: ReasonPhrase =
    ReasonPhrase::from_static(b"Insufficient Storage: the registry's disk is full");

/// At most this many missing blobs are named in one answer.
const MAX_NAMED: usize = 100;

kinds! {
    Unauthenticated = UNAUTHORIZED "UNAUTHORIZED" "authentication required";
    TokenInvalid = UNAUTHORIZED "UNAUTHORIZED" "authentication required";
    ScopeMissing = UNAUTHORIZED "UNAUTHORIZED" "authentication required";
    NotProgrammatic = FORBIDDEN "DENIED" "Authenticate Error";
    SignInBusy = TOO_MANY_REQUESTS "TOOMANYREQUESTS" "too many sign-ins at once; try again";
    Banned = FORBIDDEN "DENIED" "Not allow to login、upload or download image";
    TooManyRequests = TOO_MANY_REQUESTS "TOOMANYREQUESTS" "too many requests; try again later";
    Denied = FORBIDDEN "DENIED" "you do not have the permission";
    QuotaFull = FORBIDDEN "DENIED" "{}";
    Immutable = FORBIDDEN "DENIED" "{}";
    OrganisationUnknown = FORBIDDEN "DENIED" "Image organization does not exist, you should create it first";
    NameInvalid = BAD_REQUEST "NAME_INVALID" "'repository' is invalid";
    RepositoryUnknown = NOT_FOUND "NAME_UNKNOWN" "repository name not known to registry";
    TagInvalid = BAD_REQUEST "TAG_INVALID" "a tag has 1 to 128 letters, digits, '_', '.' and '-', and starts with neither '.' nor '-'";
    TooManyTags = URI_TOO_LONG "TAG_INVALID" "at most {} tags can be set by one request";
    DigestMissing = BAD_REQUEST "DIGEST_INVALID" "the digest parameter is missing";
    DigestInvalid = BAD_REQUEST "DIGEST_INVALID" "invalid digest: {}";
    DigestMismatch = BAD_REQUEST "DIGEST_INVALID" "provided digest did not match uploaded content";
    BlobUnknown = NOT_FOUND "BLOB_UNKNOWN" "blob unknown to registry";
    BlobInUse = METHOD_NOT_ALLOWED "UNSUPPORTED" "a manifest of the repository names the blob; delete the manifest first";
    ManifestUnknown = NOT_FOUND "MANIFEST_UNKNOWN" "manifest unknown to registry";
    ManifestInvalid = BAD_REQUEST "MANIFEST_INVALID" "manifest invalid: {}";
    ManifestTooLarge = PAYLOAD_TOO_LARGE "SIZE_INVALID" "a manifest can have at most {} bytes";
    ReferencesMissing = BAD_REQUEST "MANIFEST_BLOB_UNKNOWN" "manifest references a manifest or blob unknown to registry";
    UploadUnknown = NOT_FOUND "BLOB_UPLOAD_UNKNOWN" "blob upload unknown to registry";
    UploadBusy = CONFLICT "BLOB_UPLOAD_INVALID" "another request is writing this upload";
    TooManyUploads = TOO_MANY_REQUESTS "TOOMANYREQUESTS" "too many uploads are open";
    SlotsTaken = TOO_MANY_REQUESTS "TOOMANYREQUESTS" "{} uploads of this account are under way, which is the limit; try again when one has ended";
    LayerTooLarge = PAYLOAD_TOO_LARGE "SIZE_INVALID" "a blob can have at most {} bytes";
    LengthMismatch = BAD_REQUEST "SIZE_INVALID" "provided length did not match content length";
    BodyTimedOut = REQUEST_TIMEOUT "SIZE_INVALID" "no byte of the body came for too long";
    BodyTooSlow = REQUEST_TIMEOUT "SIZE_INVALID" "the body came too slowly while other uploads of this account waited";
    BodyCut = BAD_REQUEST "SIZE_INVALID" "the body ended before its end";
    ChunkInvalid = RANGE_NOT_SATISFIABLE "RANGE_INVALID" "the chunk's range is invalid or does not start where the upload ends";
    RangeUnsatisfiable = RANGE_NOT_SATISFIABLE "RANGE_INVALID" "the blob has no such bytes";
    PageInvalid = BAD_REQUEST "PAGINATION_NUMBER_INVALID" "invalid number of results requested";
    LastInvalid = BAD_REQUEST "PAGINATION_NUMBER_INVALID" "the last parameter is too long";
    PathUnknown = NOT_FOUND "UNSUPPORTED" "there is no such path";
    MethodUnknown = METHOD_NOT_ALLOWED "UNSUPPORTED" "the operation is unsupported";
    NoSpace = INSUFFICIENT_STORAGE "UNAVAILABLE" "the registry's disk is full; uploads go on when there is space again";
    Unavailable = SERVICE_UNAVAILABLE "UNAVAILABLE" "the registry cannot do this now; try again";
    TooMuch = INTERNAL_SERVER_ERROR "UNSUPPORTED" "the change is too large to be made at once; delete tags first";
    Damaged = INTERNAL_SERVER_ERROR "UNKNOWN" "the stored content is damaged; pushing it again heals it";
    Internal = INTERNAL_SERVER_ERROR "UNKNOWN" "internal error; the registry's log says more";
}

/// A request that was not done.
pub type Failure = failure::Failure<Kind>;

impl Failure {
    /// Seconds after which most of these are over.
    pub fn later(kind: Kind) -> Self {
        Self::new(kind).with(header::RETRY_AFTER, "5")
    }

    /// The answer: the protocol's JSON, an entry for each detail.
    pub fn into_reply(self) -> Reply {
        let kind = self.kind();
        let Told { status, code, message, details, headers } = self.told();
        let entry = |detail| json!({"code": code, "message": message, "detail": detail});
        let entries = match details.is_empty() {
            true => vec![json!({"code": code, "message": message})],
            false => details.into_iter().map(entry).collect(),
        };
        let mut reply = Reply::json(status, &json!({ "errors": entries }));
        if kind == Kind::NoSpace {
            reply = reply.saying(DISK_FULL);
        }
        headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, &value))
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused.retry_after() {
            None => Self::new(Kind::Banned),
            Some(seconds) => Self::new(Kind::TooManyRequests).with(header::RETRY_AFTER, seconds.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated => Self::new(Kind::Unauthenticated),
            Refusal::Scope => Self::new(Kind::ScopeMissing),
            Refusal::Expired => Self::new(Kind::TokenInvalid),
            Refusal::Denied => Self::new(Kind::Denied),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = match &error {
            Error::Refused(refusal) => Self::from(*refusal),
            Error::RepositoryUnknown(name) => {
                Self::new(Kind::RepositoryUnknown).detailed(json!({"name": name.as_str()}))
            }
            Error::OrganisationUnknown(_) => Self::new(Kind::OrganisationUnknown),
            Error::ManifestUnknown(reference) => {
                Self::new(Kind::ManifestUnknown).detailed(json!({"reference": reference.to_string()}))
            }
            Error::BlobUnknown(digest) => Self::new(Kind::BlobUnknown).detailed(json!({"digest": digest})),
            Error::BlobInUse(digest) => Self::new(Kind::BlobInUse)
                .detailed(json!({"digest": digest}))
                .with(header::ALLOW, "GET, HEAD"),
            Error::ReferencesMissing(digests) => digests
                .iter()
                .take(MAX_NAMED)
                .fold(Self::new(Kind::ReferencesMissing), |f, digest| f.detailed(json!({"digest": digest}))),
            Error::ManifestInvalid(why) => Self::about(Kind::ManifestInvalid, why),
            Error::DigestMismatch(actual) => {
                Self::new(Kind::DigestMismatch).detailed(json!({"actual": actual}))
            }
            Error::UploadUnknown => Self::new(Kind::UploadUnknown),
            Error::WrongOffset { .. } => Self::new(Kind::ChunkInvalid),
            Error::LengthMismatch => Self::new(Kind::LengthMismatch),
            Error::LayerTooLarge { limit } => Self::about(Kind::LayerTooLarge, limit),
            Error::Source(SourceError::TimedOut) => Self::new(Kind::BodyTimedOut),
            Error::Source(SourceError::TooSlow) => Self::new(Kind::BodyTooSlow),
            Error::Source(SourceError::Disconnected) => Self::new(Kind::BodyCut),
            Error::Busy => Self::later(Kind::UploadBusy),
            Error::TooManyUploads => Self::later(Kind::TooManyUploads),
            Error::SlotsTaken { limit } => {
                Self::about(Kind::SlotsTaken, limit).with(header::RETRY_AFTER, "10")
            }
            Error::Unavailable(_) => Self::later(Kind::Unavailable),
            Error::NoSpace => Self::new(Kind::NoSpace),
            Error::TooMuch => Self::new(Kind::TooMuch),
            Error::Damaged(_) => Self::new(Kind::Damaged),
            // A push that would make an organisation too many: the words are the product's.
            Error::Limit { .. } => Self::new(Kind::Denied),
            Error::Quota(full) => Self::about(Kind::QuotaFull, full),
            Error::Immutable(tag) => Self::about(Kind::Immutable, tag),
            // The management surfaces' refusals: this one never asks for what they are about.
            Error::Missing(_)
            | Error::Exists(_)
            | Error::InUse(..)
            | Error::Invalid { .. }
            | Error::NotOffered(_) => Self::new(Kind::Internal),
            Error::Store(_) | Error::Bug(_) | Error::Passwords(_) | Error::Secrets(_) => {
                Self::new(Kind::Internal)
            }
        };
        failure.because(error)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_table_of_errors_is_the_reviewed_one() {
        let mut table = String::new();
        for &kind in Kind::ALL {
            let (status, code, message) = kind.row();
            table.push_str(&format!("{kind:?} {} {code} {message}\n", status.as_u16()));
        }
        assert_eq!(
            table,
            include_str!("errors.golden.txt"),
            "review the change, then update errors.golden.txt"
        );
    }

    #[test]
    fn no_kind_is_a_success_and_every_code_is_upper_case() {
        for &kind in Kind::ALL {
            let (status, code, _) = kind.row();
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_has_an_entry_for_each_missing_blob_up_to_a_limit() {
        let digest = |n: u32| format!("sha256:{n:064x}").parse().expect("a digest");
        let reply = Failure::from(Error::ReferencesMissing((0..200).map(digest).collect())).into_reply();
        assert_eq!(reply.status(), hyper::StatusCode::BAD_REQUEST);
        let bytes = reply.into_response().into_body().collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&bytes).expect("JSON");
        let errors = body["errors"].as_array().expect("a list");
        assert_eq!(errors.len(), MAX_NAMED);
        assert_eq!(errors[1]["code"], "MANIFEST_BLOB_UNKNOWN");
        assert_eq!(errors[1]["detail"]["digest"], digest(1).to_string());
    }

    #[tokio::test]
    async fn a_cause_is_not_shown_and_a_fact_is() {
        let cases = [
            (Failure::from(Error::Bug("the secret")), "internal error; the registry's log says more"),
            (Failure::about(Kind::ManifestTooLarge, 7), "a manifest can have at most 7 bytes"),
            (Failure::from(Error::ManifestInvalid("why".into())), "manifest invalid: why"),
        ];
        for (failure, message) in cases {
            let bytes =
                failure.into_reply().into_response().into_body().collect().await.expect("a body").to_bytes();
            let body: Value = serde_json::from_slice(&bytes).expect("JSON");
            assert_eq!(body["errors"][0]["message"], message);
            assert!(!String::from_utf8_lossy(&bytes).contains("secret"));
        }
    }

    #[test]
    fn each_refusal_is_told_apart_by_its_kind() {
        let kinds = [Refusal::Unauthenticated, Refusal::Scope, Refusal::Expired, Refusal::Denied]
            .map(|refusal| Failure::from(refusal).kind());
        assert_eq!(kinds, [Kind::Unauthenticated, Kind::ScopeMissing, Kind::TokenInvalid, Kind::Denied]);
    }
}
