//! The loops of Terraform's data sources (swr-api §12.3) end, and have everything once; names in every spelling.

use serde_json::{Value, json};

use super::client::House;

/// More rounds than any loop here has.
const ENOUGH: usize = 50;

fn open() -> Option<House> {
    let house = House::open()?;
    let admin = &house.admin;
    admin.post("/v2/manage/namespaces", json!({"namespace": "group"})).empty(201);
    for n in 0..23 {
        let new = json!({"repository": format!("a/r{n:02}"), "is_public": false});
        admin.post("/v2/manage/namespaces/group/repos", new).empty(200);
    }
    let new = house.push(admin, "group/a/r00", "t00", 1);
    assert!(!new.manifest.is_empty());
    for n in 1..23 {
        let body = json!({"source_tag": "t00", "destination_tag": format!("t{n:02}")});
        admin.post("/v2/manage/namespaces/group/repos/a$r00/tags", body).empty(201);
    }
    Some(house)
}

fn names(items: &Value, field: &str) -> Vec<String> {
    let items = items.as_array().expect("a list").iter();
    items.map(|item| item[field].as_str().unwrap_or_else(|| panic!("{field} of {item}")).to_owned()).collect()
}

/// Sorted, each once.
fn expected(prefix: &str) -> Vec<String> {
    (0..23).map(|n| format!("{prefix}{n:02}")).collect()
}

#[test]
fn a_loop_by_the_total_of_the_first_item_ends() {
    let Some(house) = open() else { return };
    let admin = &house.admin;
    for name in ["a$r03", "a$r04"] {
        let body = json!({"access_domain": "beta", "permit": "read", "deadline": "forever"});
        admin
            .post(&format!("/v2/manage/namespaces/group/repositories/{name}/access-domains"), body)
            .empty(201);
    }
    let cases = [
        ("/v2/manage/repos?", admin, 23),
        ("/v2/manage/shared-repositories?center=self&", admin, 2),
        ("/v2/manage/shared-repositories?center=thirdparty&", &house.betty, 2),
        ("/v2/manage/shared-repositories?center=thirdparty&", admin, 0),
    ];
    for (path, who, count) in cases {
        let (mut seen, mut rounds) = (Vec::new(), 0);
        loop {
            rounds += 1;
            assert!(rounds < ENOUGH, "{path} has no end");
            let page = who.get(&format!("{path}limit=10&offset={}", seen.len())).expect(200).json();
            let total = page[0]["total_range"].as_u64().unwrap_or(0);
            seen.extend(names(&page, "name"));
            if seen.len() as u64 == total {
                break;
            }
        }
        assert_eq!(seen.len(), count, "{path}");
    }
}

#[test]
fn a_loop_to_an_empty_page_ends() {
    let Some(house) = open() else { return };
    let repo = "/v2/manage/namespaces/group/repos/a$r00";
    let cases = [
        (format!("{repo}/tags?limit=10&offset=OFFSET"), "", 23),
        (format!("{repo}/sync_job?filter=limit%3A%3A10%7Coffset%3A%3AOFFSET"), "", 0),
        (format!("{repo}/retentions/histories?limit=10&offset=OFFSET"), "retention_log", 0),
    ];
    for (path, field, count) in cases {
        let (mut seen, mut rounds) = (Vec::new(), 0);
        loop {
            rounds += 1;
            assert!(rounds < ENOUGH, "{path} has no end");
            let page = house.admin.get(&path.replace("OFFSET", &seen.len().to_string())).expect(200).json();
            let items = if field.is_empty() { &page } else { &page[field] };
            if items.as_array().expect("a list").is_empty() {
                break;
            }
            seen.extend(names(items, "Tag"));
        }
        assert_eq!(seen, expected("t")[..count], "{path}");
    }
}

#[test]
fn a_loop_to_a_page_without_a_marker_ends() {
    let Some(house) = open() else { return };
    let admin = &house.admin;
    let repositories = "/v3/manage/repos?limit=10";
    let shared = "/v3/manage/shared-repositories?shared_by=self&limit=1";
    for name in ["a$r03", "a$r04"] {
        let body = json!({"access_domain": "beta", "permit": "read", "deadline": "forever"});
        admin
            .post(&format!("/v2/manage/namespaces/group/repositories/{name}/access-domains"), body)
            .empty(201);
    }
    for (path, field, marker, count) in [
        (repositories, "repos", "nextMarker", 23),
        (shared, "repos", "nextMarker", 2),
        ("/v3/manage/namespaces/group/repos/a$r00/tags?limit=10", "tags", "next_marker", 23),
        (
            "/v3/manage/namespaces/group/repos/a$r00/tags?limit=23&order_column=updated_at&order_type=desc",
            "tags",
            "nextMarker",
            23,
        ),
        (
            "/v3/manage/namespaces/group/repos/a$r00/tags?limit=7&order_column=updated_at&order_type=asc",
            "tags",
            "next_marker",
            23,
        ),
    ] {
        let (mut seen, mut rounds, mut next) = (Vec::new(), 0, String::new());
        loop {
            rounds += 1;
            assert!(rounds < ENOUGH, "{path} has no end");
            let page = admin.get(&format!("{path}{next}")).expect(200).json();
            seen.extend(names(&page[field], if field == "tags" { "tag" } else { "name" }));
            if field == "tags" {
                assert_eq!(page.get("nextMarker"), page.get("next_marker"), "{page}");
                assert_eq!(page["has_more"], page.get("nextMarker").is_some());
                assert_eq!(page["tags"][0]["manifest"], "");
            }
            match page.get(marker) {
                None => break,
                Some(Value::String(text)) => next = format!("&marker={text}"),
                Some(number) => {
                    assert!(number.as_u64().is_some_and(|id| id < 1 << 31), "{number}");
                    next = format!("&marker={number}");
                }
            }
        }
        seen.sort();
        let all = if field == "tags" { expected("t") } else { expected("a/r") };
        let all = if count == 2 { all[3..5].to_vec() } else { all };
        assert_eq!(seen, all, "{path}");
    }
    let whole =
        admin.get("/v3/manage/namespaces/group/repos/a$r00/tags?limit=1&with_manifest=true").expect(200);
    assert!(whole.json()["tags"][0]["manifest"].as_str().unwrap().starts_with('{'));
    admin.get("/v3/manage/repos?marker=x").refusal(400, "4000056");
    admin.get("/v3/manage/repos?marker=2147483648").refusal(400, "4000056");
    admin.get("/v3/manage/shared-repositories").refusal(400, "4001036");
    admin.get("/v3/manage/namespaces/group/repos/a$r00/tags?marker=x").refusal(400, "4000056");
}

#[test]
fn a_name_is_the_same_in_every_spelling_signed_and_with_a_token() {
    let Some(house) = open() else { return };
    let made =
        super::client::command(&house.server, "user add tess --role administrator --generate-password");
    let user = json!({"name": "tess", "password": made["password"], "domain": {"name": "main"}});
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}});
    let given = house.admin.http.post("/v3/auth/tokens").body(body.to_string()).send().expect(201);
    let token = given.need("x-subject-token");
    for spelling in ["a$r00", "a%24r00", "a%2Fr00"] {
        for rest in ["repos/NAME", "repos/NAME/tags/t00", "repos/NAME/triggers", "repos/NAME/t00/references"]
        {
            let target = format!("/v2/manage/namespaces/group/{}", rest.replace("NAME", spelling));
            let signed = house.admin.get(&target).expect(200).json();
            let plain = house.admin.http.get(&target).header("X-Auth-Token", token).send().expect(200).json();
            assert_eq!(signed, plain, "{target}");
        }
        let target = format!("/v3/manage/namespaces/group/repos/{spelling}/tags");
        assert_eq!(house.admin.get(&target).expect(200).json()["tags"].as_array().unwrap().len(), 23);
    }
}
