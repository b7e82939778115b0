//! `WWW-Authenticate`: how a client that was not let in gets a token (Docker token protocol, RFC 6750).
//!
//! One challenge, Bearer: clients that know both take Basic without a word about the token endpoint.
//! Basic credentials are good at every path nevertheless.

use hyper::Method;

use super::errors::Kind;
use super::path::{Path, Shape};
use super::query::Query;
use super::route::Row;
use crate::api::token;
use crate::services::access::Action;
use crate::services::names::RepositoryName;

/// The parameter `error` of a challenge for this failure; `None` if it is no challenge's.
pub const fn error(kind: Kind) -> Option<Option<&'static str>> {
    match kind {
        Kind::Unauthenticated => Some(None),
        Kind::TokenInvalid => Some(Some("invalid_token")),
        Kind::ScopeMissing => Some(Some("insufficient_scope")),
        _ => None,
    }
}

/// The header's value: where to go (`realm`), for what, and what was wrong with what came.
pub fn value(realm: &str, scope: &str, error: Option<&str>) -> String {
    let mut text = format!("Bearer realm=\"{realm}\",service=\"{}\"", token::SERVICE);
    if !scope.is_empty() {
        text += &format!(",scope=\"{scope}\"");
    }
    if let Some(error) = error {
        text += &format!(",error=\"{error}\"");
    }
    text
}

/// What a token has to be asked for so that the request is done. Names are checked before they are told:
/// nothing else a client sent gets into a header.
pub fn scope(row: &Row, path: Path<'_>, query: &Query) -> String {
    match path.shape {
        Shape::Base => String::new(),
        Shape::Catalog => "registry:catalog:*".to_owned(),
        _ => {
            let mut scope = format!("repository:{}:{}", path.name, actions(row.action_on(path.tail)));
            let source = query.some("from").filter(|_| query.some("mount").is_some());
            if let Some(source) = source.filter(|name| name.parse::<RepositoryName>().is_ok())
                && row.methods.contains(&Method::POST)
            {
                scope += &format!(" repository:{source}:pull");
            }
            scope
        }
    }
}

const fn actions(action: Action) -> &'static str {
    match action {
        Action::Push | Action::Untag => "pull,push",
        Action::DeleteVersion => "delete",
        _ => "pull",
    }
}

#[cfg(test)]
mod tests {
    use super::super::route;
    use super::*;

    #[test]
    fn a_challenge_asks_for_what_the_request_needs() {
        let cases = [
            (Method::GET, "/v2/", "", ""),
            (Method::GET, "/v2/_catalog", "", "registry:catalog:*"),
            (Method::GET, "/v2/a/b/manifests/1", "", "repository:a/b:pull"),
            (Method::GET, "/v2/nginx/manifests/1", "", "repository:nginx:pull"),
            (Method::PUT, "/v2/a/b/manifests/1", "", "repository:a/b:pull,push"),
            (Method::DELETE, "/v2/a/b/manifests/1", "", "repository:a/b:pull,push"),
            (Method::DELETE, "/v2/a/b/manifests/sha256:0", "", "repository:a/b:delete"),
            (Method::POST, "/v2/a/b/blobs/uploads/", "", "repository:a/b:pull,push"),
            (
                Method::POST,
                "/v2/a/b/blobs/uploads/",
                "mount=sha256:0&from=c/d",
                "repository:a/b:pull,push repository:c/d:pull",
            ),
            (Method::POST, "/v2/a/b/blobs/uploads/", "mount=x&from=A%22", "repository:a/b:pull,push"),
            (Method::POST, "/v2/a/b/blobs/uploads/", "from=c/d", "repository:a/b:pull,push"),
        ];
        for (method, path, query, expected) in cases {
            let parsed = Path::parse(path).expect("a path of ours");
            let row = route::find(&method, parsed.shape).expect("a route");
            assert_eq!(scope(row, parsed, &Query::parse(query)), expected, "{method} {path}?{query}");
        }
    }

    #[test]
    fn parameters_are_quoted_and_say_what_was_wrong() {
        let realm = "https://r.example/swr/auth/v2/registry/auth/";
        let bare = "Bearer realm=\"https://r.example/swr/auth/v2/registry/auth/\",service=\"dockyard\"";
        let scope = "repository:a/b:pull,push";
        assert_eq!(value(realm, "", None), bare);
        let all = format!("{bare},scope=\"{scope}\",error=\"insufficient_scope\"");
        assert_eq!(value(realm, scope, error(Kind::ScopeMissing).expect("a challenge")), all);
        assert_eq!(error(Kind::Denied), None);
    }
}
