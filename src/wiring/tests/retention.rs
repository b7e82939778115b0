//! Retention through SWR's surface, by a clock that tests move.

use std::time::{Duration, Instant};

use hyper::Method;
use pierhead_storage_format::identity::keys::{TextKey, TextOwner};
use pierhead_storage_format::keys::{RepositoryCountersKey, RepositoryKey};
use pierhead_storage_format::retention::{
    LOG_ROWS, RetentionKey, RetentionLogKey, RetentionLogRecord, RetentionStateKey, RetentionStateRecord,
};
use serde_json::{Value, json};

use super::house::{House, OPENED, PASSWORD, basic, digest};
use crate::jobs::Jobs;
use crate::services::access::{Action, Permit, Resource};
use crate::services::audit::{Order, Search, Wanted};
use crate::services::error::Error;
use crate::services::organisations::Changed;
use crate::services::retention::Outcome;
use crate::stores::meta::MetaError;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const WEB: &str = "acme/web";
const PATH: &str = "/v2/manage/namespaces/acme/repos/web/retentions";
const DAY: u64 = 86_400;
/// Until what must come is missed, and between two looks whether it has.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// A manifest that is another for every tag; it names `children`.
fn manifest(tag: &str, children: &[String]) -> String {
    let child =
        |bytes: &String| json!({"mediaType": INDEX, "digest": digest(bytes.as_bytes()), "size": bytes.len()});
    let children: Vec<Value> = children.iter().map(child).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children, "annotations": {"tag": tag}})
        .to_string()
}

async fn put(house: &House, tag: &str, bytes: &str) {
    let anna = basic("acme/anna", PASSWORD);
    let headers = [("authorization", anna.as_str()), ("content-type", INDEX)];
    let answer =
        house.ask(Method::PUT, &format!("/v2/{WEB}/manifests/{tag}"), &headers, bytes.to_owned()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

async fn push(house: &House, tag: &str) {
    put(house, tag, &manifest(tag, &[])).await;
}

/// Pushes a version so many seconds after the house was opened.
async fn push_at(house: &House, tag: &str, seconds: u64) {
    house.after(seconds);
    push(house, tag).await;
}

async fn swr(house: &House, method: Method, path: &str, body: Value) -> (u16, Value) {
    let sign_in = json!({"auth": {"identity": {"methods": ["password"], "password": {"user":
        {"name": "anna", "password": PASSWORD, "domain": {"name": "acme"}}}}}});
    let token = house.ask(Method::POST, "/v3/auth/tokens", &[], sign_in.to_string()).await;
    let headers = [("x-auth-token", token.header("x-subject-token"))];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = house.ask(method, path, &headers, body).await;
    (answer.status, answer.json())
}

fn policy(template: &str, params: Value, pattern: &str) -> Value {
    let selectors = json!([{"kind": "regexp", "pattern": pattern}]);
    json!({"algorithm": "or", "rules": [{"template": template, "params": params, "tag_selectors": selectors}]})
}

async fn tags(house: &House) -> Vec<String> {
    let answer = house
        .as_whom(Method::GET, &format!("/v2/{WEB}/tags/list?n=1000"), &basic("acme/anna", PASSWORD))
        .await;
    let tags = answer.json()["tags"].clone();
    serde_json::from_value(tags).unwrap_or_default()
}

/// Waits until the tags are these.
async fn settle_to(house: &House, expected: &[&str]) {
    let deadline = Instant::now() + DEADLINE;
    while tags(house).await != expected && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    assert_eq!(tags(house).await, expected);
}

/// How many tags there are, without a wait.
fn count(house: &House) -> u64 {
    let key = RepositoryCountersKey { repository: repository(house) };
    house.meta().get(&key).expect("read").map_or(0, |counters| counters.tags)
}

fn repository(house: &House) -> u64 {
    house.meta().get(&RepositoryKey { name: WEB.to_owned() }).expect("read").expect("there").id
}

fn permit(house: &House, action: Action) -> Permit {
    house.permit(action, Resource::Repository(WEB.parse().expect("a name")))
}

fn state(house: &House) -> RetentionStateRecord {
    let key = RetentionStateKey { repository: repository(house) };
    house.meta().get(&key).expect("read").unwrap_or_default()
}

/// Waits until a run came to its end after `before`.
async fn ran(house: &House, before: u64) -> RetentionStateRecord {
    let deadline = Instant::now() + DEADLINE;
    while state(house).ended_at <= before && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    let state = state(house);
    assert!(state.ended_at > before, "no run ended: {state:?}");
    state
}

#[tokio::test]
async fn swrs_example_of_age_removes_what_is_older_than_3_days_but_what_is_exempt() {
    let house = House::open().await;
    for (tag, day) in [("v1.1", 0), ("v2.1", 0), ("v1.2", 1), ("v1.3", 4), ("v2.2", 5)] {
        push_at(&house, tag, day * DAY).await;
    }
    house.after(5 * DAY + 60);
    let rule = policy("date_rule", json!({"days": "3"}), "^v2.*$");
    let (status, created) = swr(&house, Method::POST, PATH, rule.clone()).await;
    assert_eq!((status, &created), (201, &json!({"id": 1})));
    settle_to(&house, &["v1.3", "v2.1", "v2.2"]).await;
    let state = ran(&house, 0).await;
    assert_eq!((state.removed, state.kept, state.exempt, state.problem), (2, 3, 2, None));

    let shown = json!({"algorithm": "or", "id": 1, "rules": rule["rules"], "scope": ""});
    assert_eq!(swr(&house, Method::GET, PATH, Value::Null).await, (200, json!([shown])));
    assert_eq!(swr(&house, Method::GET, &format!("{PATH}/1"), Value::Null).await, (200, shown));
    let (_, log) = swr(&house, Method::GET, &format!("{PATH}/histories?limit=1&offset=0"), Value::Null).await;
    let entry = json!({
        "created_at": "2023-11-19T22:14:20.000Z", "id": 2, "namespace": "acme", "repo": "web", "retention_id": 1,
        "rule_type": rule["rules"][0].to_string(), "tag": "v1.2",
    });
    let rule_of = |log: &Value| {
        log["rule_type"].as_str().map(|text| serde_json::from_str::<Value>(text).expect("JSON"))
    };
    assert_eq!((&log["total"], rule_of(&log["retention_log"][0])), (&json!(2), rule_of(&entry)));
    for field in ["created_at", "id", "namespace", "repo", "retention_id", "tag"] {
        assert_eq!(log["retention_log"][0][field], entry[field], "{field}");
    }

    // What went is in the trail, done by the appliance, in the account it was done to.
    let filter = Search { name: Some("deleteImageTag".to_owned()), ..Search::default() };
    let wanted = Wanted { filter, order: Order::Oldest, after: None, limit: 10 };
    let events = house
        .audit
        .list(&house.permit(Action::ListEvents, Resource::Registry), wanted)
        .await
        .expect("events");
    let told: Vec<(&str, &str, bool)> = events
        .events
        .iter()
        .map(|(_, event)| {
            (event.resource.as_str(), event.user_name.as_str(), event.account == Some(house.acme))
        })
        .collect();
    assert_eq!(
        told,
        [("acme/web:v1.1", "system: retention", true), ("acme/web:v1.2", "system: retention", true)]
    );

    // And daily from then on: v1.3 is three days old on the seventh, and older the day after.
    let id = repository(&house);
    assert_eq!(house.retention.run_if_due(id).await.expect("asked"), Outcome::Nothing, "not due");
    for (day, expected) in [(7, 0), (8, 1)] {
        house.after(day * DAY);
        let Outcome::Done(state) = house.retention.run_if_due(id).await.expect("run") else {
            panic!("day {day}")
        };
        assert_eq!(state.removed, expected, "day {day}");
    }
    assert_eq!(tags(&house).await, ["v2.1", "v2.2"]);
}

#[tokio::test]
async fn swrs_example_of_count_keeps_the_newest_one_and_what_is_exempt() {
    let house = House::open().await;
    for (n, tag) in ["v2.1", "v1.2", "v1.1", "v2.2"].into_iter().enumerate() {
        push_at(&house, tag, n as u64).await;
    }
    let rule = policy("tag_rule", json!({"num": 1}), "^v2.*$");
    assert_eq!(swr(&house, Method::POST, PATH, rule.clone()).await.0, 201);
    settle_to(&house, &["v1.1", "v2.1", "v2.2"]).await;
    let (status, refused) = swr(&house, Method::POST, PATH, rule.clone()).await;
    assert_eq!((status, &refused["error_code"]), (409, &json!("SVCSTG.SWR.4090000")));
    let dated = policy("date_rule", json!({"days": "3"}), "^v2.*$");
    assert_eq!(swr(&house, Method::PATCH, &format!("{PATH}/1"), dated).await.0, 400, "the template stays");
    let wider = policy("tag_rule", json!({"num": "1"}), "none");
    assert_eq!(swr(&house, Method::PATCH, &format!("{PATH}/1"), wider).await, (201, json!({})));
    settle_to(&house, &["v2.2"]).await;
    assert_eq!(
        swr(&house, Method::DELETE, &format!("{PATH}/2"), Value::Null).await.0,
        400,
        "another's number"
    );
    assert_eq!(swr(&house, Method::DELETE, &format!("{PATH}/1"), Value::Null).await, (200, json!({})));
    assert_eq!(swr(&house, Method::GET, PATH, Value::Null).await, (200, json!([])));
    assert_eq!(
        swr(&house, Method::GET, &format!("{PATH}/histories"), Value::Null).await.1["total"],
        3,
        "the log stays"
    );
    assert_eq!(
        swr(&house, Method::POST, PATH, rule).await,
        (201, json!({"id": 2})),
        "a number is not used again"
    );
}

#[tokio::test]
async fn what_an_index_names_stays_though_its_own_tag_goes() {
    let house = House::open().await;
    let children: Vec<String> = ["amd64", "arm64"].iter().map(|tag| manifest(tag, &[])).collect();
    for (n, tag) in ["amd64", "arm64"].into_iter().enumerate() {
        push_at(&house, tag, n as u64).await;
    }
    house.after(5);
    put(&house, "all", &manifest("all", &children)).await;
    assert_eq!(swr(&house, Method::POST, PATH, policy("tag_rule", json!({"num": 1}), "none")).await.0, 201);
    settle_to(&house, &["all"]).await;
    for child in &children {
        let path = format!("/v2/{WEB}/manifests/{}", digest(child.as_bytes()));
        assert_eq!(house.as_whom(Method::GET, &path, &basic("acme/anna", PASSWORD)).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_pushed_or_removed_during_a_run_counts() {
    let house = House::open().await;
    push_at(&house, "t000", 0).await;
    assert_eq!(swr(&house, Method::POST, PATH, policy("tag_rule", json!({"num": 2}), "none")).await.0, 201);
    ran(&house, 0).await;
    for n in 1..300 {
        push_at(&house, &format!("t{n:03}"), n).await;
    }
    house.after(2 * DAY);
    // This test takes the run from step to step, so that it stands still between two batches.
    let run = house.retention.run_if_due(repository(&house));
    tokio::pin!(run);
    while count(&house) == 300 {
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
            ended = &mut run => panic!("it ended before it removed anything: {ended:?}"),
        }
    }
    assert_eq!(count(&house), 200, "one batch is gone");
    // An old one is pushed again, and one that was counted on goes.
    house.after(2 * DAY + 1000);
    push(&house, "t280").await;
    let anna = basic("acme/anna", PASSWORD);
    assert_eq!(house.as_whom(Method::DELETE, &format!("/v2/{WEB}/manifests/t299"), &anna).await.status, 202);
    let Outcome::Done(state) = run.await.expect("a run") else { panic!("it was due") };
    assert_eq!(tags(&house).await, ["t280", "t298"]);
    assert_eq!((state.removed, state.kept), (297, 2));
}

#[tokio::test]
async fn a_run_that_a_stop_ends_is_done_by_the_next_start() {
    let house = House::open().await;
    for n in 0..250 {
        push_at(&house, &format!("t{n:03}"), n).await;
    }
    assert_eq!(swr(&house, Method::POST, PATH, policy("tag_rule", json!({"num": 1}), "none")).await.0, 201);
    house.retention.settle().await;
    assert!(tags(&house).await.len() > 1, "it was ended between batches");
    assert_eq!(state(&house).started_at, 0, "and is still due");
    let next = house.retention_again();
    let Outcome::Done(state) = next.run_if_due(repository(&house)).await.expect("run") else { panic!("due") };
    assert_eq!((tags(&house).await, state.kept), (vec!["t249".to_owned()], 1));
    assert_eq!(next.run_if_due(repository(&house)).await.expect("asked"), Outcome::Nothing);
    let (log, total) =
        next.histories(&permit(&house, Action::ListRetentionHistories), 0, 1000).expect("a log");
    assert_eq!((log.len(), total), (249, 249), "each is logged once");
}

#[tokio::test]
async fn nothing_goes_while_it_is_in_doubt_what_time_it_is() {
    let house = House::open().await;
    push_at(&house, "old", 0).await;
    push_at(&house, "new", 10).await;
    assert_eq!(
        swr(&house, Method::POST, PATH, policy("date_rule", json!({"days": "365"}), "none")).await.0,
        201
    );
    ran(&house, 0).await;
    // A start in another year: the clock is wrong, or was.
    house.after(500 * DAY);
    let next = house.retention_again();
    let until = OPENED + 501 * DAY * 1000;
    assert_eq!(next.run_if_due(repository(&house)).await.expect("asked"), Outcome::Waits(until));
    assert_eq!(tags(&house).await.len(), 2);
    let again = house.retention_again();
    assert_eq!(
        again.run_if_due(repository(&house)).await.expect("asked"),
        Outcome::Waits(until),
        "a restart is no way out"
    );
    again.trust_the_clock(&permit(&house, Action::UpdateRetention)).await.expect("trusted");
    assert!(
        matches!(again.run_if_due(repository(&house)).await, Ok(Outcome::Done(state)) if state.removed == 2)
    );
}

#[tokio::test]
async fn a_preview_says_what_would_go_and_removes_nothing() {
    let house = House::open().await;
    for (n, tag) in ["v1", "v2", "v3"].into_iter().enumerate() {
        push_at(&house, tag, n as u64 * DAY).await;
    }
    let show = permit(&house, Action::ShowRetention);
    let none = house.retention.preview(&show, None).await;
    assert!(matches!(none, Err(Error::Missing(_))), "there is no policy");
    let draft = crate::services::retention::Draft {
        algorithm: "or".to_owned(),
        rules: vec![crate::services::retention::DraftRule {
            template: "date_rule".to_owned(),
            days: Some("1".to_owned()),
            num: None,
            selectors: vec![("label".to_owned(), "v2".to_owned())],
        }],
    };
    house.after(4 * DAY);
    let preview =
        house.retention.preview(&show, Some(draft.read().expect("a policy"))).await.expect("foreseen");
    let going: Vec<(&str, &str)> =
        preview.going.iter().map(|(version, why)| (version.tag.as_str(), why.as_str())).collect();
    let why = |days| format!("pushed {days} days ago, and versions are kept for 1");
    assert_eq!(going, [("v1", why(4).as_str()), ("v3", why(2).as_str())]);
    assert_eq!((preview.total, preview.kept, preview.exempt), (2, 1, 1));
    assert_eq!(tags(&house).await.len(), 3);
}

#[tokio::test]
async fn where_tags_are_immutable_none_goes_and_the_preview_says_so() {
    let house = House::open().await;
    push_at(&house, "v1", 0).await;
    push_at(&house, "v2", DAY).await;
    let set = async |immutable_tags: bool| {
        let change = Changed { immutable_tags: Some(immutable_tags), ..Changed::default() };
        let permit = permit(&house, Action::UpdateRepository);
        house.people.organisations.update(&permit, change).await.expect("changed");
    };
    set(true).await;
    let rule = policy("tag_rule", json!({"num": "1"}), "^none$");
    assert_eq!(swr(&house, Method::POST, PATH, rule).await.0, 201);
    let state = ran(&house, 0).await;
    assert_eq!((state.removed, state.kept, state.exempt, state.problem), (0, 2, 2, None));
    let foreseen = async || {
        let found = house.retention.preview(&permit(&house, Action::ShowRetention), None).await;
        let found = found.expect("foreseen");
        (found.immutable, found.total, found.kept, found.exempt)
    };
    assert_eq!(foreseen().await, (true, 0, 2, 2));
    set(false).await;
    assert_eq!(foreseen().await, (false, 1, 1, 0));
    house.after(2 * DAY);
    let run = house.retention.run_if_due(repository(&house)).await.expect("run");
    assert!(matches!(run, Outcome::Done(state) if state.removed == 1));
    assert_eq!(tags(&house).await, ["v2"]);
}

#[tokio::test]
async fn a_log_keeps_the_newest_and_all_of_it_goes_with_its_repository() {
    let house = House::open().await;
    push_at(&house, "old", 0).await;
    push_at(&house, "new", 10).await;
    let id = repository(&house);
    let filled = house.meta().commit::<(), MetaError, _>(move |tx| {
        for number in 1..=LOG_ROWS {
            let record = RetentionLogRecord {
                retention: 1,
                tag: format!("t{number}"),
                digest: digest(b"x").parse().expect("a digest"),
                pushed_at: 1,
                removed_at: 2,
                rule: "{}".to_owned(),
            };
            tx.put(&RetentionLogKey { repository: id, number }, &record)?;
        }
        let state = RetentionStateRecord { next: LOG_ROWS + 1, ..RetentionStateRecord::default() };
        tx.put(&RetentionStateKey { repository: id }, &state)
    });
    filled.await.expect("written");
    assert_eq!(swr(&house, Method::POST, PATH, policy("tag_rule", json!({"num": 1}), "none")).await.0, 201);
    settle_to(&house, &["new"]).await;
    let (log, total) =
        house.retention.histories(&permit(&house, Action::ListRetentionHistories), 0, 1000).expect("a log");
    let ends = (log.first().map(|one| one.number), log.last().map(|one| one.number));
    assert_eq!((total as u64, ends), (LOG_ROWS, (Some(LOG_ROWS + 1), Some(2))));

    house.images.delete_repository(&permit(&house, Action::DeleteRepository)).await.expect("removed");
    let meta = house.meta();
    assert_eq!(meta.get(&RetentionKey { repository: id }).expect("read"), None);
    assert_eq!(meta.get(&RetentionStateKey { repository: id }).expect("read"), None);
    assert_eq!(meta.page::<RetentionLogKey>(&RetentionLogKey::prefix(id), None, 1).expect("read"), []);
    assert_eq!(meta.page::<TextKey>(&TextKey::prefix(TextOwner::Retention(id)), None, 1).expect("read"), []);
}

#[tokio::test]
async fn a_paused_run_lets_others_have_their_turn_and_goes_on() {
    let house = House::open().await;
    for n in 0..250 {
        push_at(&house, &format!("t{n:03}"), n).await;
    }
    let anna = basic("acme/anna", PASSWORD);
    let headers = [("authorization", anna.as_str()), ("content-type", INDEX)];
    let other = house.ask(Method::PUT, "/v2/acme/other/manifests/old", &headers, manifest("old", &[])).await;
    assert_eq!(other.status, 201);
    for path in [PATH, "/v2/manage/namespaces/acme/repos/other/retentions"] {
        let rule = policy("date_rule", json!({"days": "1"}), "none");
        assert_eq!(swr(&house, Method::POST, path, rule).await.0, 201);
    }
    let other = RepositoryKey { name: "acme/other".to_owned() };
    let other = house.meta().get(&other).expect("read").expect("there");
    // Both have had the run that comes with a policy: what is due then is due by its day.
    ran(&house, 0).await;
    let key = RetentionStateKey { repository: other.id };
    let deadline = Instant::now() + DEADLINE;
    while house.meta().get(&key).expect("read").is_none() && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    house.after(3 * DAY);
    let jobs = Jobs::new(house.clock.clone());
    let (retention, run) = (house.retention.clone(), permit(&house, Action::UpdateRetention));
    let begun = jobs.start("retention-run", "runs", |handle| async move {
        let ended = retention.run_one(&run, &handle).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(format!("{ended:?}"))
    });
    begun.expect("begun");
    // On this one thread the run cannot take two batches between two looks.
    let deadline = Instant::now() + DEADLINE;
    while count(&house) == 250 && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    jobs.pause("retention-run", true).expect("it may be");
    let turn = tokio::time::timeout(DEADLINE, house.retention.run_if_due(other.id));
    let ended = turn.await.expect("nobody is waited for").expect("run");
    assert!(matches!(&ended, Outcome::Done(state) if state.removed == 1), "{ended:?}");
    let left = tags(&house).await.len();
    assert!(left > 0 && jobs.show("retention-run").expect("there").running.is_some(), "{left} are left");
    jobs.pause("retention-run", false).expect("it may go on");
    settle_to(&house, &[]).await;
    let deadline = Instant::now() + DEADLINE;
    while jobs.show("retention-run").expect("there").last.is_none() && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    let last = jobs.show("retention-run").expect("there").last.expect("it ended");
    assert!(last.is_ok && last.text.contains("removed: 250"), "{last:?}");
    jobs.stop().await;
}
