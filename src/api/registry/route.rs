//! The table of this surface: everything that must agree about a route is in its row. Tests, the
//! metrics, the audit trail and the answer 405 are made from it.
//!
//! A new endpoint is a shape in `path` (if it has a new path), a row here and a handler.

use std::pin::Pin;

use hyper::Method;

use super::errors::Failure;
use super::path::Shape;
use super::reply::Reply;
use super::{Call, Registry, base, blobs, catalog, manifests, referrers, tags, uploads};
use crate::server::body::Body;
use crate::services::access::Action;
use crate::services::audit::Operation;

/// What a handler gives.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;

/// A handler: parses the rest of the request, calls one service, renders.
pub type Handler = for<'a> fn(&'a Registry, Call<'a>, &'a mut Body) -> Answer<'a>;

/// How much of a request's body a route takes. More is refused, or with [`BodyLimit::Nothing`] not
/// looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// None of it.
    Nothing,
    /// A manifest, held in memory: the settings' limit.
    Manifest,
    /// A blob or a part of one, streamed: the uploads service holds the limit.
    Blob,
}

/// A route.
pub struct Row {
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// The methods it answers.
    pub methods: &'static [Method],
    /// The paths it answers.
    pub shape: Shape,
    /// What the caller must be allowed to do, to the path's repository or else the registry; see [`Row::action_on`].
    pub action: Action,
    /// What it takes of a body.
    pub body: BodyLimit,
    /// What it is in the audit trail. The parts of a push are not recorded: its manifest is.
    pub audit: Operation,
    /// Does it.
    pub handler: Handler,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];
const GET: &[Method] = &[Method::GET];
const HEAD: &[Method] = &[Method::HEAD];
const POST: &[Method] = &[Method::POST];
const PATCH: &[Method] = &[Method::PATCH];
const PUT: &[Method] = &[Method::PUT];
const DELETE: &[Method] = &[Method::DELETE];

const PULL: Operation = Operation::pull("pullImage", "images");
const REFUSED_PULL: Operation = Operation::refused("pullImage", "images");
const REFUSED_PUSH: Operation = Operation::refused("postMultipartImagePackage", "images");

const fn row(
    name: &'static str,
    methods: &'static [Method],
    shape: Shape,
    action: Action,
    body: BodyLimit,
    audit: Operation,
    handler: Handler,
) -> Row {
    Row { name, methods, shape, action, body, audit, handler }
}

impl Row {
    /// Whether it only asks if a blob is there, as clients do before they push it.
    pub fn is_probe(&self) -> bool {
        self.shape == Shape::Blob && self.methods == HEAD
    }
}

impl Row {
    /// What the caller must be allowed to do with what a path ends with. To take a tag away needs less than to take a
    /// manifest away: Harbor does it with a token for pushing.
    pub fn action_on(&self, tail: &str) -> Action {
        match (self.shape, self.action) {
            (Shape::Manifest, Action::DeleteVersion) if !tail.contains(':') => Action::Untag,
            _ => self.action,
        }
    }
}

/// Every route of `/v2/`. OCI distribution-spec "Endpoints" numbers them end-1 to end-14; `_catalog`
/// is the Docker API's.
#[rustfmt::skip]
pub static ROUTES: &[Row] = &[
    row("ping", READ, Shape::Base, Action::Ping, BodyLimit::Nothing, Operation::NONE, |r, c, _| Box::pin(base::ping(r, c))),
    row("catalog", READ, Shape::Catalog, Action::ListRepositories, BodyLimit::Nothing, Operation::read("listCatalog", "imagerepository"), |r, c, _| Box::pin(catalog::list(r, c))),
    row("tags-list", READ, Shape::Tags, Action::Pull, BodyLimit::Nothing, Operation::read("listImageTags", "imagetag"), |r, c, _| Box::pin(tags::list(r, c))),
    row("manifest-get", GET, Shape::Manifest, Action::Pull, BodyLimit::Nothing, PULL, |r, c, _| Box::pin(manifests::get(r, c))),
    row("manifest-head", HEAD, Shape::Manifest, Action::Pull, BodyLimit::Nothing, REFUSED_PULL, |r, c, _| Box::pin(manifests::head(r, c))),
    row("manifest-put", PUT, Shape::Manifest, Action::Push, BodyLimit::Manifest, Operation::change("postMultipartImagePackage", "images", 201), |r, c, b| Box::pin(manifests::put(r, c, b))),
    row("manifest-delete", DELETE, Shape::Manifest, Action::DeleteVersion, BodyLimit::Nothing, Operation::change("deleteImageTag", "imagetag", 202), |r, c, _| Box::pin(manifests::delete(r, c))),
    row("blob-get", GET, Shape::Blob, Action::Pull, BodyLimit::Nothing, REFUSED_PULL, |r, c, _| Box::pin(blobs::get(r, c))),
    row("blob-head", HEAD, Shape::Blob, Action::Pull, BodyLimit::Nothing, REFUSED_PULL, |r, c, _| Box::pin(blobs::head(r, c))),
    row("blob-delete", DELETE, Shape::Blob, Action::DeleteVersion, BodyLimit::Nothing, Operation::change("deleteImageBlob", "imageblob", 202), |r, c, _| Box::pin(blobs::delete(r, c))),
    row("upload-start", POST, Shape::Uploads, Action::Push, BodyLimit::Blob, REFUSED_PUSH, |r, c, b| Box::pin(uploads::start(r, c, b))),
    row("upload-status", READ, Shape::Upload, Action::Push, BodyLimit::Nothing, REFUSED_PUSH, |r, c, _| Box::pin(uploads::status(r, c))),
    row("upload-chunk", PATCH, Shape::Upload, Action::Push, BodyLimit::Blob, REFUSED_PUSH, |r, c, b| Box::pin(uploads::append(r, c, b))),
    row("upload-finish", PUT, Shape::Upload, Action::Push, BodyLimit::Blob, REFUSED_PUSH, |r, c, b| Box::pin(uploads::finish(r, c, b))),
    row("upload-cancel", DELETE, Shape::Upload, Action::Push, BodyLimit::Nothing, REFUSED_PUSH, |r, c, _| Box::pin(uploads::cancel(r, c))),
    row("referrers", READ, Shape::Referrers, Action::Pull, BodyLimit::Nothing, Operation::read("listImageReferrers", "imagetag"), |r, c, _| Box::pin(referrers::list(r, c))),
];

/// The row for a method on a shape.
pub fn find(method: &Method, shape: Shape) -> Option<&'static Row> {
    ROUTES.iter().find(|row| row.shape == shape && row.methods.contains(method))
}

/// The `Allow` header of a shape: what the rows that `is_on` keeps answer.
pub fn allow(shape: Shape, is_on: impl Fn(&Row) -> bool) -> String {
    let rows = ROUTES.iter().filter(|row| row.shape == shape && is_on(row));
    let methods: Vec<&str> = rows.flat_map(|row| row.methods).map(Method::as_str).collect();
    methods.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::path::Path;
    use super::*;

    /// The endpoints of the distribution specification and the Docker API: id, method, example, the
    /// row that must answer, and whether it takes a body.
    const SPECIFIED: &[(&str, Method, &str, &str)] = &[
        ("end-1", Method::GET, "/v2/", "ping"),
        ("end-2", Method::GET, "/v2/a/b/blobs/sha256:0", "blob-get"),
        ("end-2", Method::HEAD, "/v2/a/b/blobs/sha256:0", "blob-head"),
        ("end-3", Method::GET, "/v2/a/b/manifests/v1", "manifest-get"),
        ("end-3", Method::HEAD, "/v2/a/b/manifests/v1", "manifest-head"),
        ("end-4a", Method::POST, "/v2/a/b/blobs/uploads/", "upload-start"),
        ("end-5", Method::PATCH, "/v2/a/b/blobs/uploads/0", "upload-chunk"),
        ("end-6", Method::PUT, "/v2/a/b/blobs/uploads/0", "upload-finish"),
        ("end-7", Method::PUT, "/v2/a/b/manifests/v1", "manifest-put"),
        ("end-8", Method::GET, "/v2/a/b/tags/list", "tags-list"),
        ("end-9", Method::DELETE, "/v2/a/b/manifests/v1", "manifest-delete"),
        ("end-10", Method::DELETE, "/v2/a/b/blobs/sha256:0", "blob-delete"),
        ("end-12", Method::GET, "/v2/a/b/referrers/sha256:0", "referrers"),
        ("end-13", Method::GET, "/v2/a/b/blobs/uploads/0", "upload-status"),
        ("end-14", Method::DELETE, "/v2/a/b/blobs/uploads/0", "upload-cancel"),
        ("Docker", Method::GET, "/v2/_catalog", "catalog"),
    ];

    #[test]
    fn every_endpoint_of_the_specification_has_its_row() {
        for (id, method, example, name) in SPECIFIED {
            let path = Path::parse(example).expect("a path of ours");
            assert_eq!(find(method, path.shape).map(|row| row.name), Some(*name), "{id} {method} {example}");
        }
        let specified: HashSet<&str> = SPECIFIED.iter().map(|(.., name)| *name).collect();
        for row in ROUTES {
            assert!(specified.contains(row.name), "{} is in no specification", row.name);
        }
    }

    #[test]
    fn no_two_rows_answer_the_same_request_or_have_the_same_name() {
        let mut requests = HashSet::new();
        let mut names = HashSet::new();
        for row in ROUTES {
            assert!(names.insert(row.name), "{}", row.name);
            for method in row.methods {
                assert!(requests.insert((method, row.shape)), "{method} {:?}", row.shape);
            }
        }
    }

    #[test]
    fn reading_changes_nothing_and_changing_is_never_a_read() {
        for row in ROUTES {
            let reads = row.methods.iter().all(Method::is_safe);
            let may = matches!(row.action, Action::Ping | Action::ListRepositories | Action::Pull);
            assert!(may == reads || row.name == "upload-status", "{}", row.name);
            assert!(!(reads && row.body != BodyLimit::Nothing), "{} takes a body", row.name);
        }
    }

    #[test]
    fn what_is_allowed_is_read_from_the_table() {
        assert_eq!(allow(Shape::Manifest, |_| true), "GET, HEAD, PUT, DELETE");
        assert_eq!(allow(Shape::Manifest, |row| row.action != Action::DeleteVersion), "GET, HEAD, PUT");
        assert_eq!(allow(Shape::Uploads, |_| true), "POST");
        assert!(find(&Method::POST, Shape::Base).is_none());
    }
}
