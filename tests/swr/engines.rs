//! What has no engine in this version: everything about it is checked, its lists are empty, and making it is refused.

use serde_json::{Value, json};

use super::client::House;

const REPO: &str = "/v2/manage/namespaces/group/repos/a$b";
const NONE: &str = "/v2/manage/namespaces/group/repos/none";

fn open() -> Option<House> {
    let house = House::open()?;
    house.admin.post("/v2/manage/namespaces", json!({"namespace": "group"})).empty(201);
    house.push(&house.admin, "group/a/b", "v1", 1);
    Some(house)
}

fn with(base: &Value, field: &str, value: Value) -> Value {
    let mut body = base.clone();
    match value {
        Value::Null => drop(body.as_object_mut().unwrap().remove(field)),
        value => body[field] = value,
    }
    body
}

#[test]
fn a_trigger_is_checked_and_refused() {
    let Some(house) = open() else { return };
    let admin = &house.admin;
    let path = format!("{REPO}/triggers");
    let good = json!({
        "name": "t1", "action": "update", "trigger_type": "tag", "condition": "v1;v2", "app_type": "deployments",
        "application": "web", "cluster_ns": "default", "enable": "true", "cluster_id": "c1",
    });
    let refused = admin.post(&path, good.clone()).refusal(400, "4000047");
    assert!(refused["error_msg"].as_str().unwrap().contains("does not do this yet: triggers"), "{refused}");
    for (field, value, code) in [
        ("name", json!("1t"), "4001025"),
        ("name", Value::Null, "4001018"),
        ("enable", json!(true), "4001018"),
        ("enable", json!("yes"), "4001025"),
        ("condition", json!("a b"), "4001025"),
        ("trigger_type", json!("some"), "4001025"),
        ("app_type", json!("jobs"), "4001025"),
        ("trigger_mode", json!("cci"), "4001025"),
        ("cluster_id", Value::Null, "4001025"),
    ] {
        admin.post(&path, with(&good, field, value)).refusal(400, code);
    }
    admin.post(&format!("{NONE}/triggers"), good.clone()).refusal(404, "4040010");
    assert_eq!(admin.get(&path).expect(200).json(), json!([]));
    admin.get(&format!("{NONE}/triggers")).refusal(404, "4040010");
    admin.get(&format!("{path}/t1")).refusal(404, "4040000");
    admin.patch(&format!("{path}/t1"), json!({"enable": "false"})).refusal(404, "4040000");
    admin.patch(&format!("{path}/t1"), json!({"enable": false})).refusal(400, "4001018");
    admin.delete(&format!("{path}/t1")).refusal(404, "4040000");
    let read = json!([{"user_id": house.ann.id, "user_name": "ann", "auth": 1}]);
    admin.post(&format!("{REPO}/access"), read).empty(201);
    house.ann.get(&path).expect(200);
    house.ann.post(&path, good).refusal(403, "4037018");
}

#[test]
fn a_synchronisation_is_checked_and_refused() {
    let Some(house) = open() else { return };
    let admin = &house.admin;
    let good = json!({"remoteRegionId": "cn-north-4", "remoteNamespace": "acme"});
    let copy = with(&good, "imageTag", json!(["v1"]));
    for (path, body) in [("sync_repo", with(&good, "syncAuto", json!(true))), ("sync_images", copy.clone())] {
        let refused = admin.post(&format!("{REPO}/{path}"), body.clone()).refusal(400, "4000047");
        assert!(refused["error_msg"].as_str().unwrap().contains("synchronization"), "{refused}");
        admin.post(&format!("{NONE}/{path}"), body.clone()).refusal(404, "4040010");
        for (field, value, code) in [
            ("remoteRegionId", json!("a b"), "4001025"),
            ("remoteRegionId", Value::Null, "4001018"),
            ("remoteNamespace", json!("A"), "4001025"),
            ("override", json!("yes"), "4001018"),
        ] {
            admin.post(&format!("{REPO}/{path}"), with(&body, field, value)).refusal(400, code);
        }
        let edit = json!([{"user_id": house.ann.id, "user_name": "ann", "auth": 7}]);
        let granted = admin.post(&format!("{REPO}/access"), edit).status;
        assert!([201, 409].contains(&granted));
        house.ann.post(&format!("{REPO}/{path}"), body).refusal(403, "4037018");
    }
    admin.post(&format!("{REPO}/sync_images"), with(&copy, "imageTag", json!([]))).refusal(400, "4001025");
    assert_eq!(admin.get(&format!("{REPO}/sync_repo")).expect(200).json(), json!([]));
    assert_eq!(admin.get("/v2/manage/regions").expect(200).json(), json!([]));
    let delete = |body: &Value| admin.send("DELETE", &format!("{REPO}/sync_repo"), Some(body.clone()));
    let gone = delete(&good).refusal(400, "4001158");
    assert_eq!(gone["errors"][0]["errorCode"], "SVCSTG.SWR.4001158");
    delete(&json!({"remoteRegionId": "x"})).refusal(400, "4001018");
    admin.get(&format!("{REPO}/sync_job")).refusal(400, "4001036");
    let jobs = |filter: &str| {
        admin.get(&format!("{REPO}/sync_job?filter={}", filter.replace(':', "%3A").replace('|', "%7C")))
    };
    let page = jobs("limit::10|offset::10|order::desc").expect(200);
    assert_eq!((page.json(), page.need("content-range")), (json!([]), "10-0/0"));
    jobs("order::up").refusal(400, "4001024");
}
