//! The table of this surface: everything that must agree about an operation is in its row. Routing,
//! the answer 405, metrics, tests, the index at `/api/v1` and, later, the API's document are made from it.

use std::pin::Pin;

use hyper::{Method, header};

use super::errors::{Failure, Kind};
use super::path::{self, Params};
use super::reply::Reply;
use super::{Admin, Call, index, reload, status, uploads};
use crate::services::access::{Action, Resource};

/// What a handler gives.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;

/// A handler: parses the rest of the request, calls one service, renders.
pub type Handler = for<'a> fn(&'a Admin, Call<'a>) -> Answer<'a>;

/// What a request is done to, from the path's parameters.
pub type Subject = fn(&Params) -> Result<Resource, Failure>;

/// Whether an operation takes a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None: one that comes is refused.
    Nothing,
    /// JSON, [`super::body::LIMIT`] bytes at most.
    Json,
}

/// An operation.
pub struct Row {
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// How it is asked for.
    pub method: Method,
    /// Where: a part in braces is a parameter.
    pub path: &'static str,
    /// What the caller must be allowed to do.
    pub action: Action,
    /// To what.
    pub resource: Subject,
    /// Its body.
    pub takes: Takes,
    /// One line for people: what it does and answers.
    pub summary: &'static str,
    /// Does it.
    pub handler: Handler,
}

const REGISTRY: Subject = |_| Ok(Resource::Registry);

/// Every operation.
#[rustfmt::skip]
pub static ROUTES: &[Row] = &[
    Row { name: "index", method: Method::GET, path: "/api/v1", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          summary: "every operation of this API", handler: |a, c| Box::pin(index::list(a, c)) },
    Row { name: "status", method: Method::GET, path: "/api/v1/status", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          summary: "how the appliance is: version, addresses, metadata, space, uploads", handler: |a, c| Box::pin(status::show(a, c)) },
    Row { name: "reload", method: Method::POST, path: "/api/v1/reload", action: Action::Reload, resource: REGISTRY, takes: Takes::Nothing,
          summary: "read the certificate again, as SIGHUP does", handler: |a, c| Box::pin(reload::reload(a, c)) },
    Row { name: "uploads-list", method: Method::GET, path: "/api/v1/uploads", action: Action::ListUploads, resource: REGISTRY, takes: Takes::Nothing,
          summary: "upload sessions by id; query: repository, limit, after", handler: |a, c| Box::pin(uploads::list(a, c)) },
    Row { name: "uploads-abort", method: Method::POST, path: "/api/v1/uploads/abort", action: Action::AbortUpload, resource: REGISTRY, takes: Takes::Json,
          summary: "end the upload sessions that fit all of: repository, older_than_ms, idle_for_ms; dry_run only lists them", handler: |a, c| Box::pin(uploads::abort_all(a, c)) },
    Row { name: "upload-show", method: Method::GET, path: "/api/v1/uploads/{id}", action: Action::ListUploads, resource: REGISTRY, takes: Takes::Nothing,
          summary: "one upload session", handler: |a, c| Box::pin(uploads::show(a, c)) },
    Row { name: "upload-abort", method: Method::DELETE, path: "/api/v1/uploads/{id}", action: Action::AbortUpload, resource: REGISTRY, takes: Takes::Nothing,
          summary: "end an upload session and free its space, though a request is writing it; answers what it was", handler: |a, c| Box::pin(uploads::abort(a, c)) },
];

/// What a request asks for.
pub struct Found {
    /// The operation.
    pub row: &'static Row,
    /// What its path has in the place of the parameters.
    pub params: Params,
}

/// The operation for a method on a path as sent. Of two paths that fit, the one with fewer parameters.
pub fn find(method: &Method, path: &str) -> Result<Found, Failure> {
    let mut fitting: Vec<Found> =
        ROUTES.iter().filter_map(|row| Some(Found { row, params: path::fit(row.path, path)? })).collect();
    fitting.sort_by_key(|found| found.params.len());
    let allow: Vec<&str> = fitting.iter().map(|found| found.row.method.as_str()).collect();
    let refusal = match allow.is_empty() {
        true => Failure::new(Kind::PathUnknown),
        false => Failure::new(Kind::MethodUnknown).with(header::ALLOW, allow.join(", ")),
    };
    fitting.into_iter().find(|found| found.row.method == *method).ok_or(refusal)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_rows_answer_the_same_request_or_have_the_same_name() {
        let (mut names, mut requests) = (HashSet::new(), HashSet::new());
        for row in ROUTES {
            assert!(names.insert(row.name), "{}", row.name);
            let parts = row.path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
            assert!(requests.insert((&row.method, parts.collect::<Vec<_>>())), "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn a_row_says_what_it_is_for_and_a_read_changes_nothing() {
        for row in ROUTES {
            assert!(row.path == "/api/v1" || row.path.starts_with("/api/v1/"), "{}", row.name);
            assert!(row.summary.len() > 10 && !row.summary.ends_with('.'), "{}", row.name);
            assert!(row.action.is_maintenance(), "{}: nobody on the network may", row.name);
            let reads = matches!(row.action, Action::ReadStatus | Action::ListUploads);
            assert_eq!(row.method.is_safe(), reads, "{}", row.name);
            assert!(!(reads && row.takes == Takes::Json), "{}", row.name);
        }
    }

    #[test]
    fn a_request_finds_its_row_and_a_wrong_one_is_told_apart() {
        let id = "0".repeat(32);
        let cases = [
            (Method::GET, "/api/v1".to_owned(), Ok("index")),
            (Method::GET, "/api/v1/uploads".to_owned(), Ok("uploads-list")),
            (Method::GET, format!("/api/v1/uploads/{id}"), Ok("upload-show")),
            (Method::DELETE, format!("/api/v1/uploads/{id}"), Ok("upload-abort")),
            (Method::POST, "/api/v1/uploads/abort".to_owned(), Ok("uploads-abort")),
            (Method::PUT, "/api/v1/status".to_owned(), Err(Kind::MethodUnknown)),
            (Method::GET, "/api/v2/status".to_owned(), Err(Kind::PathUnknown)),
            (Method::GET, "/v2/".to_owned(), Err(Kind::PathUnknown)),
        ];
        for (method, path, expected) in cases {
            let found = find(&method, &path).map(|found| found.row.name).map_err(|failure| failure.kind());
            assert_eq!(found, expected, "{method} {path}");
        }
    }
}
