//! Images that are shared with other accounts.

use serde_json::{Value, json};

use super::client::House;

const SHARES: &str = "/v2/manage/namespaces/group/repositories/a$b/access-domains";

#[test]
fn an_image_is_shared_listed_by_both_sides_changed_and_shared_no_longer() {
    let Some(house) = House::open() else { return };
    let (admin, betty) = (&house.admin, &house.betty);
    admin.post("/v2/manage/namespaces", json!({"namespace": "group"})).empty(201);
    let terms = |deadline: &str| json!({"access_domain": "beta", "permit": "read", "deadline": deadline, "description": "for tests"});
    admin.post(SHARES, terms("forever")).refusal(404, "4040010");
    admin.get(SHARES).refusal(404, "4040010");
    house.push(admin, "group/a/b", "v1", 1);
    let login = betty.login();
    let pull = || betty.http.get("/v2/group/a/b/manifests/v1").header("Authorization", &login).send().status;
    assert_eq!(pull(), 403);
    let beta = format!("{SHARES}/beta");
    let absent = admin.get(&beta).expect(200).json();
    assert_eq!((&absent["exist"], &absent["status"]), (&json!(false), &json!(false)));
    assert_eq!(admin.get(&format!("{SHARES}/nobody")).expect(200).json()["exist"], false);
    admin.patch(&beta, terms("forever")).refusal(400, "4001090");
    admin.delete(&beta).refusal(400, "4001090");

    admin.post(SHARES, terms("2090-10-01T00:00:00Z")).empty(201);
    admin.post(SHARES, terms("forever")).refusal(409, "4090089");
    assert_eq!(pull(), 200);
    let shown = admin.get(&beta).expect(200).json();
    let (created, updated) = (shown["created"].clone(), shown["updated"].clone());
    let mut expected = json!({
        "namespace": "group", "repository": "a/b", "access_domain": "beta", "permit": "read",
        "deadline": "2090-10-01T00:00:00Z", "description": "for tests", "creator_id": admin.id,
        "creator_name": "admin", "created": created, "updated": updated, "status": true, "exist": true,
    });
    assert_eq!(shown, expected);
    expected.as_object_mut().expect("an object").remove("exist");
    assert_eq!(admin.get(SHARES).expect(200).json(), json!([expected]));
    betty.get(SHARES).refusal(403, "4037018");

    let shared = |who: &super::client::Client, query: &str| {
        let answer = who.get(&format!("/v2/manage/shared-repositories?{query}")).expect(200);
        let items = answer.json();
        let of = |item: &Value| format!("{} {} {}", item["name"], item["domain_name"], item["status"]);
        let items: Vec<String> = items.as_array().expect("a list").iter().map(of).collect();
        (items.join(","), answer.need("content-range").to_owned())
    };
    let none = || (String::new(), "0-0/0".to_owned());
    assert_eq!(shared(admin, "center=self"), ("\"a/b\" \"main\" false".to_owned(), "0-1/1".to_owned()));
    assert_eq!(shared(betty, "center=thirdparty"), ("\"a/b\" \"main\" true".to_owned(), "0-1/1".to_owned()));
    assert_eq!(shared(betty, "filter=center%3A%3Athirdparty%7Cname%3A%3Ab").1, "0-1/1");
    assert_eq!(shared(betty, "center=thirdparty&filter=namespace%3A%3Agro").1, "0-1/1");
    assert_eq!(shared(betty, "center=thirdparty&status=false"), none());
    assert_eq!(shared(betty, "center=thirdparty&domain_name=main").1, "0-1/1");
    assert_eq!(shared(betty, "center=thirdparty&name=x"), none());
    assert_eq!(shared(admin, "center=thirdparty"), none());
    assert_eq!(shared(betty, "center=thirdparty&order_column=domain_name&order_type=asc").1, "0-1/1");
    admin.get("/v2/manage/shared-repositories").refusal(400, "4001036");
    admin.get("/v2/manage/shared-repositories?center=both").refusal(400, "4001024");

    admin.patch(&beta, json!({"permit": "read", "deadline": "forever"})).empty(201);
    let shown = admin.get(&beta).expect(200).json();
    assert_eq!((&shown["deadline"], &shown["description"]), (&json!("forever"), &json!("")));
    admin.delete(&beta).expect(204);
    assert_eq!((admin.get(&beta).expect(200).json()["exist"].clone(), pull()), (json!(false), 403));
}

#[test]
fn what_cannot_be_shared_is_refused_by_what_is_wrong() {
    let Some(house) = House::open() else { return };
    let admin = &house.admin;
    admin.post("/v2/manage/namespaces", json!({"namespace": "group"})).empty(201);
    house.push(admin, "group/a/b", "v1", 1);
    let terms = |domain: &str, permit: &str, deadline: &str| json!({"access_domain": domain, "permit": permit, "deadline": deadline});
    for (body, code) in [
        (terms("nobody", "read", "forever"), "4001041"),
        (terms("main", "read", "forever"), "4001041"),
        (terms("beta", "write", "forever"), "4001091"),
        (terms("beta", "read", "soon"), "4001025"),
        (terms("beta", "read", "2018-10-01T16:00:00.000Z"), "4001025"),
        (json!({"access_domain": "beta", "permit": "read"}), "4001018"),
    ] {
        admin.post(SHARES, body.clone()).refusal(400, code);
    }
    let long = json!({"access_domain": "beta", "permit": "read", "deadline": "forever", "description": "x".repeat(1001)});
    admin.post(SHARES, long).refusal(413, "4131012");
    admin.patch("/v2/manage/namespaces/group/repos/a$b", json!({"is_public": true})).empty(201);
    admin.post(SHARES, terms("beta", "read", "forever")).refusal(400, "4001025");
}
