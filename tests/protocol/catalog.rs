//! `_catalog`: the repositories, by page.

use super::tags::{next_link, pages};
use crate::support::repository::strings;
use crate::support::{Repository, Server, Settings};

/// A registry that holds just these repositories.
fn registry_of(names: &[&str]) -> Option<Server> {
    let server = Server::own(Settings::default())?;
    for name in names {
        Repository::named(server.http(), name).push_blob(name.as_bytes());
    }
    Some(server)
}

#[test]
fn an_empty_registry_has_an_empty_catalog() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let answer = server.http().get("/v2/_catalog").send().expect(200);
    assert_eq!(answer.json(), serde_json::json!({ "repositories": [] }));
    assert_eq!(answer.header("link"), None);
}

#[test]
fn the_catalog_is_in_byte_order_and_pages_hold_each_name_once() {
    let names = ["b/two", "a/one", "a/one-more", "a/one/below", "c", "zz/z", "a1/x"];
    let Some(server) = registry_of(&names) else { return };
    let mut wanted = vec!["a/one", "a/one-more", "a/one/below", "a1/x", "b/two", "library/c", "zz/z"];
    wanted.sort_unstable();
    for size in [1, 2, 3, 7, 8] {
        let pages = pages(&server, format!("/v2/_catalog?n={size}"), "repositories");
        assert!(pages.iter().all(|page| page.len() <= size), "n={size}");
        assert_eq!(pages.len(), wanted.len().div_ceil(size), "n={size}: no page more than needed");
        assert_eq!(pages.concat(), wanted, "n={size}");
    }
    let last = server.http().get("/v2/_catalog?last=a/one-more").send().expect(200);
    assert_eq!(strings(&last.json()["repositories"]), wanted[2..]);
}

#[test]
fn an_n_that_is_no_number_is_400_pagination_number_invalid() {
    let server = Server::shared();
    for n in ["-1", "abc"] {
        server.http().get(&format!("/v2/_catalog?n={n}")).send().refused(400, "PAGINATION_NUMBER_INVALID");
    }
}

#[test]
fn a_page_is_bounded_though_the_client_asks_for_everything() {
    let server = Server::shared();
    server.repository().push_blob(b"one at least");
    let answer = server.http().get("/v2/_catalog?n=4294967295").send().expect_one(&[200, 400]);
    let _ = next_link(&answer);
}
