//! Storage quotas: what is counted, what is let in, what is reserved.

mod named;

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Method;
use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::records::Level;
use pierhead_storage_format::keys::{
    CounterKey, ManifestKey, OrganisationKey, RepositoryBlobKey, RepositoryKey,
};
use pierhead_storage_format::quota::{OrganisationBlobKey, OrganisationUsageKey};
use serde_json::json;

use super::house::{Answer, House, PASSWORD, basic, digest};
use crate::services::access::{Action, Resource};
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::services::quota::{Reservation, Storage};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn anna() -> String {
    basic("acme/anna", PASSWORD)
}

fn organisation(name: &str) -> Resource {
    Resource::Organisation(name.parse().expect("a name"))
}

impl House {
    async fn quota(&self, name: &str, bytes: Option<u64>) {
        let permit = self.permit(Action::UpdateStorageQuota, organisation(name));
        self.people.quotas.set(&permit, bytes).await.expect("set");
    }

    async fn account_quota(&self, bytes: Option<u64>) {
        let permit = self.permit(Action::ManageAccounts, Resource::Registry);
        self.people.quotas.set_account(&permit, self.acme, bytes).await.expect("set");
    }

    fn storage(&self, name: &str) -> Storage {
        let permit = self.permit(Action::ShowStorageQuota, organisation(name));
        self.people.quotas.show(&permit).expect("shown")
    }

    fn account_storage(&self) -> Storage {
        let permit = self.permit(Action::ListAccounts, Resource::Registry);
        self.people.quotas.show_account(&permit, self.acme).expect("shown")
    }

    async fn push(&self, name: &str, bytes: &[u8]) -> Answer {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", digest(bytes));
        self.ask(Method::POST, &path, &[("authorization", &anna())], bytes.to_vec()).await
    }

    async fn put(&self, name: &str, tag: &str, manifest: &str) -> Answer {
        let path = format!("/v2/{name}/manifests/{tag}");
        let headers = [("authorization", anna()), ("content-type", OCI.to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.ask(Method::PUT, &path, &headers, manifest.to_owned()).await
    }

    async fn asked(&self, method: Method, path: &str) -> Answer {
        self.as_whom(method, path, &anna()).await
    }

    /// What the repositories of an organisation hold, from their own rows.
    fn recount(&self, organisation: &str) -> (u64, u64) {
        let mut held = BTreeMap::new();
        let within = format!("{organisation}/");
        for (_, record) in self.meta().page::<RepositoryKey>(within.as_bytes(), None, 1000).expect("rows") {
            let prefix = RepositoryBlobKey::prefix(record.id);
            let blobs = self.meta().page::<RepositoryBlobKey>(&prefix, None, 10_000).expect("rows");
            held.extend(blobs.into_iter().map(|(key, row)| (key.digest, row.size)));
            let manifests = self.meta().page::<ManifestKey>(&prefix, None, 10_000).expect("rows");
            held.extend(manifests.into_iter().map(|(key, row)| (key.digest, row.size)));
        }
        (held.values().sum(), held.len() as u64)
    }

    fn agrees(&self, organisations: &[&str], after: &str) {
        let mut all = 0;
        for name in organisations {
            let Storage { used, blobs, reserved, .. } = self.storage(name);
            assert_eq!((used, blobs), self.recount(name), "{name} after {after}");
            assert_eq!(reserved, 0, "{name} after {after}");
            all += used;
        }
        assert_eq!(self.account_storage().used, all, "the account after {after}");
    }

    fn room(&self, name: &str, named: Option<&[u8]>) -> Reservation {
        let name: RepositoryName = name.parse().expect("a name");
        let digest = named.map(|bytes| digest(bytes).parse().expect("a digest"));
        self.people.quotas.reservation(&name, digest)
    }
}

fn refused(answer: &Answer, says: &str) {
    let (status, code, message) = answer.refusal();
    assert_eq!((status, code.as_str()), (403, "DENIED"), "{answer:?}");
    assert!(message.contains(says), "{message}");
}

fn is_full(grown: Result<(), Error>) -> bool {
    match grown {
        Ok(()) => false,
        Err(Error::Quota(_)) => true,
        Err(error) => panic!("{error}"),
    }
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[tokio::test]
async fn a_push_that_would_pass_the_quota_is_refused_and_leaves_nothing() {
    let house = House::open().await;
    house.quota("acme", Some(100)).await;
    assert_eq!(house.push("acme/web", &[1; 60]).await.status, 201);
    let answer = house.push("acme/web", &[2; 41]).await;
    refused(
        &answer,
        "the organization acme has a storage quota of 0.0000001 GB, 0.00000006 GB of it are used",
    );
    assert_eq!(house.push("acme/api", &[3; 40]).await.status, 201, "exactly full");
    refused(&house.push("acme/api", &[4; 1]).await, "acme");
    assert_eq!(house.push("acme/other", &[1; 60]).await.status, 201, "the organisation has it");
    let storage = house.storage("acme");
    assert_eq!((storage.used, storage.left(), storage.blobs), (100, Some(0), 2));
    house.agrees(&["acme"], "all");
    let refusals = house.people.quotas.overview().expect("read").refused;
    assert_eq!(refusals, 2);
}

#[tokio::test]
async fn a_session_that_does_not_fit_ends_and_gives_everything_back() {
    let house = House::open().await;
    house.quota("acme", Some(100)).await;
    let anna = anna();
    let open = async || {
        let answer = house.asked(Method::POST, "/v2/acme/web/blobs/uploads/").await;
        assert_eq!(answer.status, 202);
        let location = answer.header("location").to_owned();
        location.split_once("/v2/").map(|(_, path)| format!("/v2/{path}")).expect("a path")
    };
    let first = open().await;
    let headers = [("authorization", anna.as_str())];
    assert_eq!(house.ask(Method::PATCH, &first, &headers, vec![1; 70]).await.status, 202);
    assert_eq!(house.storage("acme").reserved, 70);
    let second = open().await;
    refused(&house.ask(Method::PATCH, &second, &headers, vec![2; 31]).await, "0.00000007 GB reserved");
    assert_eq!(house.asked(Method::GET, &second).await.status, 404, "it ended");
    let with = |path: &str, bytes: &[u8]| format!("{path}?digest={}", digest(bytes));
    let mut whole = vec![1; 70];
    whole.extend([3; 40]);
    let answer = house.ask(Method::PUT, &with(&first, &whole), &headers, vec![3; 40]).await;
    refused(&answer, "acme");
    assert_eq!(house.asked(Method::GET, &first).await.status, 404);
    assert_eq!(house.storage("acme").reserved, 0);
    let third = open().await;
    assert_eq!(house.ask(Method::PATCH, &third, &headers, vec![1; 100]).await.status, 202);
    let wrong = house.ask(Method::PUT, &with(&third, b"other"), &headers, "").await;
    assert_eq!(wrong.status, 400);
    assert_eq!(house.storage("acme").reserved, 100, "it goes on");
    assert_eq!(house.ask(Method::PUT, &with(&third, &[1; 100]), &headers, "").await.status, 201);
    house.agrees(&["acme"], "all");
    let cancelled = open().await;
    assert_eq!(house.asked(Method::DELETE, &cancelled).await.status, 204);
    house.agrees(&["acme"], "a cancel");
}

#[tokio::test]
async fn content_that_the_organisation_has_costs_nothing_even_when_it_is_full() {
    let house = House::open().await;
    house.organisation("two").await;
    assert_eq!(house.push("acme/web", b"layer").await.status, 201);
    assert_eq!(house.push("two/web", b"another layer").await.status, 201);
    house.quota("acme", Some(5)).await;
    let mount = |to: &str, from: &str, bytes: &[u8]| {
        format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", digest(bytes))
    };
    assert_eq!(house.asked(Method::POST, &mount("acme/api", "acme/web", b"layer")).await.status, 201);
    assert_eq!(house.push("acme/db", b"layer").await.status, 201);
    refused(&house.asked(Method::POST, &mount("acme/api", "two/web", b"another layer")).await, "acme");
    let described = json!({"mediaType": "text/plain", "digest": digest(b"layer"), "size": 5});
    let image = json!({"schemaVersion": 2, "mediaType": OCI, "config": described, "layers": []}).to_string();
    refused(&house.put("acme/api", "v1", &image).await, "acme");
    house.quota("acme", Some(5 + image.len() as u64)).await;
    assert_eq!(house.put("acme/api", "v1", &image).await.status, 201);
    assert_eq!(house.put("acme/db", "v1", &image).await.status, 201, "the same manifest elsewhere");
    assert_eq!(house.put("acme/api", "v2", &image).await.status, 201, "another tag");
    house.agrees(&["acme", "two"], "all");
}

#[tokio::test]
async fn a_quota_below_what_is_used_is_kept_by_refusing_until_less_is_used() {
    let house = House::open().await;
    assert_eq!(house.push("acme/web", &[1; 50]).await.status, 201);
    assert_eq!(house.push("acme/web", &[2; 30]).await.status, 201);
    house.quota("acme", Some(60)).await;
    let storage = house.storage("acme");
    assert_eq!((storage.used, storage.left()), (80, Some(0)));
    refused(&house.push("acme/web", &[3; 10]).await, "acme");
    let remove = format!("/v2/acme/web/blobs/{}", digest(&[2; 30]));
    assert_eq!(house.asked(Method::DELETE, &remove).await.status, 202);
    assert_eq!(house.push("acme/web", &[3; 10]).await.status, 201);
    house.quota("acme", None).await;
    assert_eq!(house.push("acme/web", &[4; 1000]).await.status, 201);
    house.agrees(&["acme"], "all");
}

#[tokio::test]
async fn an_account_has_a_quota_for_all_its_organisations_together() {
    let house = House::open().await;
    house.organisation("two").await;
    assert_eq!(house.push("acme/web", &[1; 50]).await.status, 201);
    house.account_quota(Some(100)).await;
    assert_eq!(house.push("two/web", &[1; 50]).await.status, 201, "again, in another organisation");
    refused(&house.push("two/web", &[2; 1]).await, "the account acme has a storage quota of 0.0000001 GB");
    refused(&house.push("acme/web", &[2; 1]).await, "the account acme");
    let storage = house.account_storage();
    assert_eq!((storage.used, storage.left(), storage.blobs), (100, Some(0), 2));
    house.account_quota(None).await;
    assert_eq!(house.push("two/web", &[2; 1]).await.status, 201);
    house.agrees(&["acme", "two"], "all");
}

#[tokio::test]
async fn an_organisation_that_goes_takes_its_quota_with_it() {
    let house = House::open().await;
    house.organisation("two").await;
    house.quota("two", Some(5)).await;
    assert_eq!(house.push("two/web", b"layer").await.status, 201);
    let repository = Resource::Repository("two/web".parse().expect("a name"));
    let permit = house.permit(Action::DeleteRepository, repository);
    house.images.delete_repository(&permit).await.expect("removed");
    let permit = house.permit(Action::DeleteOrganisation, organisation("two"));
    house.people.organisations.delete(&permit).await.expect("removed");
    house.organisation("two").await;
    let storage = house.storage("two");
    assert_eq!((storage.quota, storage.used, storage.blobs), (None, 0, 0));
    assert_eq!(house.meta().page::<OrganisationUsageKey>(&[], None, 10).expect("rows"), []);
    house.agrees(&["acme", "two"], "all");
}

#[tokio::test]
async fn organisations_made_at_once_are_never_more_than_an_account_may_own() {
    let house = House::with(false, |settings| settings.identity.organisations_per_account = 4).await;
    let house = Arc::new(house);
    let mut making = tokio::task::JoinSet::new();
    for n in 0..16 {
        let house = Arc::clone(&house);
        making.spawn(async move {
            let permit = house.permit(Action::CreateOrganisation, organisation(&format!("org{n}")));
            house.people.organisations.create(&permit, Some(house.acme)).await
        });
    }
    let made = making.join_all().await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3, "beside acme");
    let limit =
        |made: &Result<(), Error>| matches!(made, Err(Error::Limit { what: "organisations", limit: 4 }));
    assert_eq!(made.iter().filter(|made| limit(made)).count(), 13);
}

#[tokio::test]
async fn what_is_reserved_and_used_never_passes_the_quota() {
    let house = House::open().await;
    house.quota("acme", Some(100)).await;
    let (first, second) = (house.room("acme/web", None), house.room("acme/api", None));
    assert!(!is_full(first.grow_to(60).await));
    assert!(is_full(second.grow_to(41).await));
    assert!(!is_full(second.grow_to(40).await));
    assert!(!is_full(first.grow_to(10).await), "it has that");
    assert_eq!(house.storage("acme").reserved, 100);
    first.stand_at(10);
    assert!(!is_full(second.stream_to(41).await), "no whole step, but that");
    assert!(is_full(second.stream_to(91).await));
    drop(first);
    assert!(!is_full(second.stream_to(91).await));
    drop(second);
    assert_eq!(house.storage("acme").reserved, 0);
}

#[tokio::test]
async fn uploads_that_name_the_same_content_reserve_it_once() {
    let house = House::open().await;
    house.quota("acme", Some(100)).await;
    let rooms: Vec<Reservation> = (0..3).map(|_| house.room("acme/web", Some(b"x"))).collect();
    for (room, bytes) in rooms.iter().zip([60, 90, 70]) {
        assert!(!is_full(room.grow_to(bytes).await), "{bytes}");
    }
    assert_eq!(house.storage("acme").reserved, 90);
    rooms[1].stand_at(0);
    assert_eq!(house.storage("acme").reserved, 70, "the largest that is left");
    let unnamed = house.room("acme/web", None);
    assert!(!is_full(unnamed.grow_to(30).await));
    unnamed.name(digest(b"x").parse().expect("a digest"));
    assert_eq!(house.storage("acme").reserved, 70);
    assert_eq!(house.push("acme/web", b"x").await.status, 201);
    assert_eq!(house.storage("acme").reserved, 0, "the organisation has it now");
    assert!(!is_full(rooms[0].grow_to(1_000_000).await));
    drop((rooms, unnamed));
    house.agrees(&["acme"], "all");
}

#[tokio::test]
async fn who_does_not_fit_beside_a_commit_under_way_waits_for_its_end() {
    let house = Arc::new(House::open().await);
    house.quota("acme", Some(100)).await;
    let committing = house.room("acme/web", None);
    assert!(!is_full(committing.grow_to(60).await));
    let settling = committing.settle();
    let mut waiting = tokio::task::JoinSet::new();
    let late = Arc::clone(&house);
    waiting.spawn(async move { is_full(late.room("acme/api", None).grow_to(50).await) });
    tokio::task::yield_now().await;
    assert!(waiting.try_join_next().is_none(), "60 of what is counted may be counted twice");
    let named: Digest = digest(b"it failed").parse().expect("a digest");
    settling.done(&named);
    assert_eq!(waiting.join_all().await, [false], "there is room");
    let settling = committing.settle();
    drop(settling);
    assert!(is_full(house.room("acme/api", None).grow_to(101).await));
}

#[tokio::test]
async fn what_older_versions_did_not_count_is_counted_once() {
    let house = House::open().await;
    house.organisation("two").await;
    for name in ["acme/web", "acme/api", "two/web"] {
        for bytes in [&b"layer"[..], b"config", name.as_bytes()] {
            assert_eq!(house.push(name, bytes).await.status, 201);
        }
        let described = json!({"mediaType": "text/plain", "digest": digest(b"layer"), "size": 5});
        let image = json!({"schemaVersion": 2, "mediaType": OCI, "config": described, "layers": []});
        assert_eq!(house.put(name, "v1", &image.to_string()).await.status, 201);
    }
    let rows = || {
        let blobs = house.meta().page::<OrganisationBlobKey>(&[], None, 1000).expect("rows");
        let usage = house.meta().page::<OrganisationUsageKey>(&[], None, 1000).expect("rows");
        let held = house.meta().page::<CounterKey>(b"bytes of ", None, 1000).expect("rows");
        (blobs, usage, held)
    };
    let counted = rows();
    assert_eq!((counted.0.len(), counted.1.len(), counted.2.len()), (5 + 4, 2, 1));
    // A stop left some of it.
    let some = counted.0[0].0.clone();
    house.meta().commit(move |tx| tx.delete(&some)).await.expect("removed");
    assert_eq!(house.people.quotas.count_once().await.expect("counted"), Some(12));
    assert_eq!(rows(), counted);
    assert_eq!(house.people.quotas.count_once().await.expect("looked"), None, "once");
    house.agrees(&["acme", "two"], "a count");
}

#[tokio::test]
async fn who_reads_sees_the_quota_and_who_manages_sets_it() {
    let house = House::open().await;
    assert_eq!(house.push("acme/web", &[1; 500]).await.status, 201);
    let path = "/v2/manage/namespaces/acme/storage-quota";
    let json = ("content-type", "application/json");
    for (name, level, shows, sets) in [
        ("reader", Some(Level::Read), 200, 403),
        ("editor", Some(Level::Edit), 200, 403),
        ("manager", Some(Level::Manage), 200, 200),
        ("nobody", None, 404, 404),
    ] {
        let user = house.user(name, &[]).await;
        if let Some(level) = level {
            house.grant(user, level).await;
        }
        let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user":
            {"name": name, "password": PASSWORD, "domain": {"name": "acme"}}}}}});
        let signed = house.ask(Method::POST, "/v3/auth/tokens", &[json], body.to_string()).await;
        let headers = [("x-auth-token", signed.header("x-subject-token")), json];
        assert_eq!(house.ask(Method::GET, path, &headers, "").await.status, shows, "{name}");
        let set = house.ask(Method::PUT, path, &headers, r#"{"storage_quota":2,"unit":"GB"}"#).await;
        assert_eq!(set.status, sets, "{name}: {set:?}");
        if sets == 200 {
            let expected = json!({"namespace": "acme", "storage_quota": 2.0, "used": 5e-7,
                "left": 1.9999995, "unit": "GB"});
            assert_eq!(set.json(), expected);
            let other = house.ask(Method::PUT, path, &headers, r#"{"storage_quota":2,"unit":"MB"}"#).await;
            assert_eq!(other.status, 400, "{other:?}");
            let none = house.ask(Method::PUT, path, &headers, r#"{"storage_quota":null}"#).await;
            assert_eq!((none.status, &none.json()["left"]), (200, &json!(null)));
        }
    }
}

/// Pushes, mounts, images and deletes at random: what is used is the recount after each, and what is let in is what fits.
#[tokio::test]
async fn what_is_used_is_what_a_recount_says_after_every_step() {
    const ORGANISATIONS: [&str; 3] = ["acme", "two", "three"];
    const REPOSITORIES: [&str; 6] = ["acme/a", "acme/b", "acme/c/d", "two/a", "two/b", "three/a"];
    let house = House::open().await;
    house.organisation("two").await;
    house.organisation("three").await;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let contents: Vec<Vec<u8>> = (1..=12u8).map(|n| vec![n; usize::from(n) * 7]).collect();
    let (mut accepted, mut full) = (0, 0);
    for step in 0..600 {
        let name = REPOSITORIES[numbers.below(6) as usize];
        let organisation = name.split('/').next().expect("one");
        let content = &contents[numbers.below(12) as usize];
        let before = house.storage(organisation);
        let choice = numbers.below(100);
        let after = format!("step {step}: {choice} {name} {}", content.len());
        let answer = match choice {
            0..35 => house.push(name, content).await,
            35..55 => {
                let from = REPOSITORIES[numbers.below(6) as usize];
                let path = format!("/v2/{name}/blobs/uploads/?mount={}&from={from}", digest(content));
                house.asked(Method::POST, &path).await
            }
            55..70 => {
                let described =
                    json!({"mediaType": "text/plain", "digest": digest(content), "size": content.len()});
                let image = json!({"schemaVersion": 2, "mediaType": OCI, "config": described, "layers": []});
                house.put(name, &format!("v{}", numbers.below(4)), &image.to_string()).await
            }
            70..85 => house.asked(Method::DELETE, &format!("/v2/{name}/blobs/{}", digest(content))).await,
            85..92 => {
                let tag = house.asked(Method::HEAD, &format!("/v2/{name}/manifests/v1")).await;
                let path = format!("/v2/{name}/manifests/{}", tag.header("docker-content-digest"));
                house.asked(Method::DELETE, &path).await
            }
            92..95 => {
                let Ok(resource) = name.parse().map(Resource::Repository) else { continue };
                let permit = house.permit(Action::DeleteRepository, resource);
                // It may not be there.
                let _ = house.images.delete_by(&permit, 3).await;
                house.asked(Method::GET, "/v2/").await
            }
            _ => {
                let bytes = (numbers.below(4) > 0).then(|| numbers.below(1200));
                house.quota(organisation, bytes).await;
                house.asked(Method::GET, "/v2/").await
            }
        };
        house.agrees(&ORGANISATIONS, &after);
        let now = house.storage(organisation);
        match (answer.status, now.quota) {
            (201, Some(quota)) => assert!(now.used <= quota || now.used <= before.used, "{after}"),
            (403, quota) => {
                full += 1;
                assert!(quota.is_some() && now.used == before.used, "{after}: {answer:?}");
            }
            _ => {}
        }
        accepted += u32::from(answer.status == 201);
    }
    assert!(accepted > 100 && full > 20, "{accepted} accepted, {full} refused");
}

#[tokio::test]
async fn what_is_held_is_counted_though_the_row_of_an_organisation_was_lost() {
    let house = House::open().await;
    house.organisation("two").await;
    for name in ["acme/web", "two/web"] {
        assert_eq!(house.push(name, b"layer").await.status, 201);
    }
    let lost = OrganisationKey { name: "two".to_owned() };
    house.meta().commit(move |tx| tx.delete(&lost)).await.expect("removed");
    house.people.quotas.count_again().await.expect("a start goes on");
    let usage = house.meta().page::<OrganisationUsageKey>(&[], None, 1000).expect("rows");
    assert_eq!(usage.iter().map(|(_, usage)| usage.bytes).collect::<Vec<_>>(), [5]);
    assert_eq!(house.people.quotas.count_once().await.expect("looked"), None);
}
