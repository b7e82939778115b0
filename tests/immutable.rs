//! Immutable tags over the sockets of the real binary: set by the command, told to clients.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod support;

use support::{Image, Repository, Response, Rng, Server, Settings};

fn done(server: &Server, line: &str) -> String {
    let output = server.command(&line.split(' ').collect::<Vec<_>>());
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command that must fail said.
fn refused(server: &Server, line: &str) -> String {
    let output = server.command(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(1), "{line}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn put(repository: &Repository, tag: &str, image: &Image) -> Response {
    repository.push_blobs(image);
    repository.put_manifest(tag, image.media_type, &image.manifest)
}

fn message(response: &Response) -> String {
    response.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_tag_made_immutable_by_command_stays_for_clients_and_for_the_administrator_through_a_kill() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let mut rng = Rng::named("immutable tags");
    let (first, second) = (Image::small(&mut rng), Image::small(&mut rng));
    let name = server.repository().name;
    put(&Repository::named(server.http(), &name), "v1", &first).expect(201);
    assert!(done(&server, &format!("repo show {name}")).contains("mutable"));
    let set = done(&server, &format!("repo set {name} --immutable-tags yes"));
    assert!(set.contains("immutable"), "{set}");
    server.kill();
    server.start();
    let repository = Repository::named(server.http(), &name);

    put(&repository, "v1", &first).expect(201);
    let moved = put(&repository, "v1", &second).refused(403, "DENIED");
    assert!(message(&moved).contains("push under another tag"), "{}", message(&moved));
    put(&repository, "v2", &second).expect(201);
    repository.pull_and_compare("v1", &first);
    let untagged = repository.delete("manifests/v1").refused(403, "DENIED");
    assert!(message(&untagged).starts_with("tag v1 is immutable"), "{}", message(&untagged));
    repository.delete(&format!("manifests/{}", first.digest())).refused(403, "DENIED");

    for line in [
        format!("tag delete {name}:v1"),
        format!("manifest delete {name}@{}", first.digest()),
        format!("repo delete {name}"),
    ] {
        let said = refused(&server, &line);
        assert!(said.contains("immutable") && said.contains("v1"), "{line}: {said}");
        let foreseen = done(&server, &format!("{line} --dry-run"));
        assert!(foreseen.starts_with("would be refused: "), "{line}: {foreseen}");
    }
    let preview = done(&server, &format!("retention preview {name} --versions 1"));
    assert_eq!(preview, "0 would go, 2 would stay: tags of the repository are immutable\n");

    done(&server, &format!("repo set {name} --immutable-tags no"));
    put(&repository, "v1", &second).expect(201);
    done(&server, &format!("repo delete {name}"));
}
