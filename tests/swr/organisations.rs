//! Organisations and the rights in them.

use serde_json::{Value, json};

use super::client::House;

const ROOT: &str = "/v2/manage/namespaces";

#[test]
fn an_organisation_is_made_listed_shown_and_removed() {
    let Some(house) = House::open() else { return };
    let (admin, betty) = (&house.admin, &house.betty);
    admin.post(ROOT, json!({"namespace": "group"})).empty(201);
    admin.post(ROOT, json!({"namespace": "group"})).refusal(409, "4090060");
    betty.post(ROOT, json!({"namespace": "group"})).refusal(409, "4090060");
    admin.post(ROOT, json!({"namespace": "Group"})).refusal(400, "4001028");
    admin.post(ROOT, json!({"namespace": "manage"})).refusal(400, "4001028");
    admin.post(ROOT, json!({"name": "group"})).refusal(400, "4001018");
    admin.post(ROOT, json!({"namespace": "library"})).refusal(409, "4090060");

    let shown = admin.get("/v2/manage/namespaces/group").expect(200).json();
    let id = shown["id"].as_i64().expect("a number");
    assert!((1..1 << 31).contains(&id), "{shown}");
    assert_eq!(shown, json!({"id": id, "name": "group", "creator_name": "admin", "auth": 7}));
    let all = admin.get(ROOT).expect(200).json();
    let names: Vec<&Value> =
        all["namespaces"].as_array().expect("a list").iter().map(|n| &n["name"]).collect();
    assert_eq!(names, ["group", "library"]);
    for query in
        ["namespace=group", "filter=namespace%3A%3Agroup", "filter=mode%3A%3Avisible%7Cnamespace%3A%3Agroup"]
    {
        let one = admin.get(&format!("{ROOT}?{query}")).expect(200).json();
        let expected = json!({
            "id": id, "name": "group", "creator_name": "admin", "auth": 7, "access_user_count": 1, "repo_count": 0,
        });
        assert_eq!(one, json!({"namespaces": [expected]}), "{query}");
    }
    assert_eq!(betty.get(ROOT).expect(200).json(), json!({"namespaces": []}));
    betty.get("/v2/manage/namespaces/group").refusal(404, "4040058");
    betty.delete("/v2/manage/namespaces/group").refusal(404, "4040058");
    admin.get("/v2/manage/namespaces/nothing").refusal(404, "4040058");

    house.push(admin, "group/a/b", "v1", 1);
    admin.delete("/v2/manage/namespaces/group").refusal(406, "4060074");
    admin.delete("/v2/manage/namespaces/group/repos/a$b").expect(204);
    admin.delete("/v2/manage/namespaces/group").expect(204);
    admin.delete("/v2/manage/namespaces/group").refusal(404, "4040058");
}

#[test]
fn the_quota_of_organisations_is_told_and_kept() {
    let settings =
        super::support::Settings::default().closed().set("IDENTITY_ORGANISATIONS_PER_ACCOUNT", "2");
    let Some(house) = House::with(settings) else { return };
    let betty = &house.betty;
    betty.post(ROOT, json!({"namespace": "one"})).empty(201);
    let quota = betty.get("/v2/manage/projects/0123/quotas").expect(200).json();
    let row = |used: u64| json!({"quotas": [{"quota_key": "namespace", "quota_limit": 2, "used": used, "unit": ""}]});
    assert_eq!(quota, row(1));
    betty.post(ROOT, json!({"namespace": "two"})).empty(201);
    betty.post(ROOT, json!({"namespace": "three"})).refusal(400, "4000097");
    assert_eq!(betty.get("/v2/manage/projects/0123/quotas").expect(200).json(), row(2));
}

#[test]
fn rights_in_an_organisation_are_granted_changed_and_taken_away() {
    let Some(house) = House::open() else { return };
    let (admin, ann, betty) = (&house.admin, &house.ann, &house.betty);
    let access = "/v2/manage/namespaces/group/access";
    admin.post(ROOT, json!({"namespace": "group"})).empty(201);
    let auth = |level: u8| json!([{"user_id": ann.id, "user_name": "ann", "auth": level}]);
    ann.get(access).refusal(404, "4040058");
    admin.post(access, auth(1)).empty(200);
    admin.post(access, auth(1)).refusal(409, "4090076");
    ann.get("/v2/manage/namespaces/group").expect(200);
    ann.post(access, auth(7)).refusal(403, "4037017");

    let shown = admin.get(access).expect(200).json();
    let own = json!({"user_id": admin.id, "user_name": "admin", "auth": 7});
    assert_eq!((&shown["self_auth"], &shown["others_auths"]), (&own, &auth(1)));
    assert_eq!((&shown["name"], &shown["creator_name"]), (&json!("group"), &json!("admin")));
    let seen = ann.get(access).expect(200).json();
    assert_eq!((&seen["self_auth"], &seen["others_auths"]), (&auth(1)[0], &json!([own])));

    admin.patch(access, auth(7)).empty(201);
    assert_eq!(ann.get("/v2/manage/namespaces/group").expect(200).json()["auth"], 7);
    ann.patch(access, auth(7)).refusal(400, "4001066");
    for (body, code) in [
        (json!([{"user_id": ann.id, "user_name": "ann", "auth": 2}]), "4001018"),
        (json!([{"user_id": ann.id, "user_name": "ann"}]), "4001018"),
        (json!([]), "4001018"),
        (json!({}), "4001018"),
        (json!([{"user_id": betty.id, "user_name": "betty", "auth": 1}]), "4001067"),
    ] {
        admin.patch(access, body).refusal(400, code);
    }
    let revoke = |who: &str| admin.send("DELETE", access, Some(json!([who])));
    revoke(&ann.id).expect(204);
    revoke(&ann.id).refusal(404, "4040078");
    revoke("nobody").refusal(404, "4040078");
    admin.patch(access, auth(1)).refusal(404, "4040078");
    ann.get("/v2/manage/namespaces/group").refusal(404, "4040058");
    // As Terraform does when no id is known.
    admin.post(access, json!([{"user_name": "ann", "auth": "3"}])).empty(200);
    assert_eq!(ann.get("/v2/manage/namespaces/group").expect(200).json()["auth"], 3);
    admin.get("/v2/manage/namespaces/nothing/access").refusal(404, "4040058");
}

#[test]
fn rights_on_an_image_show_its_organisation_where_all_visible_ones_are_asked_for() {
    let Some(house) = House::open() else { return };
    let (admin, ann) = (&house.admin, &house.ann);
    let access = "/v2/manage/namespaces/group/repos/a%2Fb/access";
    admin.post(ROOT, json!({"namespace": "group"})).empty(201);
    admin.get(access).refusal(404, "4040010");
    house.push(admin, "group/a/b", "v1", 1);
    let auth = |level: u8| json!([{"user_id": ann.id, "user_name": "ann", "auth": level}]);
    admin.post(access, auth(3)).empty(201);
    admin.post(access, auth(3)).refusal(409, "4090089");
    let shown = admin.get(access).expect(200).json();
    let own = json!({"user_id": admin.id, "user_name": "admin", "auth": 7});
    let id = shown["id"].clone();
    assert_eq!(shown, json!({"id": id, "name": "a/b", "self_auth": own, "others_auths": auth(3)}));
    assert_eq!(ann.get(access).expect(200).json()["self_auth"]["auth"], 3);
    ann.send("DELETE", access, Some(json!([admin.id]))).refusal(403, "4037018");

    assert_eq!(ann.get(ROOT).expect(200).json(), json!({"namespaces": []}));
    let visible = ann.get(&format!("{ROOT}?filter=mode%3A%3Avisible")).expect(200).json();
    assert_eq!(
        (&visible["namespaces"][0]["name"], &visible["namespaces"][0]["auth"]),
        (&json!("group"), &json!(0))
    );
    ann.get("/v2/manage/namespaces/group").refusal(403, "4037017");
    ann.get("/v2/manage/namespaces/group/repos/other").refusal(404, "4040010");

    admin.patch(access, auth(1)).empty(201);
    ann.patch("/v2/manage/namespaces/group/repos/a$b", json!({"is_public": true})).refusal(403, "4037018");
    admin.send("DELETE", access, Some(json!([ann.id]))).expect(204);
    admin.send("DELETE", access, Some(json!([ann.id]))).refusal(404, "4040091");
    ann.get("/v2/manage/namespaces/group/repos/a$b").refusal(404, "4040058");
}
