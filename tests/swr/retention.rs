//! Retention policies, as SWR's clients set them.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, House, command};
use super::support::wait::until_true;

const PATIENCE: Duration = Duration::from_secs(60);
const REPO: &str = "/v2/manage/namespaces/group/repos/a$b";
const NONE: &str = "/v2/manage/namespaces/group/repos/none";

fn open() -> Option<House> {
    let house = House::open()?;
    house.admin.post("/v2/manage/namespaces", json!({"namespace": "group"})).empty(201);
    Some(house)
}

fn policy(template: &str, params: Value, pattern: &str) -> Value {
    let selectors = json!([{"kind": "regexp", "pattern": pattern}, {"kind": "label", "pattern": "v1"}]);
    json!({"algorithm": "or", "rules": [{"template": template, "params": params, "tag_selectors": selectors}]})
}

fn tags(admin: &Client) -> Vec<String> {
    let listed = admin.get(&format!("{REPO}/tags")).expect(200).json();
    listed.as_array().unwrap().iter().map(|tag| tag["Tag"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_policy_is_checked_before_it_is_set() {
    let Some(house) = open() else { return };
    let admin = &house.admin;
    house.push(admin, "group/a/b", "v1", 1);
    let path = format!("{REPO}/retentions");
    let good = policy("date_rule", json!({"days": "30"}), "^v2.*$");
    admin.post(&format!("{NONE}/retentions"), good.clone()).refusal(404, "4040010");
    admin.patch(&format!("{path}/34"), good.clone()).refusal(404, "4040000");
    for bad in [
        policy("date_rule", json!({"days": "366"}), "v"),
        policy("date_rule", json!({"num": "7"}), "v"),
        policy("tag_rule", json!({"num": 1001}), "v"),
        policy("tag_rule", json!({"num": "7"}), "("),
        policy("size_rule", json!({"num": "7"}), "v"),
        json!({"algorithm": "or", "rules": []}),
        json!({"algorithm": "and", "rules": []}),
    ] {
        admin.post(&path, bad.clone()).refusal(400, "4001025");
        admin.patch(&format!("{path}/34"), bad).refusal(400, "4001025");
    }
    for malformed in [json!({}), json!({"algorithm": "or"}), json!({"algorithm": "or", "rules": [{}]})] {
        admin.post(&path, malformed).refusal(400, "4001018");
    }
    assert_eq!(admin.get(&path).expect(200).json(), json!([]));
    let log = admin.get(&format!("{path}/histories?limit=10&offset=20")).expect(200);
    assert_eq!(log.need("content-range"), "20-0/0");
    assert_eq!(log.json(), json!({"retention_log": [], "total": 0}));
    admin.get(&format!("{NONE}/retentions")).refusal(404, "4040010");
    admin.get(&format!("{path}/34")).refusal(404, "4040000");
    // As Terraform knows that it is gone.
    let gone = admin.delete(&format!("{path}/34")).refusal(400, "4000306");
    assert_eq!(gone["errors"][0]["errorCode"], "SVCSTG.SWR.4000306");
    let read = json!([{"user_id": house.ann.id, "user_name": "ann", "auth": 3}]);
    admin.post(&format!("{REPO}/access"), read).empty(201);
    house.ann.get(&path).expect(200);
    house.ann.post(&path, good).refusal(403, "4037018");
}

#[test]
fn a_policy_removes_at_once_what_it_does_not_keep_and_its_log_is_paged() {
    let Some(house) = open() else { return };
    let admin = &house.admin;
    for (seed, tag) in ["v1", "v2.1", "w1", "w2", "w3"].into_iter().enumerate() {
        house.push(admin, "group/a/b", tag, seed as u64);
    }
    let path = format!("{REPO}/retentions");
    let rule = policy("tag_rule", json!({"num": 1}), "^v2.*$");
    assert_eq!(admin.post(&path, rule.clone()).expect(201).json(), json!({"id": 1}));
    until_true("the policy has run", PATIENCE, || tags(admin) == ["v1", "v2.1", "w3"]);
    let text = policy("tag_rule", json!({"num": "1"}), "^v2.*$");
    let shown = json!({"algorithm": "or", "id": 1, "rules": text["rules"], "scope": ""});
    assert_eq!(admin.get(&path).expect(200).json(), json!([shown]));
    assert_eq!(admin.get(&format!("{path}/1")).expect(200).json(), shown);
    admin.post(&path, rule).refusal(409, "4090000");

    // The command line waits for what it begins.
    let run = command(&house.server, "retention run group/a/b");
    assert_eq!(run["last"]["result"], "0 versions removed, 3 stay", "{run}");
    let all = command(&house.server, "jobs run retention");
    assert_eq!(
        (&all["last"]["ok"], &all["last"]["result"]),
        (&json!(true), &json!("0 versions removed, 1 policies"))
    );
    let preview = command(&house.server, "retention preview group/a/b --versions 2");
    let going: Vec<_> = preview["items"].as_array().unwrap().iter().map(|one| one["tag"].clone()).collect();
    assert_eq!((going, &preview["kept"]), (vec![json!("v1")], &json!(2)));

    let page = |offset: usize| {
        let page = admin.get(&format!("{path}/histories?limit=1&offset={offset}")).expect(200);
        let log = page.json()["retention_log"].as_array().unwrap().clone();
        (page.need("content-range").to_owned(), log.first().map(|one| one["tag"].clone()))
    };
    let entries: Vec<_> = (0..3).map(page).collect();
    let expected = [("0-1/2", Some(json!("w2"))), ("1-1/2", Some(json!("w1"))), ("2-0/2", None)];
    assert_eq!(entries, expected.map(|(range, tag)| (range.to_owned(), tag)));

    let wider = policy("tag_rule", json!({"num": "1"}), "none");
    assert_eq!(admin.patch(&format!("{path}/1"), wider).expect(201).json(), json!({}));
    until_true("it has run again", PATIENCE, || tags(admin) == ["v1", "w3"]);
    assert_eq!(admin.delete(&format!("{path}/1")).expect(200).json(), json!({}));
    admin.get(&format!("{path}/1")).refusal(404, "4040000");
    assert_eq!(admin.get(&path).expect(200).json(), json!([]));
}
