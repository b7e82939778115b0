//! The paths of this surface: [`pattern`] has how they are compared.
//!
//! P1: in the place of `{repository}` a `$`, `%24` or `%2F` is a slash of the name.

use crate::api::pattern::{self, Params};

/// The parameter that `$` is a slash in.
const REPOSITORY: &str = "repository";

/// The parameters of `path`, as sent, if it is one of `pattern`.
pub fn fit(pattern: &'static str, path: &str) -> Option<Params> {
    pattern::fit(pattern, path, |name, value| if name == REPOSITORY { slashed(&value) } else { value })
}

/// A repository's name with its slashes, which clients send as `$`.
pub fn slashed(text: &str) -> String {
    text.replace('$', "/")
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    const TAG: &str = "/v2/manage/namespaces/{namespace}/repos/{repository}/tags/{tag}";

    #[test]
    fn every_spelling_of_a_slash_in_a_name_is_one() {
        let cases = [
            ("/v2/manage/namespaces/acme/repos/web/tags/v1", Some("web")),
            ("/v2/manage/namespaces/acme/repos/a$b$c/tags/v1", Some("a/b/c")),
            ("/v2/manage/namespaces/acme/repos/a%24b/tags/v1", Some("a/b")),
            ("/v2/manage/namespaces/acme/repos/a%2Fb/tags/v1", Some("a/b")),
            ("/v2/manage/namespaces/acme/repos/a%2fb$c/tags/v1", Some("a/b/c")),
            ("/v2/manage/namespaces/acme/repos/a/b/tags/v1", None),
            ("/v2/manage/namespaces/acme/repos/web/tags/v1/", None),
            ("/v2/manage/namespaces/acme/repos//tags/v1", None),
            ("/v2/manage/namespaces/acme/repos/web/tags", None),
            ("/v2/manage/namespaces/acme/repos/%ff/tags/v1", None),
            ("", None),
        ];
        for (path, expected) in cases {
            let found = fit(TAG, path);
            assert_eq!(found.as_ref().map(|params| params.get("repository")), expected, "{path}");
        }
        assert_eq!(fit("/", "/").map(|params| params.len()), Some(0));
    }

    #[test]
    fn a_dollar_elsewhere_stands_for_itself() {
        let params = fit(TAG, "/v2/manage/namespaces/a$b/repos/x/tags/c$d").expect("fits");
        assert_eq!((params.get("namespace"), params.get("tag"), params.len()), ("a$b", "c$d", 3));
    }

    proptest! {
        #[test]
        fn every_value_comes_back_out_of_its_place(
            ns in ".{1,20}", name in "[a-z0-9._/-]{1,30}", dollar in any::<bool>(),
        ) {
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let sent = if dollar { name.replace('/', "$") } else { encoded(&name) };
            let path = format!("/v2/manage/namespaces/{}/repos/{sent}/tags/v1", encoded(&ns));
            let params = fit(TAG, &path).expect("fits");
            prop_assert_eq!((params.get("namespace"), params.get("repository")), (ns.as_str(), name.as_str()));
        }

        #[test]
        fn no_path_makes_the_matcher_panic(path in "(/(v2|manage|namespaces|%..?|.{0,5})){0,8}") {
            let _ = fit(TAG, &path);
        }
    }
}
