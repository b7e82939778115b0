//! Versions of an image, what is about them, and how often it was pulled.

use serde_json::{Value, json};

use super::client::{Client, House};
use super::support::images::{OCI_INDEX, OCI_MANIFEST, artifact_of, descriptor, index_of};
use super::support::{Image, Kind, Response, sha256};

const REPO: &str = "/v2/manage/namespaces/group/repos/a$b";
const NAME: &str = "group/a/b";

/// With the image `group/a/b` in some versions: `v1` and `v2`, then `all`, an index of both.
fn open() -> Option<(House, Image, Image)> {
    let house = House::open()?;
    house.admin.post("/v2/manage/namespaces", json!({"namespace": "group"})).empty(201);
    let one = house.push(&house.admin, NAME, "v1", 1);
    let two = house.push(&house.admin, NAME, "v2", 2);
    let index = index_of(Kind::Oci, &[one.descriptor(), two.descriptor()]);
    put(&house.admin, "all", OCI_INDEX, &index).expect(201);
    Some((house, one, two))
}

fn put(who: &Client, reference: &str, media_type: &str, manifest: &Value) -> Response {
    let put = who.http.put(&format!("/v2/{NAME}/manifests/{reference}")).header("Authorization", who.login());
    put.header("Content-Type", media_type).body(serde_json::to_vec(manifest).expect("JSON")).send()
}

fn tags(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|item| item["Tag"].as_str().expect("a capital Tag")).collect()
}

#[test]
fn a_version_is_told_with_all_that_clients_decode() {
    let Some((house, one, two)) = open() else { return };
    let (admin, host) = (&house.admin, house.server.address());
    let list = admin.get(&format!("{REPO}/tags")).expect(200);
    assert_eq!(list.need("content-range"), "0-3/3");
    let list = list.json();
    assert_eq!(tags(&list), ["all", "v1", "v2"]);
    let item = &list[1];
    let (id, repo_id, created) = (item["id"].clone(), item["repo_id"].clone(), item["created"].clone());
    assert!(id.is_u64() && repo_id.is_u64() && created.as_str().unwrap().ends_with('Z'), "{item}");
    let size = one.manifest.len() + one.blobs().map(<[u8]>::len).sum::<usize>();
    let config = sha256(&one.config);
    let path = format!("{host}/{NAME}:v1");
    let mut expected = json!({
        "id": id, "repo_id": repo_id, "Tag": "v1", "image_id": config.strip_prefix("sha256:"),
        "manifest": String::from_utf8(one.manifest.clone()).unwrap(), "digest": one.digest(), "schema": 2,
        "path": path, "internal_path": path, "size": size, "is_trusted": false, "created": created,
        "updated": created, "deleted": null, "domain_id": item["domain_id"], "scanned": false, "tag_type": 0,
    });
    assert_eq!(*item, expected);
    let all = &list[0];
    assert_eq!((&all["tag_type"], &all["image_id"]), (&json!(1), &json!("")));
    let both = size + two.manifest.len() + two.blobs().map(<[u8]>::len).sum::<usize>();
    assert_eq!(all["size"], both + all["manifest"].as_str().expect("text").len());
    // One alone has its name in lower case, and neither of the last two.
    let shown = admin.get(&format!("{REPO}/tags/v1")).expect(200).json();
    for gone in ["Tag", "deleted", "scanned"] {
        expected.as_object_mut().unwrap().remove(gone);
    }
    expected["tag"] = json!("v1");
    assert_eq!(shown, expected);
    admin.get(&format!("{REPO}/tags/v9")).refusal(404, "4040048");
    admin.get("/v2/manage/namespaces/group/repos/none/tags").refusal(404, "4040010");
    admin.get("/v2/manage/namespaces/group/repos/none/tags/v1").refusal(404, "4040010");
    house.ann.get(&format!("{REPO}/tags")).refusal(404, "4040058");
}

#[test]
fn the_list_of_versions_is_paged_filtered_and_ordered() {
    let Some((house, ..)) = open() else { return };
    let list = |query: &str| house.admin.get(&format!("{REPO}/tags{query}")).expect(200);
    let cases = [
        ("?limit=2&offset=0", vec!["all", "v1"], "0-2/3"),
        ("?limit=2&offset=2", vec!["v2"], "2-1/3"),
        ("?limit=2&offset=4", vec![], "4-0/3"),
        ("?filter=limit%3A%3A1%7Coffset%3A%3A1", vec!["v1"], "1-1/3"),
        ("?order_column=tag&order_type=desc", vec!["v2", "v1", "all"], "0-3/3"),
        ("?order_column=updated_at&order_type=asc", vec!["v1", "v2", "all"], "0-3/3"),
        ("?limit=1&order_column=updated_at&order_type=desc", vec!["all"], "0-1/3"),
        ("?tag=v1", vec!["v1"], "0-1/1"),
        ("?filter=tag%3A%3Av1", vec!["v1"], "0-1/1"),
        ("?tag=v1&offset=1", vec![], "1-0/1"),
        ("?tag=v", vec![], "0-0/0"),
    ];
    for (query, expected, range) in cases {
        let answer = list(query);
        assert_eq!((tags(&answer.json()), answer.need("content-range")), (expected, range), "{query}");
    }
    house.admin.get(&format!("{REPO}/tags?order_column=size")).refusal(400, "4001096");
    house.admin.get(&format!("{REPO}/tags?limit=0")).refusal(400, "4000056");
}

#[test]
fn a_version_gets_another_name_and_loses_it_which_leaves_a_clean_store() {
    let Some((mut house, one, two)) = open() else { return };
    let admin = house.admin.clone();
    let create = |body: Value| admin.post(&format!("{REPO}/tags"), body);
    create(json!({"source_tag": "v1", "destination_tag": "stable"})).empty(201);
    let digest = |tag: &str| admin.get(&format!("{REPO}/tags/{tag}")).expect(200).json()["digest"].clone();
    assert_eq!(digest("stable"), one.digest());
    create(json!({"source_tag": "v2", "destination_tag": "stable"})).refusal(409, "4090006");
    create(json!({"source_tag": "v2", "destination_tag": "stable", "override": false}))
        .refusal(409, "4090006");
    create(json!({"source_tag": "v2", "destination_tag": "stable", "override": true})).empty(201);
    assert_eq!(digest("stable"), two.digest());
    create(json!({"source_tag": "v9", "destination_tag": "new"})).refusal(404, "4040048");
    create(json!({"source_tag": "v1"})).refusal(400, "4001018");
    create(json!({"source_tag": "v1", "destination_tag": "a b"})).refusal(400, "4009021");
    let elsewhere = "/v2/manage/namespaces/group/repos/none/tags";
    admin.post(elsewhere, json!({"source_tag": "v1", "destination_tag": "x"})).refusal(404, "4040010");
    // Who may read makes no names, and who may edit takes none away here.
    let auth = |level: u8| json!([{"user_id": house.ann.id, "user_name": "ann", "auth": level}]);
    admin.post(&format!("{REPO}/access"), auth(1)).empty(201);
    let new = json!({"source_tag": "v1", "destination_tag": "ann"});
    house.ann.post(&format!("{REPO}/tags"), new.clone()).refusal(403, "4037018");
    admin.patch(&format!("{REPO}/access"), auth(3)).empty(201);
    house.ann.post(&format!("{REPO}/tags"), new).empty(201);
    house.ann.delete(&format!("{REPO}/tags/ann")).refusal(403, "4037018");
    assert_eq!(admin.get(REPO).expect(200).json()["num_images"], 5);
    for tag in ["ann", "stable", "v1"] {
        admin.delete(&format!("{REPO}/tags/{tag}")).expect(204);
        admin.delete(&format!("{REPO}/tags/{tag}")).refusal(404, "4040048");
    }
    assert_eq!(tags(&admin.get(&format!("{REPO}/tags")).expect(200).json()), ["all", "v2"]);
    assert!(house.server.stop().success());
    let checked = house.server.command(&["fsck"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn what_is_about_a_version_is_found_by_its_tag_and_by_its_subject() {
    let Some((house, one, _)) = open() else { return };
    let admin = &house.admin;
    let blob = |content: &[u8]| {
        let path = format!("/v2/{NAME}/blobs/uploads/?digest={}", sha256(content));
        admin.http.post(&path).header("Authorization", admin.login()).body(content).send().expect(201);
    };
    [&b"{}"[..], b"signed", b"listed"].into_iter().for_each(blob);
    let signature = artifact_of("application/vnd.dev.cosign.artifact.sig.v1+json", b"signed", None);
    let sig_tag = one.digest().replace(':', "-") + ".sig";
    put(admin, &sig_tag, OCI_MANIFEST, &signature).expect(201);
    let bill = artifact_of("application/spdx+json", b"listed", Some(descriptor(OCI_MANIFEST, &one.manifest)));
    put(admin, "bill", OCI_MANIFEST, &bill).expect(201);

    let found = admin.get(&format!("{REPO}/v1/accessories")).expect(200).json();
    assert_eq!(found["total"], 2);
    let signed = &found["accessories"][0];
    let bytes = serde_json::to_vec(&signature).unwrap();
    assert_eq!(
        *signed,
        json!({
            "id": signed["id"], "domain_id": signed["domain_id"], "namespace_name": "group", "repo_name": "a/b",
            "sig_tag": sig_tag, "sig_digest": sha256(&bytes), "target_digest": one.digest(),
            "size": bytes.len(), "type": "signature.cosign", "created_at": signed["created_at"],
            "updated_at": signed["created_at"],
        })
    );
    let listed = &found["accessories"][1];
    assert_eq!((&listed["sig_tag"], &listed["type"]), (&json!("bill"), &json!("application/spdx+json")));
    let page = admin.get(&format!("{REPO}/v1/accessories?limit=1&offset=1")).expect(200).json();
    assert_eq!((&page["total"], &page["accessories"][0]), (&json!(2), listed));
    let past = admin.get(&format!("{REPO}/v1/accessories?offset=9")).expect(200).json();
    assert_eq!(past, json!({"total": 2, "accessories": []}));
    assert_eq!(admin.get(&format!("{REPO}/v2/accessories")).expect(200).json()["total"], 0);
    admin.get(&format!("{REPO}/v1/accessories?limit=101")).refusal(400, "4000056");
    admin.get(&format!("{REPO}/v9/accessories")).refusal(404, "4040048");

    // The tags that name what the signature is about, to their end.
    for n in 0..24 {
        let new = json!({"source_tag": "v1", "destination_tag": format!("t{n:02}")});
        admin.post(&format!("{REPO}/tags"), new).empty(201);
    }
    for about in [sig_tag.as_str(), "bill", "v1"] {
        let (mut seen, mut marker) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("{REPO}/{about}/references?limit=10{marker}")).expect(200).json();
            let tags: Vec<String> = serde_json::from_value(page["tags"].clone()).expect("a list");
            seen.extend(tags);
            let Some(next) = page.get("next_marker") else {
                assert_eq!(page["has_more"], false);
                break;
            };
            assert_eq!(page["has_more"], true);
            marker = format!("&marker={}", next.as_str().expect("text"));
        }
        assert_eq!((seen.len(), seen[0].as_str(), seen[24].as_str()), (25, "t00", "v1"), "{about}");
    }
    admin.get(&format!("{REPO}/v1/references?limit=11")).refusal(400, "4000056");
}

#[test]
fn pulls_are_counted_told_and_kept() {
    let Some((mut house, ..)) = open() else { return };
    let admin = house.admin.clone();
    let pull = |tag: &str| {
        let get = admin.http.get(&format!("/v2/{NAME}/manifests/{tag}"));
        get.header("Authorization", admin.login()).send().expect(200);
    };
    for tag in ["v1", "v2", "all", "v1"] {
        pull(tag);
    }
    let head = admin.http.head(&format!("/v2/{NAME}/manifests/v1"));
    head.header("Authorization", admin.login()).send().expect(200);
    let count = |admin: &Client| admin.get(REPO).expect(200).json()["num_download"].clone();
    assert_eq!(count(&admin), 3, "an index is no image, and to ask is no pull");
    let item = admin.get("/v2/manage/repos").expect(200).json()[0].clone();
    assert_eq!((&item["num_download"], &item["total_range"]), (&json!(3), &json!(1)));
    assert_eq!(admin.get("/v3/manage/repos").expect(200).json()["repos"][0]["num_download"], 3);
    // What was sent is the account's traffic of today.
    let overview = admin.get("/v2/manage/overview").expect(200).json();
    let report = admin.get("/v2/manage/reports/downflow/daily").expect(200).json();
    // Two days, at midnight.
    let bytes =
        report.as_array().expect("a list").iter().map(|day| day["value"].as_f64().expect("a number")).sum();
    assert!(bytes > 1000.0, "{report}");
    assert_eq!(overview["downflow_size"].as_f64(), Some(bytes));
    assert_eq!(house.betty.get("/v2/manage/reports/downflow/daily").expect(200).json(), json!([]));
    // A stop keeps them; a kill keeps what was some seconds old.
    assert!(house.server.stop().success());
    house.server.start();
    assert_eq!(count(&admin), 3);
    pull("v2");
    let kept = house.server.command(&["jobs", "run", "pull-counters"]);
    assert!(kept.status.success(), "{}", String::from_utf8_lossy(&kept.stderr));
    house.server.kill();
    house.server.start();
    assert_eq!(count(&admin), 4);
    assert!(house.server.stop().success());
    let checked = house.server.command(&["fsck"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
