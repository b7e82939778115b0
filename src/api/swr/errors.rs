//! Everything that can go wrong in this surface: one table from kind to status, code and message. The
//! codes are SWR's where its manuals or clients name one (swr-api, "Codes"); those that end in `0000` are ours, made the same
//! way: status, then number. Every change of the table shows in `errors.golden.txt`.
//!
//! S1: a body has every shape that some client reads: SWR's list, Terraform's two, the gateway's pair (swr-api §9.1).
//! S2: what is not there and what the one who asks may not know of are refused alike.

use hyper::header;
use serde_json::json;

use super::reply::Reply;
use crate::api::failure::{self, Told, kinds};
use crate::services::access::Refusal;
use crate::services::error::{Error, SourceError, Thing};
use crate::services::guard::Refused;
use crate::services::identity::SignInError;

kinds! {
    Unauthenticated = UNAUTHORIZED "APIGW.0301" "Incorrect IAM authentication information: {}";
    LoginWrong = UNAUTHORIZED "SVCSTG.SWR.4010000" "authentication failed";
    SignInBusy = TOO_MANY_REQUESTS "APIGW.0308" "too many sign-ins at once; try again";
    Banned = FORBIDDEN "SVCSTG.SWR.4030000" "Not allow to login、upload or download image";
    TooManyRequests = TOO_MANY_REQUESTS "APIGW.0308" "too many requests; try again later";
    Denied = FORBIDDEN "SVCSTG.SWR.4039002" "you do not have the permission";
    DeniedOrganisation = FORBIDDEN "SVCSTG.SWR.4037017" "you do not have the permission in this organization";
    DeniedRepository = FORBIDDEN "SVCSTG.SWR.4037018" "you do not have the permission on this image";
    QuotaFull = FORBIDDEN "SVCSTG.SWR.4030000" "{}";
    PathUnknown = NOT_FOUND "SVCSTG.SWR.4040083" "there is no such path";
    MethodUnknown = METHOD_NOT_ALLOWED "SVCSTG.SWR.4050000" "the path does not have this method";
    BodyInvalid = BAD_REQUEST "SVCSTG.SWR.4001018" "the body is invalid: {}";
    BodyTooLarge = PAYLOAD_TOO_LARGE "SVCSTG.SWR.4131001" "a body can have at most {} bytes";
    BodyTimedOut = REQUEST_TIMEOUT "SVCSTG.SWR.4080000" "no byte of the body came for too long";
    BodyCut = BAD_REQUEST "SVCSTG.SWR.4001018" "the body ended before its end";
    QueryInvalid = BAD_REQUEST "SVCSTG.SWR.4001024" "the query is invalid: {}";
    PageInvalid = BAD_REQUEST "SVCSTG.SWR.4000056" "the page is invalid: {}";
    FilterInvalid = BAD_REQUEST "SVCSTG.SWR.4001035" "the filter is invalid: {}";
    OrderInvalid = BAD_REQUEST "SVCSTG.SWR.4001096" "the list cannot be ordered by {}";
    ParameterMissing = BAD_REQUEST "SVCSTG.SWR.4001036" "the parameter {} is missing";
    Invalid = BAD_REQUEST "SVCSTG.SWR.4001025" "{}";
    OrganisationName = BAD_REQUEST "SVCSTG.SWR.4001028" "{} is no name of an organization";
    RepositoryName = BAD_REQUEST "SVCSTG.SWR.4001029" "{} is no name of an image";
    TagName = BAD_REQUEST "SVCSTG.SWR.4009021" "{} is no name of an image version";
    DescriptionTooLong = PAYLOAD_TOO_LARGE "SVCSTG.SWR.4131012" "description: {}";
    UserUnknown = BAD_REQUEST "SVCSTG.SWR.4001067" "there is no user {} in the account of the organization";
    OwnRights = BAD_REQUEST "SVCSTG.SWR.4001066" "nobody changes his own permissions";
    PermissionInvalid = BAD_REQUEST "SVCSTG.SWR.4001091" "permit is read";
    DomainUnknown = BAD_REQUEST "SVCSTG.SWR.4001041" "the image cannot be shared with account {}";
    ShareMissing = BAD_REQUEST "SVCSTG.SWR.4001090" "the image is not shared with this account";
    RetentionMissing = BAD_REQUEST "SVCSTG.SWR.4000306" "there is no such retention policy";
    SyncMissing = BAD_REQUEST "SVCSTG.SWR.4001158" "there is no such synchronization task";
    NotOffered = BAD_REQUEST "SVCSTG.SWR.4000047" "this version of the registry does not do this yet: {}";
    TooManyOrganisations = BAD_REQUEST "SVCSTG.SWR.4000097" "{}";
    Limit = BAD_REQUEST "SVCSTG.SWR.4000014" "{}";
    Missing = NOT_FOUND "SVCSTG.SWR.4040000" "{} does not exist";
    OrganisationMissing = NOT_FOUND "SVCSTG.SWR.4040058" "the organization does not exist";
    RepositoryMissing = NOT_FOUND "SVCSTG.SWR.4040010" "the image does not exist";
    TagMissing = NOT_FOUND "SVCSTG.SWR.4040048" "the image version does not exist";
    ManifestMissing = NOT_FOUND "SVCSTG.SWR.4041060" "the manifest does not exist";
    TriggerMissing = NOT_FOUND "SVCSTG.SWR.4040000" "the trigger does not exist";
    OrganisationGrantMissing = NOT_FOUND "SVCSTG.SWR.4040078" "the user has no permission in this organization";
    RepositoryGrantMissing = NOT_FOUND "SVCSTG.SWR.4040091" "the user has no permission on this image";
    OrganisationInUse = NOT_ACCEPTABLE "SVCSTG.SWR.4060074" "the organization cannot be deleted: {}";
    RepositoryInUse = NOT_ACCEPTABLE "SVCSTG.SWR.4060012" "the image cannot be deleted: {}";
    InUse = NOT_ACCEPTABLE "SVCSTG.SWR.4060053" "{}";
    OrganisationExists = CONFLICT "SVCSTG.SWR.4090060" "the organization exists already";
    RepositoryExists = CONFLICT "SVCSTG.SWR.4090006" "the image exists already";
    TagExists = CONFLICT "SVCSTG.SWR.4090006" "the image version exists already";
    OrganisationGrantExists = CONFLICT "SVCSTG.SWR.4090076" "a user has a permission in this organization already";
    RepositoryGrantExists = CONFLICT "SVCSTG.SWR.4090089" "a user has a permission on this image already";
    ShareExists = CONFLICT "SVCSTG.SWR.4090089" "the image is shared with this account already";
    Exists = CONFLICT "SVCSTG.SWR.4090000" "{} exists already";
    Immutable = CONFLICT "SVCSTG.SWR.4090000" "{}";
    Busy = CONFLICT "SVCSTG.SWR.4090023" "another request is changing this; try again";
    TooMuch = BAD_REQUEST "SVCSTG.SWR.4000014" "the change is too large to be made at once";
    NoSpace = INSUFFICIENT_STORAGE "SVCSTG.SWR.5070070" "the disk is full";
    Unavailable = SERVICE_UNAVAILABLE "SVCSTG.SWR.5030000" "the server cannot do this now; try again";
    Damaged = INTERNAL_SERVER_ERROR "SVCSTG.SWR.5000002" "stored bytes are damaged; pushing the image again heals it";
    Internal = INTERNAL_SERVER_ERROR "SVCSTG.SWR.5000001" "internal error; the server's log says more";
}

/// A request that was not done.
pub type Failure = failure::Failure<Kind>;

impl Failure {
    /// The same on an image, where what is said of rights in organizations is said by default.
    pub fn on_repository(self) -> Self {
        match self.kind() {
            Kind::OrganisationGrantMissing => self.of_kind(Kind::RepositoryGrantMissing),
            Kind::OrganisationGrantExists => self.of_kind(Kind::RepositoryGrantExists),
            _ => self,
        }
    }

    /// The answer. The server puts the same id into `X-Request-Id`.
    pub fn into_reply(self, request_id: &str) -> Reply {
        let Told { status, code, message, headers, .. } = self.told();
        let value = json!({
            "errors": [{"errorCode": code, "errorMessage": message, "detail": ""}],
            "errorCode": code,
            "errorMessage": message,
            "error_code": code,
            "error_msg": message,
            "request_id": request_id,
        });
        let reply = Reply::json(status, &value);
        headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, &value))
    }
}

/// What is refused when a signature or token is not good, as the gateway says it. Which of key and secret was wrong
/// is never told.
impl From<SignInError> for Failure {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Wrong | SignInError::Void | SignInError::NotProgrammatic => {
                Self::about(Kind::Unauthenticated, "Unauthorized")
            }
            SignInError::Unreadable(why) => Self::about(Kind::Unauthenticated, why),
            SignInError::Signature(why) => Self::about(Kind::Unauthenticated, why),
            SignInError::Busy => Self::new(Kind::SignInBusy).with(header::RETRY_AFTER, "5"),
            SignInError::Internal => Self::new(Kind::Internal),
        }
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
            Refusal::Denied | Refusal::Scope => Self::new(Kind::Denied),
            Refusal::Unauthenticated | Refusal::Expired => Self::about(Kind::Unauthenticated, "Unauthorized"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        of(&error).because(error)
    }
}

fn of(error: &Error) -> Failure {
    match error {
        Error::Refused(refusal) => (*refusal).into(),
        Error::RepositoryUnknown(_) => Failure::new(Kind::RepositoryMissing),
        Error::OrganisationUnknown(_) => Failure::new(Kind::OrganisationMissing),
        Error::ManifestUnknown(_) => Failure::new(Kind::TagMissing),
        Error::BlobUnknown(_) => Failure::new(Kind::ManifestMissing),
        Error::Missing(thing) => missing(thing),
        Error::Exists(thing) => exists(thing),
        Error::InUse(Thing::Organisation(_), why) => Failure::about(Kind::OrganisationInUse, why),
        Error::InUse(Thing::Repository(_), why) => Failure::about(Kind::RepositoryInUse, why),
        Error::InUse(..) => Failure::about(Kind::InUse, error),
        Error::Invalid { field: "description", why } => Failure::about(Kind::DescriptionTooLong, why),
        Error::Invalid { field: "user_id", .. } => Failure::new(Kind::OwnRights),
        Error::Invalid { field: "access_domain", why } => Failure::about(Kind::DomainUnknown, why),
        Error::Invalid { .. } => Failure::about(Kind::Invalid, error),
        Error::Limit { what: "organisations", .. } => Failure::about(Kind::TooManyOrganisations, error),
        Error::Limit { .. } => Failure::about(Kind::Limit, error),
        Error::Quota(full) => Failure::about(Kind::QuotaFull, full),
        Error::Immutable(tag) => Failure::about(Kind::Immutable, tag),
        Error::NotOffered(what) => Failure::about(Kind::NotOffered, what),
        Error::Busy | Error::BlobInUse(_) => Failure::new(Kind::Busy),
        Error::TooMuch => Failure::new(Kind::TooMuch),
        Error::NoSpace => Failure::new(Kind::NoSpace),
        Error::Source(SourceError::TimedOut | SourceError::TooSlow) => Failure::new(Kind::BodyTimedOut),
        Error::Source(SourceError::Disconnected) => Failure::new(Kind::BodyCut),
        Error::Unavailable(_) | Error::TooManyUploads | Error::SlotsTaken { .. } | Error::Passwords(_) => {
            Failure::new(Kind::Unavailable).with(header::RETRY_AFTER, "5")
        }
        Error::Damaged(_) => Failure::new(Kind::Damaged),
        // Of pushing images, which nobody does here: one that comes is a fault of ours.
        Error::ReferencesMissing(_)
        | Error::ManifestInvalid(_)
        | Error::DigestMismatch(_)
        | Error::UploadUnknown
        | Error::WrongOffset { .. }
        | Error::LengthMismatch
        | Error::LayerTooLarge { .. }
        | Error::Store(_)
        | Error::Secrets(_)
        | Error::Bug(_) => Failure::new(Kind::Internal),
    }
}

fn missing(thing: &Thing) -> Failure {
    match thing {
        Thing::Organisation(_) => Failure::new(Kind::OrganisationMissing),
        Thing::Repository(_) => Failure::new(Kind::RepositoryMissing),
        Thing::Grant(_) => Failure::new(Kind::OrganisationGrantMissing),
        Thing::Share(_) => Failure::new(Kind::ShareMissing),
        Thing::Retention(_) => Failure::new(Kind::RetentionMissing),
        Thing::Trigger(_) => Failure::new(Kind::TriggerMissing),
        Thing::Hold(_) | Thing::Synchronisation(_) => Failure::new(Kind::SyncMissing),
        Thing::User(user) => Failure::about(Kind::UserUnknown, user),
        Thing::Account(account) => Failure::about(Kind::DomainUnknown, account),
        _ => Failure::about(Kind::Missing, thing),
    }
}

fn exists(thing: &Thing) -> Failure {
    match thing {
        Thing::Organisation(_) => Failure::new(Kind::OrganisationExists),
        Thing::Repository(_) => Failure::new(Kind::RepositoryExists),
        Thing::Grant(_) => Failure::new(Kind::OrganisationGrantExists),
        Thing::Share(_) => Failure::new(Kind::ShareExists),
        Thing::Tag(_) => Failure::new(Kind::TagExists),
        _ => Failure::about(Kind::Exists, thing),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn the_table_of_errors_is_the_reviewed_one() {
        let mut table = String::new();
        for &kind in Kind::ALL {
            let (status, code, message) = kind.row();
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            let number = code.rsplit('.').next().unwrap_or_default();
            assert!(code.starts_with("APIGW.") || number.starts_with(status.as_str()), "{kind:?}");
            table.push_str(&format!("{kind:?} {} {code} {message}\n", status.as_u16()));
        }
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/swr/errors.golden.txt");
        if std::env::var_os("PIERHEAD_WRITE_GOLDEN").is_some() {
            std::fs::write(golden, &table).expect("written");
        }
        let reviewed = include_str!("errors.golden.txt");
        assert_eq!(table, reviewed, "review the change, then update errors.golden.txt");
    }

    #[tokio::test]
    async fn a_failure_has_every_shape_that_a_client_reads_and_does_not_show_its_cause() {
        let failure = Failure::from(Error::Bug("the secret"));
        let response = failure.into_reply("the-request").into_response();
        assert_eq!(response.headers()["content-type"], "application/json;charset=utf-8");
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let (code, message) = ("SVCSTG.SWR.5000001", "internal error; the server's log says more");
        let expected = json!({
            "errors": [{"errorCode": code, "errorMessage": message, "detail": ""}],
            "errorCode": code, "errorMessage": message,
            "error_code": code, "error_msg": message, "request_id": "the-request",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn what_is_missing_or_there_already_is_told_by_what_it_is() {
        let name = || "acme".to_owned();
        let cases = [
            (Error::Missing(Thing::Organisation(name())), Kind::OrganisationMissing),
            (Error::Missing(Thing::Repository(name())), Kind::RepositoryMissing),
            (Error::Missing(Thing::Grant(name())), Kind::OrganisationGrantMissing),
            (Error::Missing(Thing::Share(name())), Kind::ShareMissing),
            (Error::Missing(Thing::User(name())), Kind::UserUnknown),
            (Error::Exists(Thing::Organisation(name())), Kind::OrganisationExists),
            (Error::Exists(Thing::Repository(name())), Kind::RepositoryExists),
            (Error::Exists(Thing::Share(name())), Kind::ShareExists),
            (Error::InUse(Thing::Organisation(name()), "why"), Kind::OrganisationInUse),
            (Error::Limit { what: "organisations", limit: 5 }, Kind::TooManyOrganisations),
            (Error::Invalid { field: "description", why: name() }, Kind::DescriptionTooLong),
        ];
        for (error, kind) in cases {
            assert_eq!(Failure::from(error).kind(), kind, "{kind:?}");
        }
        let grant = Failure::from(Error::Exists(Thing::Grant(name())));
        assert_eq!(grant.on_repository().kind(), Kind::RepositoryGrantExists);
    }
}
