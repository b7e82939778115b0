//! The API's document, of what is `said` of each row of the route table. A row without an entry there, or an entry without
//! a row, fails a test; a handler
//! that reads or answers another type, or fails in another way, fails every test that meets it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

use super::errors::{Failure, FailureView, Kind};
use super::reply::Reply;
use super::route::{ROUTES, Row, Takes};
use super::said::{GROUPS, Said};
use super::text::{AccessKey, IdText, JobName, ManifestDigest, NameOrId, Organisation, Repository, TagName};
use super::{Admin, Call, bans};
use crate::api::openapi::{self, Failing, Operation, Parameter, Shape, Surface};

use Kind::{Invalid, Missing};

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
        "tag" => ("A tag.", Shape::of::<TagName>()),
        "digest" => ("The digest of a manifest.", Shape::of::<ManifestDigest>()),
        "number" => ("The number of a deleted manifest, as the trash lists it.", Shape::of::<u64>()),
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
pub struct Document(Value);

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
    use crate::api::admin::reply::Removed;
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
