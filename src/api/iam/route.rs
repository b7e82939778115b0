//! The table of this surface.

use hyper::Method;

use crate::services::audit;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A token for a user name and a password.
    CreateToken,
    /// The project of the account, by its name.
    ListProjects,
    /// The account.
    ListDomains,
    /// A user of the account.
    ShowUser,
}

/// A route. A part of a path in braces is a parameter.
pub struct Row {
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'static str,
    /// What it does.
    pub operation: Operation,
    /// What it is in the audit trail.
    pub audit: audit::Operation,
}

/// Every route.
#[rustfmt::skip]
pub static ROUTES: &[Row] = &[
    Row { name: "token-create", method: Method::POST, path: "/v3/auth/tokens", operation: Operation::CreateToken, audit: audit::Operation::read("createToken", "token") },
    Row { name: "projects-list", method: Method::GET, path: "/v3/projects", operation: Operation::ListProjects, audit: audit::Operation::read("listProjects", "project") },
    Row { name: "domains-list", method: Method::GET, path: "/v3/auth/domains", operation: Operation::ListDomains, audit: audit::Operation::read("listAuthDomains", "domain") },
    Row { name: "user-show", method: Method::GET, path: "/v3.0/OS-USER/users/{id}", operation: Operation::ShowUser, audit: audit::Operation::read("showUser", "user") },
];

/// The route of a path and its parameter; a slash at the end makes no difference.
pub fn find(path: &str) -> Option<(&'static Row, &str)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    ROUTES.iter().find_map(|row| Some((row, fit(row.path, path)?)))
}

fn fit<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    match template.split_once('{') {
        None => (template == path).then_some(""),
        Some((front, _)) => path.strip_prefix(front).filter(|rest| !rest.is_empty() && !rest.contains('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_row_and_its_parameter() {
        let cases = [
            ("/v3/auth/tokens", Some(("token-create", ""))),
            ("/v3/projects", Some(("projects-list", ""))),
            ("/v3/projects/", Some(("projects-list", ""))),
            ("/v3/auth/domains", Some(("domains-list", ""))),
            ("/v3.0/OS-USER/users/0a", Some(("user-show", "0a"))),
            ("/v3.0/OS-USER/users/", None),
            ("/v3.0/OS-USER/users/a/b", None),
            ("/v3", None),
            ("/v3/manage/namespaces", None),
        ];
        for (path, expected) in cases {
            assert_eq!(find(path).map(|(row, parameter)| (row.name, parameter)), expected, "{path}");
        }
    }
}
