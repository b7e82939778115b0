//! What Harbor's "Huawei SWR" target asks for, call for call (swr-api §11), and what migration scripts do.

use serde_json::{Value, json};

use super::client::{Client, House};
use super::support::{Image, Response};

/// Of every call of the adapter, whose gets have it too.
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

struct Harbor<'a> {
    who: &'a Client,
}

impl Harbor<'_> {
    fn call(&self, method: &str, target: &str, body: Option<Value>) -> Response {
        let request = self.who.http.request(method, target).header(JSON.0, JSON.1);
        let request = request.header("Authorization", self.who.login());
        match body {
            Some(body) => request.body(body.to_string()).send(),
            None => request.send(),
        }
    }

    /// The adapter's fifth call: no service, the scope as it is, no slash at the end.
    fn token(&self, repository: &str) -> String {
        let target = format!("/swr/auth/v2/registry/auth?scope=repository:{repository}:push,pull");
        let given = self.call("GET", &target, None).expect(200).json();
        assert!(given["expires_in"].is_u64() && given["issued_at"].as_str().is_some(), "{given}");
        format!("Bearer {}", given["token"].as_str().expect("a token"))
    }

    fn manifest(&self, method: &str, repository: &str, reference: &str) -> Response {
        let request = self.who.http.request(method, &format!("/v2/{repository}/manifests/{reference}"));
        request.header(JSON.0, JSON.1).header("Authorization", self.token(repository)).send()
    }
}

fn grant(house: &House, path: &str, level: u8) {
    let body = json!([{"user_id": house.ann.id, "user_name": "ann", "auth": level}]);
    let granted = house.admin.post(path, body);
    assert!([200, 201].contains(&granted.status), "{granted}");
}

#[test]
fn harbor_s_seven_calls_do_what_a_replication_needs() {
    let Some(house) = House::open() else { return };
    let harbor = Harbor { who: &house.admin };
    // Before a push: an organisation that is not there is an empty object, and is made then.
    for unknown in ["harbor", "manage", "A"] {
        harbor.call("GET", &format!("/dockyard/v2/namespaces/{unknown}"), None).empty(200);
    }
    harbor.call("POST", "/dockyard/v2/namespaces", Some(json!({"namespace": "harbor"}))).empty(201);
    let shown = harbor.call("GET", "/dockyard/v2/namespaces/harbor", None).expect(200).json();
    assert_eq!(
        shown,
        json!({
            "id": shown["id"], "name": "harbor", "creator_name": "admin", "domain_public": 0, "auth": 7,
            "domain_name": "main", "user_count": shown["user_count"], "image_count": 0,
        })
    );
    harbor.call("POST", "/dockyard/v2/namespaces", Some(json!({"namespace": "harbor"}))).expect(409);
    // Manifests: absent, pushed, there.
    harbor.manifest("GET", "harbor/a/b", "v1").expect(404);
    let image: Image = house.push(&house.admin, "harbor/a/b", "v1", 1);
    house.push(&house.admin, "harbor/a/b", "v2", 2);
    let got = harbor.manifest("GET", "harbor/a/b", "v1").expect(200);
    assert_eq!((got.need("content-type"), &got.body), (image.media_type, &image.manifest));
    assert!(got.json()["layers"].is_array());
    // Lists.
    let seen = harbor.call("GET", "/dockyard/v2/visible/namespaces", None).expect(200).json();
    let of =
        |name: &str| seen["namespaces"].as_array().unwrap().iter().find(|ns| ns["name"] == name).cloned();
    assert_eq!(of("harbor").expect("there")["image_count"], 1);
    let listed = harbor.call("GET", "/dockyard/v2/repositories?filter=center::self", None).expect(200);
    assert_eq!(
        (listed.need("content-range"), listed.need("content-type")),
        ("0-1/1", "application/json;charset=utf-8")
    );
    let item = listed.json()[0].clone();
    assert_eq!(
        (&item["namespace"], &item["name"], &item["tags"]),
        (&json!("harbor"), &json!("a/b"), &json!(["v1", "v2"]))
    );
    for time in ["created_at", "updated_at"] {
        let text = item[time].as_str().expect("text");
        text.parse::<jiff::Timestamp>().expect("RFC 3339");
    }
    // Deletes, by tag and by digest.
    harbor.manifest("DELETE", "harbor/a/b", "v2").expect(202);
    harbor.manifest("GET", "harbor/a/b", "v2").expect(404);
    harbor.manifest("DELETE", "harbor/a/b", "v2").expect(404);
}

#[test]
fn who_pushes_takes_tags_away_and_who_manages_takes_manifests_away() {
    let Some(house) = House::open() else { return };
    house.admin.post("/v2/manage/namespaces", json!({"namespace": "harbor"})).empty(201);
    let image = house.push(&house.admin, "harbor/web", "v1", 1);
    house.push(&house.admin, "harbor/web", "v2", 1);
    house.push(&house.admin, "harbor/web", "v3", 1);
    let ann = Harbor { who: &house.ann };
    let access = "/v2/manage/namespaces/harbor/access";
    grant(&house, access, 1);
    ann.manifest("DELETE", "harbor/web", "v1").expect(403);
    house.admin.send("DELETE", access, Some(json!([house.ann.id]))).expect(204);
    grant(&house, access, 3);
    ann.manifest("DELETE", "harbor/web", "v1").expect(202);
    ann.manifest("DELETE", "harbor/web", &image.digest()).expect(403);
    let basic = |reference: &str| {
        let target = format!("/v2/harbor/web/manifests/{reference}");
        house.ann.http.delete(&target).header("Authorization", house.ann.login()).send()
    };
    basic(&image.digest()).expect(403);
    basic("v2").expect(202);
    // A token for deleting alone, and one for everything, as Harbor's other client asks.
    for actions in ["delete", "*"] {
        let target =
            format!("/swr/auth/v2/registry/auth/?service=dockyard&scope=repository:harbor/web:{actions}");
        let token = ann.call("GET", &target, None).expect(200).json()["token"].as_str().unwrap().to_owned();
        let delete = |reference: &str| {
            let target = format!("/v2/harbor/web/manifests/{reference}");
            house.ann.http.delete(&target).header("Authorization", format!("Bearer {token}")).send()
        };
        delete(&image.digest()).expect(403);
        delete("v3").expect(202);
        house.push(&house.admin, "harbor/web", "v3", 1);
    }
    house.admin.send("DELETE", access, Some(json!([house.ann.id]))).expect(204);
    grant(&house, access, 7);
    basic(&image.digest()).expect(202);
}

#[test]
fn nobody_gets_harbor_s_lists_without_docker_s_credentials() {
    let Some(house) = House::open() else { return };
    for target in [
        "/dockyard/v2/visible/namespaces",
        "/dockyard/v2/namespaces",
        "/dockyard/v2/namespaces/x",
        "/dockyard/v2/repositories",
    ] {
        house.admin.http.get(target).send().expect(401);
        let wrong = house.admin.wrong().login();
        house.admin.http.get(target).header("Authorization", wrong).send().expect(401);
    }
}

#[test]
fn a_migration_script_gets_every_image_with_every_tag_in_one_answer() {
    let Some(house) = House::open() else { return };
    let admin = &house.admin;
    admin.post("/v2/manage/namespaces", json!({"namespace": "many"})).empty(201);
    let script = Harbor { who: admin };
    let none = script.call("GET", "/dockyard/v2/repositories?limit=65535", None).expect(200);
    assert_eq!((none.json(), none.need("content-range")), (json!([]), "0-0/0"));
    for n in 0..105 {
        let new = json!({"repository": format!("r{n:03}"), "is_public": false});
        admin.post("/v2/manage/namespaces/many/repos", new).empty(200);
    }
    for n in 0..30 {
        house.push(admin, "many/r007", &format!("t{n:02}"), 1);
    }
    for query in ["", "?limit=65535", "?filter=center::self"] {
        let all = script.call("GET", &format!("/dockyard/v2/repositories{query}"), None).expect(200);
        assert_eq!(all.need("content-range"), "0-105/105", "{query}");
        let all = all.json();
        let all = all.as_array().expect("a list");
        assert_eq!((all.len(), all[7]["tags"].as_array().unwrap().len()), (105, 30), "{query}");
        let path = format!("{}/many/r104", house.server.address());
        assert_eq!((&all[104]["path"], &all[104]["total_range"]), (&json!(path), &json!(105)));
    }
    let page = script.call("GET", "/dockyard/v2/repositories?limit=10&offset=100", None).expect(200);
    assert_eq!((page.json().as_array().unwrap().len(), page.need("content-range")), (5, "100-5/105"));
    let own = script.call("GET", "/dockyard/v2/namespaces", None).expect(200).json();
    assert!(own["namespaces"].as_array().unwrap().iter().any(|ns| ns["name"] == "many"));
    // Another account has nothing of it.
    let other = Harbor { who: &house.betty };
    assert_eq!(other.call("GET", "/dockyard/v2/repositories", None).expect(200).json(), json!([]));
    other.call("GET", "/dockyard/v2/namespaces/many", None).empty(200);
}
