//! The referrers of a manifest: the list, its filter, and how it follows pushes and deletes.

use crate::support::images::{
    ABSENT, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, artifact_of, index_of, manifest_of, sha256,
};
use crate::support::{Image, Kind, Repository, Rng, Server};
use serde_json::{Value, json};

const SIGNATURE: &str = "application/vnd.example.signature.v1";
const BOM: &str = "application/vnd.example.bom.v1+json";

fn list(repository: &Repository, digest: &str, query: &str) -> Vec<Value> {
    let answer = repository.get(&format!("referrers/{digest}{query}")).expect(200);
    assert_eq!(answer.need("content-type"), OCI_INDEX);
    let index = answer.json();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["mediaType"], OCI_INDEX);
    index["manifests"].as_array().expect("an array, also when it is empty").clone()
}

fn digests(list: &[Value]) -> Vec<String> {
    let mut all: Vec<String> =
        list.iter().map(|entry| entry["digest"].as_str().expect("a digest").to_owned()).collect();
    all.sort_unstable();
    all
}

fn attach(repository: &Repository, artifact_type: &str, payload: &[u8], subject: &Value) -> String {
    repository.push_blob(b"{}");
    repository.push_blob(payload);
    let mut artifact = artifact_of(artifact_type, payload, Some(subject.clone()));
    artifact["annotations"] = json!({ "org.example.note": "kept" });
    repository.push_value(None, &artifact).1
}

#[test]
fn a_digest_nobody_refers_to_has_an_empty_list() {
    let server = Server::shared();
    let repository = server.repository();
    repository.push_blob(b"the repository exists");
    assert!(list(&repository, ABSENT, "").is_empty());
    assert!(
        list(&server.repository(), ABSENT, "").is_empty(),
        "so has one in a repository that does not exist"
    );
}

#[test]
fn the_list_describes_each_referrer() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("described"));
    repository.push("v1", &image);
    let digest = attach(&repository, SIGNATURE, b"described", &image.descriptor());
    let entries = list(&repository, &image.digest(), "");
    assert_eq!(entries.len(), 1);
    let bytes = repository.get(&format!("manifests/{digest}")).expect(200).body;
    let entry = json!({
        "mediaType": OCI_MANIFEST, "digest": digest, "size": bytes.len(), "artifactType": SIGNATURE,
        "annotations": { "org.example.note": "kept" },
    });
    assert_eq!(entries[0], entry);
}

#[test]
fn the_artifact_type_of_an_image_is_its_config_s_and_of_an_index_its_own() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("artifact types");
    let subject = Image::small(&mut rng);
    repository.push("v1", &subject);
    let image = Image::small(&mut rng);
    repository.push_blobs(&image);
    let mut manifest = manifest_of(Kind::Oci, &image.config, &image.layers);
    manifest["subject"] = subject.descriptor();
    manifest["config"]["mediaType"] = json!("application/vnd.example.config");
    let (_, by_config) = repository.push_value(None, &manifest);
    let mut index = index_of(Kind::Oci, &[]);
    index["subject"] = subject.descriptor();
    index["artifactType"] = json!(BOM);
    let (_, by_index) = repository.push_value(None, &index);
    let entries = list(&repository, &subject.digest(), "");
    let kind_of = |digest: &str| {
        entries.iter().find(|entry| entry["digest"] == digest).expect("listed")["artifactType"].clone()
    };
    assert_eq!(kind_of(&by_config), "application/vnd.example.config");
    assert_eq!(kind_of(&by_index), BOM);
}

#[test]
fn the_filter_gives_one_artifact_type_and_says_so() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("filter"));
    repository.push("v1", &image);
    let subject = image.descriptor();
    let signature = attach(&repository, SIGNATURE, b"a signature", &subject);
    let bom = attach(&repository, BOM, b"a bill of materials", &subject);
    let mut both = vec![signature.clone(), bom.clone()];
    both.sort_unstable();
    assert_eq!(digests(&list(&repository, &image.digest(), "")), both);
    let escaped = BOM.replace('/', "%2F").replace('+', "%2B");
    let table = [
        (SIGNATURE.to_owned(), vec![signature]),
        (escaped, vec![bom]),
        ("application/none".to_owned(), vec![]),
    ];
    for (filter, wanted) in table {
        let query = format!("?artifactType={filter}");
        assert_eq!(digests(&list(&repository, &image.digest(), &query)), wanted, "{filter}");
        let answer = repository.get(&format!("referrers/{}{query}", image.digest()));
        assert_eq!(answer.need("oci-filters-applied"), "artifactType");
    }
    let unfiltered = repository.get(&format!("referrers/{}", image.digest()));
    assert_eq!(unfiltered.header("oci-filters-applied"), None);
}

#[test]
fn a_referrer_pushed_before_its_subject_is_listed() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("before subject"));
    let digest = attach(&repository, SIGNATURE, b"early", &image.descriptor());
    assert_eq!(digests(&list(&repository, &image.digest(), "")), std::slice::from_ref(&digest));
    repository.push("v1", &image);
    assert_eq!(digests(&list(&repository, &image.digest(), "")), [digest]);
}

#[test]
fn a_deleted_referrer_leaves_the_list_at_once_and_a_deleted_subject_keeps_it() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("deleted referrer"));
    repository.push("v1", &image);
    let first = attach(&repository, SIGNATURE, b"first", &image.descriptor());
    let second = attach(&repository, SIGNATURE, b"second", &image.descriptor());
    repository.delete(&format!("manifests/{first}")).expect(202);
    assert_eq!(digests(&list(&repository, &image.digest(), "")), std::slice::from_ref(&second));
    repository.delete(&format!("manifests/{}", image.digest())).expect(202);
    assert_eq!(digests(&list(&repository, &image.digest(), "")), [second]);
}

#[test]
fn referrers_stay_in_their_repository() {
    let server = Server::shared();
    let (here, there) = (server.repository(), server.repository());
    let image = Image::small(&mut Rng::named("stay"));
    here.push("v1", &image);
    there.push("v1", &image);
    attach(&here, SIGNATURE, b"here only", &image.descriptor());
    assert!(list(&there, &image.digest(), "").is_empty());
}

#[test]
fn a_push_of_the_same_referrer_lists_it_once() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("once"));
    repository.push("v1", &image);
    for _ in 0..2 {
        attach(&repository, SIGNATURE, b"the same", &image.descriptor());
    }
    assert_eq!(list(&repository, &image.digest(), "").len(), 1);
}

#[test]
fn a_long_list_is_given_whole_by_following_links() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("long list"));
    repository.push("v1", &image);
    let mut wanted: Vec<String> = (0..120_u32)
        .map(|number| attach(&repository, SIGNATURE, &number.to_be_bytes(), &image.descriptor()))
        .collect();
    wanted.sort_unstable();
    let mut got = Vec::new();
    let mut next = Some(repository.path(&format!("referrers/{}", image.digest())));
    while let Some(target) = next {
        let answer = server.http().get(&target).send().expect(200);
        got.extend(digests(answer.json()["manifests"].as_array().expect("an array")));
        next = super::tags::next_link(&answer);
    }
    got.sort_unstable();
    assert_eq!(got, wanted);
}

#[test]
fn a_malformed_digest_is_400_digest_invalid() {
    let server = Server::shared();
    server.repository().get("referrers/sha256:abc").refused(400, "DIGEST_INVALID");
}

#[test]
fn the_fallback_tag_of_old_clients_is_an_ordinary_tag() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("fallback"));
    repository.push("v1", &image);
    let tag = image.digest().replace(':', "-");
    repository.push_value(Some(&tag), &index_of(Kind::Oci, &[]));
    repository.get(&format!("manifests/{tag}")).expect(200);
    assert!(list(&repository, &image.digest(), "").is_empty());
    assert_eq!(
        sha256(b"{}"),
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "{OCI_EMPTY}"
    );
}
