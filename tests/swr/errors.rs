//! Who is not let in, and requests that make no sense.

use serde_json::json;

use super::client::House;

#[test]
fn nobody_gets_an_answer_without_a_signature_or_a_token_that_is_right() {
    let Some(house) = House::open() else { return };
    let admin = &house.admin;
    let target = "/v2/manage/namespaces";
    let why = |message: &str| format!("Incorrect IAM authentication information: {message}");
    let none = admin.http.get(target).send().refusal(401, "APIGW.0301");
    assert_eq!(none["error_msg"], why("Unauthorized"));
    let wrong = admin.wrong().get(target).refusal(401, "APIGW.0301");
    assert_eq!(wrong["error_msg"], why("verify aksk signature fail"));
    let body = br#"{"namespace": "group"}"#;
    let other = br#"{"namespace": "other"}"#;
    admin.signed("POST", target, other, body).send().refusal(401, "APIGW.0301");
    let basic = admin.http.get(target).header("Authorization", admin.login()).send();
    basic.refusal(401, "APIGW.0301");
    let token = admin.http.get(target).header("X-Auth-Token", "rubbish").send().refusal(401, "APIGW.0301");
    assert_eq!(token["error_msg"], why("decrypt token fail"));
    admin.signed("POST", target, body, body).send().expect(201);
    assert_eq!(
        admin.get(target).expect(200).json()["namespaces"][0]["name"],
        "group",
        "only what was signed"
    );
}

#[test]
fn a_token_lets_in_whatever_else_is_sent() {
    let Some(house) = House::open() else { return };
    let (server, admin) = (&house.server, &house.admin);
    let made = super::client::command(server, "user add tess --role administrator --generate-password");
    let user = json!({"name": "tess", "password": made["password"], "domain": {"name": "main"}});
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}});
    let given = admin.http.post("/v3/auth/tokens").body(body.to_string()).send().expect(201);
    let token = given.need("x-subject-token");
    let ask = |target: &str| admin.http.get(target).header("X-Auth-Token", token);
    ask("/v2/manage/namespaces").send().expect(200);
    ask("/v2/manage/namespaces").header("Authorization", "x").send().expect(200);
    let made = admin.http.post("/v2/manage/namespaces").header("X-Auth-Token", token);
    made.body(r#"{"namespace": "by-token"}"#).send().empty(201);
    ask("/v2/manage/namespaces/by-token").send().expect(200);
    ask("/").send().expect(200);
}

#[test]
fn requests_that_make_no_sense_are_told_why() {
    let Some(house) = House::open() else { return };
    let admin = &house.admin;
    admin.get("/v2/manage/nothing").refusal(404, "4040083");
    admin.get("/v2/manage/namespaces/").refusal(404, "4040083");
    admin.get("/v3/manage/nothing").refusal(404, "4040083");
    let put = admin.send("PUT", "/v2/manage/namespaces", None);
    assert_eq!(put.need("allow"), "GET, POST");
    put.refusal(405, "4050000");
    for body in ["", "{", "[]", "\"x\"", "{\"namespace\": 1}"] {
        let request = admin.signed("POST", "/v2/manage/namespaces", body.as_bytes(), body.as_bytes());
        request.send().refusal(400, "4001018");
    }
    let large = vec![b' '; (1 << 20) + 1];
    admin.signed("POST", "/v2/manage/namespaces", &large, &large).send().refusal(413, "4131001");
    admin.get("/v2/manage/namespaces/a%20b").refusal(400, "4001028");
    admin.get("/v2/manage/namespaces/library/repos/A").refusal(400, "4001029");
}
