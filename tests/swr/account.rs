//! The account, signing in with docker, versions, and who is let in how.

use serde_json::json;

use super::client::{House, now};
use super::support::{Server, Settings};

#[test]
fn an_account_is_told_its_sums_and_what_this_version_does() {
    let Some(house) = House::open() else { return };
    let (admin, betty) = (&house.admin, &house.betty);
    admin.post("/v2/manage/namespaces", json!({"namespace": "group"})).empty(201);
    house.push(admin, "group/a", "v1", 1);
    house.push(admin, "group/a", "v2", 1);
    let overview = admin.get("/v2/manage/overview").expect(200).json();
    assert!(overview["store_space"].as_f64().expect("a number") > 0.0, "{overview}");
    let (id, space) = (overview["domain_id"].clone(), overview["store_space"].clone());
    assert_eq!(
        overview,
        json!({
            "domain_id": id, "domain_name": "main", "namspace_num": 2, "repo_num": 1, "image_num": 2,
            "store_space": space, "downflow_size": 0.0,
        })
    );
    assert_eq!(betty.get("/v2/manage/overview").expect(200).json()["repo_num"], 0);
    let store = admin.get("/v2/manage/reports/store/daily").expect(200).json();
    assert_eq!((store.as_array().map(Vec::len), &store[0]["value"]), (Some(1), &space));
    assert_eq!(admin.get("/v2/manage/reports/downflow/daily").expect(200).json(), json!([]));
    admin.get("/v2/manage/reports/store/weekly").refusal(400, "4001025");
    admin.get("/v2/manage/reports/pulls/daily").refusal(400, "4001025");
    let gates = admin.get("/v2/manage/projects/0123/feature-gates").expect(200).json();
    assert_eq!(gates.as_object().map(|gates| gates.len()), Some(12));
    assert!(gates.as_object().expect("an object").values().all(serde_json::Value::is_boolean));
    assert_eq!(
        admin.get("/v2/manage/agency").expect(200).json(),
        json!({"domain_id": id, "is_agency": true})
    );
    admin.send("POST", "/v2/manage/agency", None).expect(204);
    house.ann.send("POST", "/v2/manage/agency", None).refusal(403, "4039002");
}

#[test]
fn a_login_that_is_given_signs_in_where_docker_does() {
    let Some(house) = House::open() else { return };
    let ann = &house.ann;
    let host = house.server.address().to_string();
    let cases = [
        ("/v2/manage/utils/secret", "region-1@"),
        ("/v2/manage/utils/secret?projectname=eu-west.1", "eu-west.1@"),
        ("/v2/manage/utils/authorizationtoken", "bearertoken@"),
    ];
    for (target, user) in cases {
        let answer = ann.send("POST", target, None).expect(200);
        let command = answer.need("x-swr-dockerlogin").to_owned();
        assert!(command.starts_with(&format!("docker login -u {user}")), "{command}");
        assert!(command.ends_with(&format!(" {host}")), "{command}");
        let expires: jiff::Timestamp = answer.need("x-swr-expireat").parse().expect("a time");
        let auth = answer.json()["auths"][&host]["auth"].as_str().expect("text").to_owned();
        assert_eq!(answer.json(), json!({"auths": {host.clone(): {"auth": auth}}}));
        let hours = (expires - now()).total(jiff::Unit::Hour).expect("hours");
        assert!((5.9..24.1).contains(&hours), "{hours}");
        let ping = ann.http.get("/v2/").header("Authorization", format!("Basic {auth}")).send();
        ping.expect(200);
    }
    for project in ["a%20b", "a%24b", "a%3Bb"] {
        let target = format!("/v2/manage/utils/secret?projectname={project}");
        ann.send("POST", &target, None).refusal(400, "4001024");
    }
}

#[test]
fn versions_are_told_to_those_who_sign_in_and_the_ping_is_the_registrys() {
    let Some(house) = House::open() else { return };
    let admin = &house.admin;
    let href = format!("http://{}/v2", house.server.address());
    let version = json!({
        "id": "v2", "links": {"href": href, "rel": "self"}, "version": "2.26", "min_version": "2.0",
        "status": "CURRENT", "updated": "2024-01-01T00:00:00Z",
    });
    assert_eq!(admin.get("/").expect(200).json(), json!({"versions": [version]}));
    assert_eq!(admin.get("/v2").expect(200).json(), json!({"version": version}));
    admin.get("/v9").refusal(404, "4040083");
    for path in ["/v2", "/v2/"] {
        let ping = admin.http.get(path).header("Authorization", admin.login()).send().expect(200);
        assert_eq!(ping.need("docker-distribution-api-version"), "registry/2.0");
    }
    // An image of this name can still be reached.
    house.push(admin, "manage", "v1", 1);
    let tags = admin.http.get("/v2/manage/tags/list").header("Authorization", admin.login()).send();
    assert_eq!(tags.expect(200).json()["tags"], json!(["v1"]));
}

#[test]
fn in_a_lab_nobody_signs_in_and_what_is_done_to_images_is_open() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let http = server.http();
    let new = |name: &str| json!({"namespace": name}).to_string();
    http.post("/v2/manage/namespaces").body(new("group")).send().empty(201);
    http.post("/v2/manage/namespaces").body(new("group")).send().refusal(409, "4090060");
    let all = http.get("/v2/manage/namespaces").send().expect(200).json();
    assert_eq!((&all["namespaces"][0]["name"], &all["namespaces"][0]["auth"]), (&json!("group"), &json!(7)));
    let repo = json!({"repository": "a", "is_public": false}).to_string();
    http.post("/v2/manage/namespaces/group/repos").body(repo).send().empty(200);
    let listed = http.get("/v2/manage/repos").send().expect(200);
    assert_eq!((&listed.json()[0]["name"], listed.need("content-range")), (&json!("a"), "0-1/1"));
    http.delete("/v2/manage/namespaces/group/repos/a").send().expect(204);
    http.delete("/v2/manage/namespaces/group").send().expect(204);
    // There is nobody to sign in as.
    http.post("/v2/manage/utils/secret").send().refusal(401, "APIGW.0301");
}
