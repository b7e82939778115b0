//! Images and their lists.

use serde_json::{Value, json};

use super::client::{Client, House};

const REPOS: &str = "/v2/manage/namespaces/group/repos";

fn open() -> Option<House> {
    let house = House::open()?;
    house.admin.post("/v2/manage/namespaces", json!({"namespace": "group"})).empty(201);
    Some(house)
}

fn create(who: &Client, name: &str, public: bool) {
    who.post(REPOS, json!({"repository": name, "is_public": public})).empty(200);
}

fn names(list: &Value) -> Vec<String> {
    let items = list.as_array().expect("a bare list").iter();
    items
        .map(|item| format!("{}/{}", item["namespace"].as_str().unwrap(), item["name"].as_str().unwrap()))
        .collect()
}

#[test]
fn an_image_is_made_shown_changed_and_removed_under_every_spelling_of_its_name() {
    let Some(house) = open() else { return };
    let admin = &house.admin;
    let new = json!({"repository": "a/b", "is_public": false, "category": "linux", "description": "d"});
    admin.post(REPOS, new.clone()).empty(200);
    admin.post(REPOS, new).refusal(409, "4090006");
    for (body, code) in [
        (json!({"repository": "A", "is_public": false}), "4001029"),
        (json!({"repository": "a"}), "4001018"),
        (json!({"is_public": true}), "4001018"),
        (json!({"repository": "a", "is_public": false, "category": "toys"}), "4001025"),
    ] {
        admin.post(REPOS, body).refusal(400, code);
    }
    let long = json!({"repository": "c", "is_public": false, "description": "x".repeat(30_001)});
    admin.post(REPOS, long).refusal(413, "4131012");
    admin
        .post("/v2/manage/namespaces/nothing/repos", json!({"repository": "a", "is_public": false}))
        .refusal(404, "4040058");
    house.betty.post(REPOS, json!({"repository": "c", "is_public": false})).refusal(404, "4040058");

    let host = house.server.address();
    for spelling in ["a$b", "a%24b", "a%2Fb"] {
        let shown = admin.get(&format!("{REPOS}/{spelling}")).expect(200).json();
        let (id, ns) = (shown["id"].clone(), shown["ns_id"].clone());
        let (created, updated) = (shown["created"].clone(), shown["updated"].clone());
        assert!(id.is_u64() && ns.is_u64() && created.as_str().unwrap().ends_with('Z'), "{shown}");
        let account = shown["domain_id"].clone();
        let expected = json!({
            "id": id, "ns_id": ns, "name": "a/b", "category": "linux", "description": "d",
            "creator_id": admin.id, "creator_name": "admin", "size": 0, "is_public": false, "num_images": 0,
            "num_download": 0, "url": "", "path": format!("{host}/group/a/b"),
            "internal_path": format!("{host}/group/a/b"), "created": created, "updated": updated,
            "domain_id": account, "priority": 0,
        });
        assert_eq!(shown, expected, "{spelling}");
    }
    let path = format!("{REPOS}/a$b");
    admin.patch(&path, json!({"is_public": true, "category": "arms", "description": ""})).empty(201);
    let shown = admin.get(&path).expect(200).json();
    assert_eq!(
        (&shown["category"], &shown["is_public"], &shown["description"]),
        (&json!("arm"), &json!(true), &json!(""))
    );
    admin.patch(&format!("{REPOS}/x"), json!({"is_public": true})).refusal(404, "4040010");
    // Anybody may look at a public image, and no more.
    assert_eq!(house.betty.get(&path).expect(200).json()["name"], "a/b");
    house.betty.delete(&path).refusal(403, "4037018");
    admin.delete(&path).expect(204);
    admin.delete(&path).refusal(404, "4040010");
    admin.get(&path).refusal(404, "4040010");
}

#[test]
fn an_image_goes_with_all_in_it_and_what_its_store_says_stays_true() {
    let Some(mut house) = open() else { return };
    let admin = house.admin.clone();
    for tag in ["v1", "v2", "v3"] {
        house.push(&admin, "group/gone", tag, 1);
        house.push(&admin, "group/kept", tag, 2);
    }
    let ann = json!([{"user_id": house.ann.id, "user_name": "ann", "auth": 1}]);
    admin.post(&format!("{REPOS}/gone/access"), ann).empty(201);
    let shown = admin.get(&format!("{REPOS}/gone")).expect(200).json();
    assert_eq!(shown["num_images"], 3);
    assert!(shown["size"].as_u64().unwrap() > 500, "{shown}");
    admin.delete(&format!("{REPOS}/gone")).expect(204);
    let login = admin.login();
    let list = |name: &str| {
        admin.http.get(&format!("/v2/group/{name}/tags/list")).header("Authorization", &login).send()
    };
    list("gone").expect(404);
    assert_eq!(list("kept").expect(200).json()["tags"], json!(["v1", "v2", "v3"]));
    // One of its name starts with nothing, and nobody's rights.
    create(&admin, "gone", false);
    assert_eq!(admin.get(&format!("{REPOS}/gone")).expect(200).json()["num_images"], 0);
    house.ann.get(&format!("{REPOS}/gone")).refusal(404, "4040058");
    assert!(house.server.stop().success());
    let checked = house.server.command(&["fsck"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// With 14 images in two organisations, one of them pushed to.
fn filled() -> Option<House> {
    let house = open()?;
    let admin = &house.admin;
    admin.post("/v2/manage/namespaces", json!({"namespace": "other"})).empty(201);
    for n in 0..12 {
        create(admin, &format!("r{n:02}"), n % 2 == 0);
    }
    let new = json!({"repository": "a/z", "is_public": false, "category": "lang"});
    admin.post("/v2/manage/namespaces/other/repos", new).empty(200);
    house.push(admin, "other/r05", "v1", 1);
    house.push(admin, "other/r05", "v2", 2);
    Some(house)
}

#[test]
fn the_list_of_images_tells_all_of_each_and_is_paged_to_its_end() {
    let Some(house) = filled() else { return };
    let admin = &house.admin;
    let whole = admin.get("/v2/manage/repos").expect(200);
    assert_eq!(whole.need("content-range"), "0-14/14");
    let all = names(&whole.json());
    assert_eq!((all.len(), all[0].as_str(), all[12].as_str()), (14, "group/r00", "other/a/z"));
    let pushed = whole.json()[13].clone();
    let (created, updated) = (pushed["created_at"].clone(), pushed["updated_at"].clone());
    let path = format!("{}/other/r05", house.server.address());
    let size = pushed["size"].as_u64().expect("a number");
    assert_eq!(
        pushed,
        json!({
            "name": "r05", "category": "other", "description": "", "size": size, "is_public": false,
            "num_images": 2, "num_download": 0, "created_at": created, "updated_at": updated, "logo": "",
            "url": "", "path": path, "internal_path": path, "domain_name": "main", "namespace": "other",
            "tags": ["v1", "v2"], "status": false, "total_range": 14,
        })
    );
    assert!(size > 500);

    // As Terraform asks, until the offset is the total.
    let (mut seen, mut offset) = (Vec::new(), 0);
    loop {
        let page = admin.get(&format!("/v2/manage/repos?limit=5&offset={offset}")).expect(200);
        let items = page.json();
        let count = items.as_array().expect("a list").len();
        assert_eq!(page.need("content-range"), format!("{offset}-{count}/14"));
        assert!(items.as_array().unwrap().iter().all(|item| item["total_range"] == 14));
        seen.extend(names(&items));
        offset += count;
        if offset == 14 {
            break;
        }
    }
    assert_eq!(seen, all);
    let past = admin.get("/v2/manage/repos?limit=5&offset=50").expect(200);
    assert_eq!((past.json(), past.need("content-range")), (json!([]), "50-0/14"));
}

#[test]
fn the_list_of_images_is_filtered_and_ordered() {
    let Some(house) = filled() else { return };
    let admin = &house.admin;
    let cases = [
        ("namespace=oth", "other/a/z other/r05"),
        ("name=r05", "group/r05 other/r05"),
        ("name=a%24z", "other/a/z"),
        ("category=lang", "other/a/z"),
        ("is_public=true&name=r1", "group/r10"),
        ("filter=namespace%3A%3Agroup%7Cname%3A%3Ar1%7Climit%3A%3A10%7Coffset%3A%3A0", "group/r10 group/r11"),
        ("filter=namespace%3A%3Aother&name=nothing", "other/a/z other/r05"),
        ("order_column=tag_count&order_type=desc&limit=1", "other/r05"),
        ("order_column=updated_at&order_type=desc&limit=2", "other/r05 other/a/z"),
        ("order_column=updated_time&order_type=asc&limit=2&offset=1", "group/r01 group/r02"),
        ("order_column=name&order_type=asc&limit=2", "other/a/z group/r00"),
        ("order_column=name&order_type=desc&limit=1&offset=13", "other/a/z"),
        ("order_column=namespace&order_type=desc&limit=1", "other/r05"),
        ("order_column=is_public&order_type=asc&limit=1", "group/r01"),
    ];
    for (query, expected) in cases {
        let found = admin.get(&format!("/v2/manage/repos?{query}")).expect(200);
        assert_eq!(names(&found.json()).join(" "), expected, "{query}");
    }
    let refused = [
        ("order_column=num_images&order_type=asc", "4001096"),
        ("filter=namespace", "4001035"),
        ("limit=1001", "4000056"),
        ("limit=0", "4000056"),
        ("offset=-1", "4000056"),
        ("order_column=name&order_type=up", "4001024"),
        ("is_public=1", "4001024"),
        ("category=toys", "4001025"),
    ];
    for (query, code) in refused {
        admin.get(&format!("/v2/manage/repos?{query}")).refusal(400, code);
    }
}

#[test]
fn a_list_has_what_is_ones_business() {
    let Some(house) = filled() else { return };
    let admin = &house.admin;
    // Public images of others are not one's own, those of one's account are.
    assert_eq!(house.betty.get("/v2/manage/repos").expect(200).json(), json!([]));
    let public = house.ann.get("/v2/manage/repos").expect(200).json();
    assert_eq!(names(&public).join(" "), "group/r00 group/r02 group/r04 group/r06 group/r08 group/r10");
    let grant = json!([{"user_id": house.ann.id, "user_name": "ann", "auth": 1}]);
    admin.post(&format!("{REPOS}/r01/access"), grant).empty(201);
    let granted = house.ann.get("/v2/manage/repos?is_public=false").expect(200).json();
    assert_eq!(names(&granted), ["group/r01"]);
}
