//! The list of tags: order, pages, and what it follows.

use crate::support::repository::strings;
use crate::support::{Image, Repository, Response, Rng, Server};

/// The target of a `Link: <…>; rel="next"` header.
pub fn next_link(answer: &Response) -> Option<String> {
    let link = answer.header("link")?;
    let (target, relation) = link.trim_start_matches('<').split_once('>').expect("a target in brackets");
    assert!(relation.contains("rel=\"next\""), "{link}");
    Some(match target.split_once("://") {
        Some((_, rest)) => rest[rest.find('/').expect("a path")..].to_owned(),
        None => target.to_owned(),
    })
}

/// A repository with these tags on one image.
fn tagged(server: &Server, tags: &[&str]) -> Repository {
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("tagged"));
    repository.push_blobs(&image);
    for tag in tags {
        repository.put_manifest(tag, image.media_type, &image.manifest).expect(201);
    }
    repository
}

/// Follows the links from `target`: the lists of each page.
pub fn pages(server: &Server, target: String, member: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut next = Some(target);
    while let Some(target) = next {
        let answer = server.http().get(&target).send().expect(200);
        all.push(strings(&answer.json()[member]));
        next = next_link(&answer);
        assert!(all.len() < 1000, "the links never end");
    }
    all
}

#[test]
fn tags_come_in_byte_order_under_the_repository_s_name() {
    let server = Server::shared();
    let repository = tagged(&server, &["v10", "v2", "latest", "Beta", "_x", "0", "v1.0-rc_1"]);
    let body = repository.get("tags/list").expect(200).json();
    assert_eq!(body["name"], repository.name.as_str());
    assert_eq!(strings(&body["tags"]), ["0", "Beta", "_x", "latest", "v1.0-rc_1", "v10", "v2"]);
}

#[test]
fn an_absent_repository_is_404_name_unknown() {
    let server = Server::shared();
    server.repository().get("tags/list").refused(404, "NAME_UNKNOWN");
}

#[test]
fn a_repository_without_tags_has_an_empty_list() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("no tags"));
    repository.push(&image.digest(), &image);
    assert_eq!(repository.get("tags/list").expect(200).json()["tags"], serde_json::json!([]));
}

#[test]
fn last_starts_after_a_tag_that_need_not_exist() {
    let server = Server::shared();
    let repository = tagged(&server, &["a", "b", "c", "d"]);
    for (last, wanted) in [
        ("b", vec!["c", "d"]),
        ("bb", vec!["c", "d"]),
        ("d", vec![]),
        ("", vec!["a", "b", "c", "d"]),
        ("zzz", vec![]),
    ] {
        let got = repository.get(&format!("tags/list?last={last}")).expect(200);
        assert_eq!(strings(&got.json()["tags"]), wanted, "last={last}");
    }
}

#[test]
fn pages_of_every_size_hold_each_tag_once() {
    let server = Server::shared();
    let tags: Vec<String> = (0..25).map(|number| format!("t{number:02}")).collect();
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    let repository = tagged(&server, &names);
    for size in [1, 2, 7, 24, 25, 26, 1000] {
        let pages = pages(&server, repository.path(&format!("tags/list?n={size}")), "tags");
        assert!(pages.iter().all(|page| page.len() <= size), "n={size}");
        assert_eq!(pages.len(), tags.len().div_ceil(size).max(1), "n={size}: no page more than needed");
        assert_eq!(pages.concat(), tags, "n={size}");
    }
}

#[test]
fn n_of_zero_gives_an_empty_list_and_no_link() {
    let server = Server::shared();
    let repository = tagged(&server, &["a", "b"]);
    let answer = repository.get("tags/list?n=0").expect(200);
    assert!(strings(&answer.json()["tags"]).is_empty(), "{answer}");
    assert_eq!(answer.header("link"), None);
}

#[test]
fn an_n_that_is_no_number_is_400_pagination_number_invalid() {
    let server = Server::shared();
    let repository = tagged(&server, &["a"]);
    for n in ["-1", "abc", "1.5", "%00", "0x10"] {
        repository.get(&format!("tags/list?n={n}")).refused(400, "PAGINATION_NUMBER_INVALID");
    }
}

#[test]
fn an_n_beyond_every_number_is_bounded_or_refused() {
    let server = Server::shared();
    let repository = tagged(&server, &["a"]);
    repository.get(&format!("tags/list?n={}", "9".repeat(30))).expect_one(&[200, 400]);
}

#[test]
fn a_link_survives_tags_that_need_escaping_and_parameters_it_does_not_know() {
    let server = Server::shared();
    let repository = tagged(&server, &["a_b.c-d", "a_b.c-e", "z"]);
    let pages = pages(&server, repository.path("tags/list?n=1&ns=docker.io&other=%26%3D"), "tags");
    assert_eq!(pages.concat(), ["a_b.c-d", "a_b.c-e", "z"]);
}

#[test]
fn the_list_follows_pushes_and_deletes_at_once() {
    let server = Server::shared();
    let repository = tagged(&server, &["a", "b"]);
    repository.delete("manifests/a").expect(202);
    assert_eq!(repository.tags(), ["b"]);
    repository.push("c", &Image::small(&mut Rng::named("pushed later")));
    assert_eq!(repository.tags(), ["b", "c"]);
}

#[test]
fn tags_of_a_repository_with_a_longer_name_stay_out() {
    let server = Server::shared();
    let short = tagged(&server, &["mine"]);
    let longer = Repository::named(server.http(), &format!("{}-more", short.name));
    let below = Repository::named(server.http(), &format!("{}/below", short.name));
    for other in [longer, below] {
        other.push("theirs", &Image::small(&mut Rng::named("longer name")));
    }
    assert_eq!(short.tags(), ["mine"]);
}
