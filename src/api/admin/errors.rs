//! Everything that can go wrong in this surface: one table from kind to status, code and message.
//! Scripts act on codes, people read messages; every change of the table shows in
//! `errors.golden.txt`.

use hyper::header;
use schemars::JsonSchema;
use serde::Serialize;

use super::reply::Reply;
use crate::api::failure::{self, Told, kinds};
use crate::services::access::Refusal;
use crate::services::error::Error;

kinds! {
    Stranger = FORBIDDEN "forbidden" "only root and the user the server runs as may administer it; you are user {}";
    Denied = FORBIDDEN "forbidden" "you do not have the permission";
    PathUnknown = NOT_FOUND "path_unknown" "there is no such path; GET /api/v1 lists them";
    MethodUnknown = METHOD_NOT_ALLOWED "method_unknown" "the path does not have this method";
    QueryInvalid = BAD_REQUEST "query_invalid" "the query is invalid: {}";
    BodyInvalid = BAD_REQUEST "body_invalid" "the body is invalid: {}";
    BodyUnexpected = BAD_REQUEST "body_invalid" "this takes no body";
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large" "a body can have at most {} bytes";
    BodyTimedOut = REQUEST_TIMEOUT "body_timed_out" "no byte of the body came for too long";
    BodyCut = BAD_REQUEST "body_cut" "the body ended before its end";
    ReloadFailed = CONFLICT "reload_failed" "nothing was changed: {}";
    Missing = NOT_FOUND "missing" "{} does not exist";
    Exists = CONFLICT "exists" "{} exists already";
    InUse = CONFLICT "in_use" "{}";
    Invalid = BAD_REQUEST "invalid" "{}";
    Limit = CONFLICT "limit" "{}";
    Immutable = CONFLICT "immutable" "{}";
    RepositoryUnknown = NOT_FOUND "repository_unknown" "there is no repository {}";
    OrganisationUnknown = NOT_FOUND "organisation_unknown" "the organisation of {} does not exist";
    ManifestUnknown = NOT_FOUND "manifest_unknown" "there is no manifest {}";
    BlobUnknown = NOT_FOUND "blob_unknown" "there is no blob {}";
    UploadUnknown = NOT_FOUND "upload_unknown" "there is no such upload, or it has ended";
    Busy = CONFLICT "busy" "another request is changing this; try again";
    TooMuch = CONFLICT "too_much" "the change is too large to be made at once";
    NoSpace = INSUFFICIENT_STORAGE "no_space" "the disk is full";
    Unavailable = SERVICE_UNAVAILABLE "unavailable" "the server cannot do this now; try again";
    Damaged = INTERNAL_SERVER_ERROR "damaged" "the stored bytes of {} are damaged";
    Internal = INTERNAL_SERVER_ERROR "internal" "internal error; the server's log says more";
}

/// The body of every refusal.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
pub struct FailureView<'a> {
    /// What went wrong.
    error: Problem<'a>,
}

/// What went wrong.
#[derive(Serialize, JsonSchema)]
struct Problem<'a> {
    /// For scripts.
    code: &'a str,
    /// For people.
    message: &'a str,
}

/// A request that was not done.
pub type Failure = failure::Failure<Kind>;

impl Failure {
    /// The answer.
    pub fn into_reply(self) -> Reply {
        let Told { status, code, message, headers, .. } = self.told();
        let reply = Reply::json(status, &FailureView { error: Problem { code, message: &message } });
        headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, &value))
    }
}

impl From<Refusal> for Failure {
    fn from(_: Refusal) -> Self {
        Self::new(Kind::Denied)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = match &error {
            Error::Refused(refusal) => Self::from(*refusal),
            Error::RepositoryUnknown(name) => Self::about(Kind::RepositoryUnknown, name),
            Error::OrganisationUnknown(name) => Self::about(Kind::OrganisationUnknown, name),
            Error::ManifestUnknown(reference) => Self::about(Kind::ManifestUnknown, reference),
            Error::BlobUnknown(digest) => Self::about(Kind::BlobUnknown, digest),
            Error::UploadUnknown => Self::new(Kind::UploadUnknown),
            Error::Busy | Error::BlobInUse(_) => Self::new(Kind::Busy),
            Error::TooMuch => Self::new(Kind::TooMuch),
            Error::NoSpace => Self::new(Kind::NoSpace),
            Error::Missing(thing) => Self::about(Kind::Missing, thing),
            Error::Exists(thing) => Self::about(Kind::Exists, thing),
            Error::InUse(..) => Self::about(Kind::InUse, &error),
            Error::Invalid { .. } | Error::NotOffered(_) => Self::about(Kind::Invalid, &error),
            Error::Limit { .. } | Error::Quota(_) => Self::about(Kind::Limit, &error),
            Error::Immutable(tag) => Self::about(Kind::Immutable, tag),
            Error::Unavailable(_)
            | Error::TooManyUploads
            | Error::SlotsTaken { .. }
            | Error::Passwords(_) => Self::new(Kind::Unavailable).with(header::RETRY_AFTER, "5"),
            Error::Damaged(digest) => Self::about(Kind::Damaged, digest),
            // Of pushing images, which nobody does here: one that comes is a fault of ours.
            Error::ReferencesMissing(_)
            | Error::ManifestInvalid(_)
            | Error::DigestMismatch(_)
            | Error::WrongOffset { .. }
            | Error::LengthMismatch
            | Error::LayerTooLarge { .. }
            | Error::Source(_)
            | Error::Store(_)
            | Error::Secrets(_)
            | Error::Bug(_) => Self::new(Kind::Internal),
        };
        failure.because(error)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_of_errors_is_the_reviewed_one() {
        let mut table = String::new();
        for &kind in Kind::ALL {
            let (status, code, message) = kind.row();
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            table.push_str(&format!("{kind:?} {} {code} {message}\n", status.as_u16()));
        }
        let reviewed = include_str!("errors.golden.txt");
        assert_eq!(table, reviewed, "review the change, then update errors.golden.txt");
    }

    #[tokio::test]
    async fn a_failure_has_one_shape_and_does_not_show_its_cause() {
        let body = Failure::from(Error::Bug("the secret")).into_reply().into_response().into_body();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let message = "internal error; the server's log says more";
        assert_eq!(value, json!({"error": {"code": "internal", "message": message}}));
    }
}
