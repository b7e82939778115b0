//! What the API's document says of each row of the route table: the types of its query, body and answer,
//! and how it can fail. A row without an entry here, or an entry without a row, fails a test; a handler
//! that reads or answers another type, or fails in another way, fails every test that meets it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

use super::errors::{Failure, FailureView, Kind};
use super::reply::{Page, Removed, Reply};
use super::route::{ROUTES, Row, Takes};
use super::text::{AccessKey, IdText, JobName, NameOrId, Organisation, Repository};
use super::{
    Admin, Call, accounts, audit, bans, collection, credentials, deletes, grants, groups, holds, index, jobs,
    organisations, policies, quotas, reload, repositories, retention, scrub, shares, status, uploads, users,
};
use crate::api::openapi::{self, Failing, Operation, Parameter, Shape, Surface};

use Kind::{Busy, Exists, InUse, Invalid, Limit, Missing, ReloadFailed};

/// What is said of a row.
pub struct Said {
    row: &'static str,
    query: Option<Shape>,
    body: Option<Shape>,
    answer: Shape,
    fails: &'static [Kind],
}

/// A row by name, and what it answers.
const fn answers<T: JsonSchema>(row: &'static str) -> Said {
    Said { row, query: None, body: None, answer: Shape::of::<T>(), fails: &[] }
}

impl Said {
    const fn asked<T: JsonSchema>(mut self) -> Self {
        self.query = Some(Shape::of::<T>());
        self
    }

    const fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Shape::of::<T>());
        self
    }

    /// Beyond how every row of its kind does.
    const fn fails(mut self, fails: &'static [Kind]) -> Self {
        self.fails = fails;
        self
    }
}

/// A group of rows: its name, what it is, and its rows.
type Group = (&'static str, &'static str, &'static [Said]);

/// What is said of every row, by group.
static GROUPS: &[Group] = &[
    (
        "Appliance",
        "How it is, and what it should do now.",
        &[
            answers::<Page<index::Operation>>("index"),
            answers::<Document>("openapi"),
            answers::<status::StatusView>("status"),
            answers::<reload::ReloadView>("reload").fails(&[ReloadFailed]),
            answers::<accounts::FirstView>("init")
                .takes::<accounts::NewAccountBody>()
                .fails(&[Exists, Invalid]),
            answers::<credentials::RotatedView>("secrets-rotate"),
        ],
    ),
    (
        "Uploads",
        "Upload sessions of everybody.",
        &[
            answers::<Page<uploads::UploadView>>("uploads-list").asked::<uploads::UploadsQuery>(),
            answers::<uploads::Aborted>("uploads-abort").takes::<uploads::AbortBody>(),
            answers::<uploads::UploadView>("upload-show"),
            answers::<uploads::UploadView>("upload-abort").fails(&[Busy]),
        ],
    ),
    (
        "Collection",
        "Deleting, undoing that, and removing what nothing needs any more.",
        &[
            answers::<deletes::FreesView>("repository-frees")
                .asked::<deletes::FreesQuery>()
                .fails(&[Kind::RepositoryUnknown, Kind::ManifestUnknown]),
            answers::<Removed>("repository-delete").fails(&[Kind::RepositoryUnknown, Kind::Immutable]),
            answers::<Removed>("tag-delete").fails(&[
                Invalid,
                Kind::RepositoryUnknown,
                Kind::ManifestUnknown,
                Kind::Immutable,
            ]),
            answers::<Removed>("manifest-delete").fails(&[
                Invalid,
                Kind::RepositoryUnknown,
                Kind::ManifestUnknown,
                Kind::Immutable,
            ]),
            answers::<deletes::RestoredView>("manifest-restore").fails(&[
                Invalid,
                Missing,
                Kind::OrganisationUnknown,
                Kind::Damaged,
            ]),
            answers::<Page<deletes::DeletedView>>("trash-list").asked::<deletes::TrashQuery>(),
            answers::<deletes::EmptiedView>("trash-empty").takes::<deletes::EmptyBody>(),
            answers::<collection::CollectorView>("gc-show"),
            answers::<collection::OutlookView>("gc-outlook"),
            answers::<collection::CollectorView>("gc-run").takes::<collection::RunBody>(),
            answers::<collection::CollectorView>("gc-pause"),
            answers::<collection::CollectorView>("gc-resume"),
        ],
    ),
    (
        "Audit",
        "What was done, by whom, and how it ended.",
        &[
            answers::<Page<audit::EventView>>("audit-list").asked::<audit::EventsQuery>(),
            answers::<Page<audit::EventView>>("account-audit").asked::<audit::EventsQuery>(),
        ],
    ),
    (
        "Protection",
        "Who may not come in for a time, and who is held to nothing.",
        &[
            answers::<Page<bans::BanView>>("bans-list").asked::<bans::BansQuery>().fails(&[Invalid]),
            answers::<bans::BanView>("ban-create")
                .takes::<bans::NewBanBody>()
                .fails(&[Missing, Invalid, Limit]),
            answers::<Removed>("ban-lift").fails(&[Invalid]),
            answers::<Page<bans::ExemptionView>>("exemptions-list"),
            answers::<bans::ExemptionView>("exemption-create")
                .takes::<bans::NewExemptionBody>()
                .fails(&[Missing, Invalid, Limit]),
            answers::<Removed>("exemption-end").fails(&[Invalid]),
        ],
    ),
    (
        "Upkeep",
        "What keeps the store well.",
        &[
            answers::<holds::HoldView>("removal-hold-begin").fails(&[Limit]),
            answers::<holds::HoldView>("removal-hold-renew"),
            answers::<holds::HoldView>("removal-hold-end"),
            answers::<scrub::ScrubView>("scrub"),
            answers::<scrub::ScrubView>("scrub-run").takes::<scrub::RunBody>(),
            answers::<scrub::ScrubView>("scrub-pause"),
            answers::<scrub::ScrubView>("scrub-resume"),
            answers::<Page<scrub::FindingView>>("scrub-findings").asked::<scrub::FindingsQuery>(),
        ],
    ),
    (
        "Accounts",
        "Tenants, with users and organisations of their own.",
        &[
            answers::<Page<accounts::AccountView>>("accounts-list"),
            answers::<accounts::FirstView>("account-create")
                .takes::<accounts::NewAccountBody>()
                .fails(&[Exists, Invalid]),
            answers::<accounts::AccountView>("account-show"),
            answers::<accounts::AccountView>("account-update")
                .takes::<accounts::AccountChangeBody>()
                .fails(&[InUse]),
            answers::<Removed>("account-delete").fails(&[InUse]),
        ],
    ),
    (
        "Users",
        "People and robots of an account.",
        &[
            answers::<Page<users::UserView>>("users-list"),
            answers::<users::UserView>("user-create").takes::<users::NewUserBody>().fails(&[Exists, Invalid]),
            answers::<users::UserView>("user-show"),
            answers::<users::UserView>("user-update").takes::<users::UserChangeBody>().fails(&[Invalid]),
            answers::<Removed>("user-delete"),
        ],
    ),
    (
        "Credentials",
        "Access keys and temporary logins of users.",
        &[
            answers::<Page<credentials::KeyView>>("keys-list"),
            answers::<credentials::NewKeyView>("key-create")
                .takes::<credentials::NewKeyBody>()
                .fails(&[Invalid, Limit]),
            answers::<credentials::KeyView>("key-update").takes::<credentials::KeyChangeBody>(),
            answers::<Removed>("key-delete"),
            answers::<credentials::LoginView>("login-create")
                .takes::<credentials::NewLoginBody>()
                .fails(&[Invalid, Limit]),
        ],
    ),
    (
        "Groups",
        "Users who have roles and policies in common.",
        &[
            answers::<Page<groups::GroupView>>("groups-list"),
            answers::<groups::GroupView>("group-create")
                .takes::<groups::NewGroupBody>()
                .fails(&[Exists, Invalid]),
            answers::<groups::GroupView>("group-show"),
            answers::<groups::GroupView>("group-update").takes::<groups::GroupChangeBody>().fails(&[Invalid]),
            answers::<Removed>("group-delete"),
            answers::<groups::GroupView>("group-join").takes::<groups::MembersBody>(),
            answers::<groups::GroupView>("group-leave"),
        ],
    ),
    (
        "Policies",
        "What users and groups may do, or may not, in JSON.",
        &[
            answers::<Page<policies::PolicyView>>("policies-list"),
            answers::<policies::PolicyView>("policy-create")
                .takes::<policies::NewPolicyBody>()
                .fails(&[Exists, Invalid]),
            answers::<policies::PolicyView>("policy-show"),
            answers::<policies::PolicyView>("policy-update")
                .takes::<policies::PolicyChangeBody>()
                .fails(&[Invalid]),
            answers::<Removed>("policy-delete").fails(&[InUse]),
        ],
    ),
    (
        "Organisations",
        "Where repositories are, and who may do what in them.",
        &[
            answers::<Page<organisations::OrganisationView>>("organisations-list"),
            answers::<organisations::OrganisationView>("organisation-create")
                .takes::<organisations::NewOrganisationBody>()
                .fails(&[Exists, Limit]),
            answers::<organisations::OrganisationView>("organisation-show"),
            answers::<organisations::OrganisationFreesView>("organisation-frees"),
            answers::<Removed>("organisation-delete").fails(&[InUse]),
            answers::<Page<grants::GrantView>>("organisation-grants"),
            answers::<grants::GrantView>("organisation-grant")
                .takes::<grants::GrantBody>()
                .fails(&[Exists, InUse]),
            answers::<Removed>("organisation-revoke").fails(&[InUse]),
        ],
    ),
    (
        "Quotas",
        "How many bytes organisations and accounts hold, each digest once an organisation, and how many they may.",
        &[
            answers::<Page<quotas::QuotaView>>("quotas-list").asked::<quotas::QuotasQuery>(),
            answers::<Page<quotas::QuotaView>>("account-quotas-list").asked::<quotas::QuotasQuery>(),
            answers::<quotas::QuotaView>("organisation-quota"),
            answers::<quotas::QuotaView>("organisation-quota-set").takes::<quotas::QuotaBody>(),
            answers::<quotas::QuotaView>("organisation-quota-clear"),
            answers::<quotas::QuotaView>("account-quota"),
            answers::<quotas::QuotaView>("account-quota-set").takes::<quotas::QuotaBody>().fails(&[Invalid]),
            answers::<quotas::QuotaView>("account-quota-clear"),
        ],
    ),
    (
        "Repositories",
        "What they say of themselves, who may do what with them, and who else may pull them.",
        &[
            answers::<repositories::RepositoryView>("repository-create")
                .takes::<repositories::AttributesBody>()
                .fails(&[Exists]),
            answers::<repositories::RepositoryView>("repository-show"),
            answers::<repositories::RepositoryView>("repository-update")
                .takes::<repositories::AttributesBody>(),
            answers::<Page<grants::GrantView>>("repository-grants"),
            answers::<grants::GrantView>("repository-grant")
                .takes::<grants::GrantBody>()
                .fails(&[Exists, InUse]),
            answers::<Removed>("repository-revoke").fails(&[InUse]),
            answers::<Page<shares::ShareView>>("shares-list"),
            answers::<shares::ShareView>("share-create").takes::<shares::TermsBody>().fails(&[Exists, Limit]),
            answers::<shares::ShareView>("share-update").takes::<shares::TermsBody>(),
            answers::<Removed>("share-delete"),
        ],
    ),
    (
        "Retention",
        "Which versions of a repository go by themselves, and which went.",
        &[
            answers::<Page<retention::RetentionView>>("retentions-list")
                .asked::<retention::RetentionsQuery>(),
            answers::<retention::RetentionView>("retention-show"),
            answers::<retention::RetentionView>("retention-set").takes::<retention::PolicyBody>(),
            answers::<Removed>("retention-delete"),
            answers::<retention::PreviewView>("retention-preview").asked::<retention::PreviewQuery>(),
            answers::<jobs::JobView>("retention-run").takes::<retention::RunBody>().fails(&[InUse]),
            answers::<Page<retention::RetiredView>>("retention-log").asked::<retention::RetentionsQuery>(),
        ],
    ),
    (
        "Jobs",
        "The work in the background. What is known of runs, and a pause, end with the process.",
        &[
            answers::<Page<jobs::JobView>>("jobs-list"),
            answers::<jobs::JobView>("job-show"),
            answers::<jobs::JobView>("job-run").fails(&[InUse]),
            answers::<jobs::JobView>("job-pause").fails(&[InUse]),
            answers::<jobs::JobView>("job-resume").fails(&[InUse]),
        ],
    ),
];

/// How a row of any kind can fail.
const ANY: [Kind; 7] = [
    Kind::Stranger,
    Kind::Denied,
    Kind::QueryInvalid,
    Kind::BodyTimedOut,
    Kind::BodyCut,
    Kind::Unavailable,
    Kind::Internal,
];

impl Row {
    /// The group it is of, and what the document says of it.
    fn said(&self) -> Option<(&'static str, &'static Said)> {
        let all = GROUPS.iter().flat_map(|(group, _, rows)| rows.iter().map(move |said| (*group, said)));
        all.into_iter().find(|(_, said)| said.row == self.name)
    }

    /// Whether its query is of this type in the document.
    pub fn is_asked<T>(&self) -> bool {
        self.said().and_then(|(_, said)| said.query).is_some_and(Shape::is::<T>)
    }

    /// Whether its body is of this type in the document.
    pub fn is_sent<T>(&self) -> bool {
        self.said().and_then(|(_, said)| said.body).is_some_and(Shape::is::<T>)
    }

    /// Refuses any query where none belongs (M3).
    pub fn refuse_query(&self, query: &str) -> Result<(), Failure> {
        let has_parameters = self.said().is_some_and(|(_, said)| said.query.is_some());
        match query.split('&').find(|pair| !pair.is_empty()) {
            Some(pair) if !has_parameters => Err(Failure::about(
                Kind::QueryInvalid,
                format!("this takes no parameters, and {pair:?} is one"),
            )),
            _ => Ok(()),
        }
    }

    /// Every way it can fail.
    fn failings(&self) -> Vec<Kind> {
        let mut kinds = ANY.to_vec();
        match self.takes {
            Takes::Nothing => kinds.push(Kind::BodyUnexpected),
            Takes::Json => kinds.extend([Kind::BodyInvalid, Kind::BodyTooLarge]),
        }
        if !self.method.is_safe() {
            kinds.extend([Kind::NoSpace, Kind::TooMuch]);
        }
        for name in parameters(self.path) {
            kinds.push(Kind::PathUnknown);
            match name {
                "id" => kinds.push(Kind::UploadUnknown),
                "organisation" | "repository" => kinds.extend([Missing, Invalid]),
                _ => kinds.push(Missing),
            }
        }
        kinds.extend(self.said().map(|(_, said)| said.fails).unwrap_or_default());
        kinds
    }
}

/// The names in the braces of a path.
fn parameters(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// What a parameter of a path names, and its form.
fn parameter(name: &'static str) -> Parameter {
    let (description, shape) = match name {
        "account" => ("An account, by name or id.", Shape::of::<NameOrId>()),
        "user" => ("A user, by name or id.", Shape::of::<NameOrId>()),
        "group" => ("A group, by name or id.", Shape::of::<NameOrId>()),
        "policy" => ("A policy, by name or id.", Shape::of::<NameOrId>()),
        "key" => ("The AK of an access key.", Shape::of::<AccessKey>()),
        "job" => ("A job, by name.", Shape::of::<JobName>()),
        "subject" => (
            "An address, a network, or `user:` and a user's id or account and name; each slash of it as `%2F`.",
            Shape::of::<bans::SubjectText>(),
        ),
        "hold" => ("The id of a hold, 32 lower-case hex digits.", Shape::of::<IdText>()),
        "organisation" => ("An organisation, by name.", Shape::of::<Organisation>()),
        "repository" => {
            ("A repository by its whole name, each slash of it as `%2F`.", Shape::of::<Repository>())
        }
        _ => ("The id of an upload session, 32 lower-case hex digits.", Shape::of::<IdText>()),
    };
    Parameter { name, description, shape }
}

fn operation(row: &Row) -> Option<Operation> {
    let (tag, said) = row.said()?;
    let failing = |kind: Kind| {
        let (status, code, message) = kind.row();
        Failing { status: status.as_u16(), code, message }
    };
    Some(Operation {
        id: row.name,
        method: row.method.to_string(),
        path: row.path,
        tag,
        summary: row.summary,
        action: row.action.name(),
        parameters: parameters(row.path).map(parameter).collect(),
        query: said.query,
        body: said.body,
        answer: (200, Some(said.answer)),
        fails: row.failings().into_iter().map(failing).collect(),
    })
}

const ABOUT: &str = "JSON over HTTP/1.1 on a Unix socket, admin.sock in the data directory unless set otherwise. \
    Who asks is known by the socket: root and the user the server runs as are the host's administrator, \
    anybody else is refused. What is not known is refused: paths, methods, parameters, fields, a body where \
    none belongs. What is not answered 200 was not done. A list is `items` and `next`, times are RFC 3339, \
    lengths of time milliseconds, sizes bytes. Every answer has an `X-Request-Id`, which the log has too. \
    `x-action` is the action of `docs/permissions.md` an operation needs the right to. A path there is not is \
    answered 404, another method of one 405 with `Allow`.";

fn only(codes: &[&str]) -> Value {
    json!({"properties": {"error": {"properties": {"code": {"enum": codes}}}}})
}

/// The API as an OpenAPI 3.1 document.
pub fn document() -> Value {
    let surface = Surface {
        title: "Pierhead administration",
        description: ABOUT,
        server: ("http://localhost", "the admin socket; the host name means nothing"),
        tags: GROUPS.iter().map(|(name, description, _)| (*name, *description)).collect(),
        failure: Shape::of::<FailureView<'_>>(),
        only,
    };
    openapi::document(&surface, ROUTES.iter().filter_map(operation))
}

/// An OpenAPI document, as it is answered.
#[derive(Serialize)]
struct Document(Value);

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        "OpenApi".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "An OpenAPI 3.1 document.",
            "required": ["openapi", "info", "paths", "components"],
            "properties": {
                "openapi": {"type": "string", "const": "3.1.0", "description": "The version of OpenAPI."},
                "info": {"type": "object", "description": "What it describes."},
                "paths": {"type": "object", "description": "Every operation."},
                "components": {"type": "object", "description": "Every schema."},
            },
        })
    }
}

/// Answers it.
pub async fn show(_: &Admin, _: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&Document(document())))
}

/// Whether an outcome of this row is in the document. What fails before a row is found is of no row.
pub fn has(row: &str, outcome: &Result<Reply, Failure>) -> bool {
    let Some(row) = ROUTES.iter().find(|known| known.name == row) else { return outcome.is_err() };
    match outcome {
        Ok(reply) => row.said().is_some_and(|(_, said)| said.answer.is_named(reply.of())),
        Err(failure) => row.failings().contains(&failure.kind()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::openapi::{check, page};

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin-api.md");
    const HEAD: &str = include_str!("page_head.md");

    #[test]
    fn the_document_is_openapi_and_has_each_row_of_the_route_table_once_and_nothing_else() {
        let mut rows: Vec<[String; 5]> = ROUTES
            .iter()
            .map(|row| {
                [row.method.as_str(), row.path, row.name, row.action.name(), row.summary].map(str::to_owned)
            })
            .collect();
        let mut said = check::operations(&document());
        rows.sort();
        said.sort();
        assert_eq!(said, rows, "a row has an entry in GROUPS, and an entry a row");
        let entries: Vec<&str> = GROUPS.iter().flat_map(|(_, _, rows)| *rows).map(|said| said.row).collect();
        assert_eq!(entries.len(), ROUTES.len(), "one entry a row");
        assert_eq!(entries.iter().collect::<BTreeSet<_>>().len(), entries.len());
    }

    #[test]
    fn a_row_has_a_body_in_the_document_where_it_takes_one_and_answers_every_status_of_the_table() {
        for row in ROUTES {
            let (_, said) = row.said().expect("an entry");
            assert_eq!(said.body.is_some(), row.takes == Takes::Json, "{}", row.name);
            assert!(said.query.is_none() || row.method.is_safe(), "{}", row.name);
        }
        // Beside what comes of a wrong path or method alone, and of pushing: every kind is some row's.
        let elsewhere = [Kind::MethodUnknown, Kind::BlobUnknown];
        let known: Vec<Kind> = ROUTES.iter().flat_map(Row::failings).collect();
        for kind in Kind::ALL {
            assert_ne!(known.contains(kind), elsewhere.contains(kind), "{kind:?}");
        }
    }

    #[test]
    fn what_is_not_in_the_document_is_told_from_what_is() {
        let failed = |kind| Err(Failure::new(kind));
        let done = Ok(Reply::ok(&Removed { removed: "x".to_owned() }));
        assert!(has("user-delete", &done) && !has("user-show", &done) && !has("unknown", &done));
        assert!(has("user-show", &failed(Missing)) && !has("status", &failed(Missing)));
        assert!(has("unknown", &failed(Kind::PathUnknown)));
    }

    #[test]
    fn the_page_of_the_api_is_what_the_document_says() {
        let page = page::page(HEAD, &document());
        if std::env::var_os("PIERHEAD_WRITE_GOLDEN").is_some() {
            std::fs::write(PAGE, page).expect("written");
            return;
        }
        let found = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(found == page, "run with PIERHEAD_WRITE_GOLDEN=1, review the difference, run again");
    }
}
