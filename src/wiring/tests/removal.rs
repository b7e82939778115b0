//! Repositories that are removed with all in them, in steps of any size.

use hyper::Method;
use pierhead_storage_format::housekeeping::DeletedReferenceKey;
use pierhead_storage_format::identity::keys::{GrantKey, RepositorySettingsKey, ShareKey, TextKey};
use pierhead_storage_format::identity::records::Level;
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, ManifestKey, ManifestReferenceKey, ManifestTagKey, ReferrerKey,
    RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, TableKey, TagKey,
};
use serde_json::json;

use super::house::{House, PASSWORD, basic, digest};
use crate::services::access::{Action, Resource};
use crate::services::error::Error;
use crate::services::organisations::{Changed, On, ShareTerms};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of two blobs, by any number of tags; a second one names the first as its subject.
async fn fill(house: &House, name: &str, tags: usize) {
    let anna = basic("acme/anna", PASSWORD);
    let config: &'static [u8] = b"{}";
    for blob in [config, b"layer"] {
        assert_eq!(house.push_blob(name, &anna, blob).await.status, 201);
    }
    let described =
        |bytes: &[u8]| json!({"mediaType": "text/plain", "digest": digest(bytes), "size": bytes.len()});
    let first = json!({
        "schemaVersion": 2, "mediaType": OCI, "config": described(config), "layers": [described(b"layer")],
    });
    let mut second = first.clone();
    second["subject"] = json!({"mediaType": OCI, "digest": digest(first.to_string().as_bytes()), "size": 1});
    let put = async |tag: String, manifest: &serde_json::Value| {
        let path = format!("/v2/{name}/manifests/{tag}");
        let headers = [("authorization", anna.as_str()), ("content-type", OCI)];
        let answer = house.ask(Method::PUT, &path, &headers, manifest.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    for n in 0..tags {
        put(format!("v{n:03}"), if n % 2 == 0 { &first } else { &second }).await;
    }
}

fn rows<K: TableKey>(house: &House, prefix: &[u8]) -> usize {
    house.meta().page::<K>(prefix, None, 10_000).expect("rows").len()
}

/// Every blob is kept by as many rows as there are that keep it.
fn recount(house: &House) {
    let kept: u64 = house
        .meta()
        .page::<BlobKey>(&[], None, 10_000)
        .expect("rows")
        .iter()
        .map(|(_, blob)| blob.references)
        .sum();
    let keeping = rows::<RepositoryBlobKey>(house, &[])
        + rows::<ManifestKey>(house, &[])
        + rows::<DeletedReferenceKey>(house, &[]);
    assert_eq!(kept, keeping as u64);
}

#[tokio::test]
async fn a_repository_goes_whole_in_steps_of_any_size_and_another_stays() {
    for share in [1, 3, 7, 25, 4000] {
        let house = House::open().await;
        fill(&house, "acme/kept", 4).await;
        fill(&house, "acme/gone", 23).await;
        let resource = || Resource::Repository("acme/gone".parse().expect("a name"));
        let robot = house.user("robot", &[]).await;
        let permit = house.permit(Action::CreateRepositoryGrant, resource());
        let organisations = &house.people.organisations;
        organisations.grant(&permit, On::Repository, vec![(robot, Level::Read)]).await.expect("granted");
        let permit = house.permit(Action::CreateShare, resource());
        let other = house.people.identity.find_account("other").expect("an account");
        let terms = ShareTerms { until: None, description: String::new() };
        organisations.share(&permit, other, terms).await.expect("shared");
        let permit = house.permit(Action::UpdateRepository, resource());
        let described = Changed { description: Some("d".repeat(5000)), ..Changed::default() };
        organisations.update(&permit, described).await.expect("described");
        let id =
            house.meta().get(&RepositoryKey { name: "acme/gone".into() }).expect("read").expect("there").id;

        let permit = house.permit(Action::DeleteRepository, resource());
        house.images.delete_by(&permit, share).await.expect("removed");

        let within = id.to_be_bytes();
        let left = [
            rows::<TagKey>(&house, &within),
            rows::<ManifestKey>(&house, &within),
            rows::<ManifestTagKey>(&house, &within),
            rows::<ManifestReferenceKey>(&house, &within),
            rows::<ReferrerKey>(&house, &within),
            rows::<RepositoryBlobKey>(&house, &within),
            rows::<RepositoryCountersKey>(&house, &within),
            rows::<RepositoryKey>(&house, b"acme/gone"),
            rows::<RepositorySettingsKey>(&house, b"acme/gone"),
            rows::<TextKey>(&house, &[]),
            rows::<GrantKey>(&house, &[]),
            rows::<ShareKey>(&house, &[]),
        ];
        assert_eq!(left, [0; 12], "in steps of {share}");
        let mirrors = house.meta().page::<BlobRepositoryKey>(&[], None, 100).expect("rows");
        assert!(mirrors.iter().all(|(key, _)| key.name == "acme/kept"), "in steps of {share}");
        recount(&house);
        let pulled =
            house.as_whom(Method::GET, "/v2/acme/kept/manifests/v003", &basic("acme/anna", PASSWORD)).await;
        assert_eq!(pulled.status, 200);
        let again = house.images.delete_by(&permit, share).await;
        assert!(matches!(again, Err(Error::RepositoryUnknown(_))), "{again:?}");
    }
}
