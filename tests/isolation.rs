//! Organisations of one account kept apart under several administrators, as product.md §4 has it: each has a
//! policy that denies him to delete in the organisations of the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

mod support;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use support::http::Response;
use support::images::{Kind, OCI_INDEX, index_of};
use support::{Server, Settings};

const NAMES: [&str; 3] = ["one", "two", "three"];

fn answer(server: &Server, line: &str) -> Value {
    let arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let output = server.command(&arguments);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// The policy of the one who may delete in `own` alone.
fn only(own: &str) -> String {
    let others = NAMES.iter().filter(|name| **name != own);
    let resources: Vec<String> = others.map(|name| format!("SWR:*:repo:{name}/*")).collect();
    let statement = json!({
        "Effect": "Deny", "Action": ["swr:repo:deleteRepo", "swr:repo:deleteRepoTag"], "Resource": resources
    });
    json!({"Version": "1.1", "Statement": [statement]}).to_string()
}

#[test]
fn three_administrators_do_everything_and_each_deletes_in_his_own_organisation_alone() {
    let Some(server) = Server::own(Settings::default().closed()) else { return };
    answer(&server, "init --generate-password");
    let mut logins = Vec::new();
    for name in NAMES {
        answer(&server, &format!("org add {name}"));
        let file = server.data().join(format!("{name}.json"));
        std::fs::write(&file, only(name)).expect("a file in scratch");
        let file = file.to_str().expect("a plain path");
        answer(&server, &format!("policy add only-{name} --file {file}"));
        let user = format!("user add {name} --role administrator --generate-password");
        let password = answer(&server, &user)["password"].as_str().expect("text").to_owned();
        answer(&server, &format!("user set {name} --policy only-{name}"));
        logins.push(format!("Basic {}", Base64::encode_string(format!("{name}:{password}").as_bytes())));
    }
    let index = index_of(Kind::Oci, &[]).to_string();
    let send = |who: usize, method: &str, path: &str| -> Response {
        let request = server.http().request(method, path).header("Authorization", &logins[who]);
        match method {
            "PUT" => request.header("Content-Type", OCI_INDEX).body(index.clone()).send(),
            _ => request.send(),
        }
    };
    for (who, administrator) in NAMES.iter().enumerate() {
        for organisation in NAMES {
            let path = format!("/v2/{organisation}/image/manifests/by-{administrator}");
            send(who, "PUT", &path).expect(201);
            send(who, "GET", &path).expect(200);
            let deleted = send(who, "DELETE", &path);
            if organisation == *administrator {
                deleted.expect(202);
                send(who, "GET", &path).expect(404);
            } else {
                let body = deleted.refused(403, "DENIED").json();
                assert_eq!(body["errors"][0]["message"], "you do not have the permission");
                send(who, "GET", &path).expect(200);
            }
        }
    }
    // Taken away, the policy no longer holds anybody back, from the next request on.
    answer(&server, "user set one --no-policies");
    send(0, "DELETE", "/v2/two/image/manifests/by-one").expect(202);
}
