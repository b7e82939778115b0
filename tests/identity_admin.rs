//! Accounts, users and rights from the command line, as an operator makes them: offline and on a
//! running server, with nothing secret where it must not be.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::server::{binary, lab};
use support::{Server, Settings, text};

const PASSWORD: &str = "a horse, of course";

/// Runs the binary on a data directory, with something on stdin.
fn run(data: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut command = binary();
    command.args(arguments).arg("--data").arg(data);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that reads nothing may have ended.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the child is ours")
}

fn done(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments, "");
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The JSON of a command that must succeed.
fn answer(data: &Path, line: &str) -> Value {
    let arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    serde_json::from_str(&done(data, &arguments)).expect("JSON")
}

/// What a command said that must be refused with this code.
fn refused(data: &Path, line: &str, code: i32) -> String {
    let arguments: Vec<&str> = line.split(' ').collect();
    let output = run(data, &arguments, "");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    assert_eq!(text(&output.stdout), "", "{line}");
    said
}

fn names(page: &Value, field: &str) -> Vec<String> {
    let items = page["items"].as_array().expect("a list");
    items.iter().map(|item| item[field].as_str().expect("text").to_owned()).collect()
}

/// With the first account, made on the directory itself.
fn initialised(data: &Path) {
    let made = run(data, &["init", "--password-stdin", "--json"], &format!("{PASSWORD}\n"));
    assert!(made.status.success(), "{}", text(&made.stderr));
}

#[test]
fn init_works_on_a_directory_that_nobody_serves_and_only_once() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    assert_eq!(run(&data, &["init"], "").status.code(), Some(2), "no terminal, no password");
    assert!(!data.exists(), "a wrong question changes nothing");
    assert!(refused(&data, "init --user not/a/name --generate-password", 1).contains("1 to 64 letters"));
    let made = run(&data, &["init", "--password-stdin"], &format!("{PASSWORD}\n"));
    let said = text(&made.stdout);
    assert!(made.status.success(), "{}", text(&made.stderr));
    for next in ["pierhead trust", "docker login -u admin", "pierhead org add", "pierhead user add"] {
        assert!(said.contains(next), "{said}");
    }
    assert!(!said.contains(PASSWORD), "only a password that was made is shown");
    assert_eq!(
        fs::metadata(data.join("secret.key")).expect("a key file").permissions().mode() & 0o777,
        0o600
    );
    assert!(
        refused(&data, "init --account other --generate-password", 1).contains("\"main\" exists already")
    );
    let again = answer(&data, "init --account other --generate-password --if-needed");
    assert_eq!((&again["account"], &again["made"]), (&json!("main"), &json!(false)), "{again}");

    let Some(server) = Server::on_data(&data, Settings::default()) else { return };
    let accounts = answer(&data, "account list");
    assert_eq!(
        (names(&accounts, "name"), &accounts["items"][0]["operator"]),
        (vec!["main".into()], &json!(true))
    );
    assert!(refused(&data, "init --generate-password", 1).contains("\"main\" exists already"));
    drop(server);
}

#[test]
fn init_works_through_the_socket_of_a_running_server_and_commands_before_it_say_so() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let data = server.data();
    assert!(refused(data, "user list", 1).contains("pierhead init"));
    let made = answer(data, "init --account acme --user root1 --generate-password");
    assert_eq!((&made["account"], &made["user"]), (&json!("acme"), &json!("root1")));
    let password = made["password"].as_str().expect("made").to_owned();
    assert_eq!(password.len(), 24);
    assert!(!server.log().contains(&password));
    let library = answer(data, "org show library");
    assert_eq!(library["account"], "acme");
    assert!(refused(data, "init --generate-password", 1).contains("\"acme\" exists already"));
    assert_eq!(answer(data, "init --generate-password --if-needed")["made"], json!(false));
}

/// A policy document on the disk.
fn policy(folder: &Path) -> String {
    let path = folder.join("policy.json");
    let statement =
        json!({"Effect": "Deny", "Action": ["swr:repo:deleteRepo*"], "Resource": ["SWR:*:repo:acme/*"]});
    fs::write(&path, json!({"Version": "1.1", "Statement": [statement]}).to_string()).expect("written");
    path.display().to_string()
}

/// Accounts and users.
fn people(data: &Path) {
    answer(data, "account add beta --user betty --generate-password");
    assert_eq!(answer(data, "account set beta --disable")["enabled"], false);
    assert_eq!(answer(data, "account set beta --enable")["enabled"], true);
    assert_eq!(answer(data, "account show beta")["operator"], false);

    let ann = answer(data, "user add ann --role developer --generate-password");
    assert_eq!((&ann["roles"], &ann["has_password"]), (&json!(["SWR Developer"]), &json!(true)));
    let robot = answer(data, "user add robot --description builds");
    assert_eq!((&robot["has_password"], &robot["console"]), (&json!(false), &json!(false)));
    assert_eq!(answer(data, "user add betty2 --account beta")["account"], "beta");
    assert_eq!(answer(data, "user set ann --console --disable")["enabled"], false);
    assert_eq!(answer(data, "user set ann --enable --no-roles")["roles"], json!([]));
    assert_eq!(answer(data, "user show ann")["console"], true);
    assert_eq!(names(&answer(data, "user list"), "name"), ["admin", "ann", "robot"]);
}

/// Policies and groups.
fn policies_and_groups(data: &Path, folder: &Path) {
    let file = policy(folder);
    let made = answer(data, &format!("policy add no-deletes --file {file}"));
    assert_eq!(made["document"]["Version"], "1.1");
    assert_eq!(answer(data, "user set ann --policy no-deletes")["policies"], json!(["no-deletes"]));
    assert!(refused(data, "policy rm no-deletes", 1).contains("\"no-deletes\" is in use"));
    assert_eq!(answer(data, "policy set no-deletes --description d")["description"], "d");
    assert_eq!(names(&answer(data, "policy list"), "name"), ["no-deletes"]);

    answer(data, "group add builders --role read-only");
    assert_eq!(answer(data, "group join builders ann robot")["members"], json!(["ann", "robot"]));
    assert_eq!(answer(data, "group leave builders robot")["members"], json!(["ann"]));
    assert_eq!(answer(data, "group set builders --policy no-deletes")["policies"], json!(["no-deletes"]));
    assert_eq!(answer(data, "user show ann")["groups"], json!(["builders"]));
    answer(data, "group add empty");
    assert_eq!(answer(data, "group rm empty")["removed"], "empty");
    assert_eq!(names(&answer(data, "group list"), "name"), ["builders"]);
}

/// Credentials; gives an AK of robot's.
fn credentials(data: &Path) -> String {
    let key = answer(data, "key add robot")["key"].as_str().expect("an AK").to_owned();
    assert_eq!(answer(data, &format!("key set {key} --disable"))["enabled"], false);
    let login = answer(data, "login add ann --lasts 1h --host registry.example");
    let command = login["commands"]["docker"].as_str().expect("a command");
    assert!(
        command.starts_with("docker login -u region-1@") && command.ends_with(" registry.example"),
        "{command}"
    );
    assert_eq!(answer(data, "secret rotate")["resealed"], 1);
    key
}

/// Organisations, repositories and the rights in them.
fn rights(data: &Path) {
    assert_eq!(answer(data, "org add acme")["account"], "main");
    assert_eq!(names(&answer(data, "org list"), "name"), ["acme", "library"]);
    assert_eq!(answer(data, "grant set acme ann read")["level"], "read");
    assert_eq!(answer(data, "grant set acme ann manage")["level"], "manage");
    assert_eq!(answer(data, "repo add acme/team/web --category arm")["category"], "arm");
    assert_eq!(answer(data, "repo set acme/team/web --description about")["description"], "about");
    assert_eq!(answer(data, "repo show acme/team/web")["public"], false);
    assert_eq!(answer(data, "repo set acme/team/web --immutable-tags yes")["immutable_tags"], true);
    assert_eq!(
        answer(data, "repo set acme/team/web --description pilot")["immutable_tags"],
        true,
        "it stays"
    );
    answer(data, "grant set acme/team/web robot edit");
    assert_eq!(answer(data, "grant rm acme/team/web robot")["removed"], "robot");
    answer(data, "share add acme/team/web beta --until 2090-01-01");
    let share = answer(data, "share set acme/team/web beta --description pilot");
    assert_eq!((&share["until"], &share["valid"]), (&json!("2090-01-01T23:59:59.999Z"), &json!(true)));
}

#[test]
fn every_family_does_its_work_and_a_restart_keeps_it() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    let Some(mut server) = Server::on_data(&data, Settings::default()) else { return };
    answer(&data, "init --generate-password");
    let ask = |line: &str| answer(&data, line);
    people(&data);
    policies_and_groups(&data, folder.path());
    let key = credentials(&data);
    rights(&data);

    let lists = [
        "account list",
        "user list",
        "user list --account beta",
        "group list",
        "policy list",
        "key list robot",
        "org list",
        "grant list acme",
        "grant list acme/team/web",
        "repo show acme/team/web",
        "share list acme/team/web",
    ];
    let before: Vec<Value> = lists.iter().map(|line| ask(line)).collect();
    server.kill();
    server.start();
    let after: Vec<Value> = lists.iter().map(|line| ask(line)).collect();
    assert_eq!(after, before);
    for line in lists.iter().filter(|line| line.contains("list")) {
        let table = done(&data, &line.split(' ').collect::<Vec<_>>());
        assert!(table.lines().next().is_some_and(|head| head.chars().all(|c| !c.is_lowercase())), "{table}");
    }

    assert_eq!(ask("share rm acme/team/web beta")["removed"], "beta");
    assert_eq!(ask("account rm beta")["removed"], "beta");
    assert_eq!(ask(&format!("key rm {key}"))["removed"], key);
    assert_eq!(ask("user rm ann")["removed"], "ann");
    assert_eq!(names(&ask("grant list acme"), "user"), Vec::<String>::new());
    assert!(refused(&data, "org rm acme", 1).contains("it has repositories"));
    let left = json!({"repositories": 1, "grants": 0, "refused": "it has repositories"});
    assert_eq!(ask("org delete acme --dry-run"), left);
    assert_eq!(ask("org delete library --dry-run")["refused"], "it is always there");
    ask("org add gone");
    let empty = json!({"repositories": 0, "grants": 0, "refused": null});
    assert_eq!(ask("org delete gone --dry-run"), empty);
    assert_eq!(names(&ask("org list"), "name"), ["acme", "gone", "library"]);
    assert_eq!(ask("org rm gone")["removed"], "gone");
}

#[test]
fn what_is_wrong_is_refused_with_words_that_help() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let data = server.data();
    answer(data, "init --generate-password");
    answer(data, "user add ann");
    let rows = [
        ("user add ann", 1, "user \"ann\" exists already"),
        ("user add x --role king", 1, "a role is one of: administrator, developer, read-only"),
        ("user set ann", 2, "say what to change"),
        ("user set ann --enable --disable", 2, "cannot be used with"),
        ("user set ann --policy nix", 1, "policy \"nix\" does not exist"),
        ("user show bob", 1, "user \"bob\" does not exist"),
        ("user list --account nix", 1, "account \"nix\" does not exist"),
        ("user add x --password hunter2hunter2", 2, "unexpected argument '--password'"),
        ("user add x --password-file /nowhere", 1, "/nowhere"),
        ("account set main --disable", 1, "it runs the appliance"),
        ("account rm main", 1, "it runs the appliance"),
        ("group join nix ann", 1, "group \"nix\" does not exist"),
        ("key set AKNOSUCHKEY000000000 --enable", 1, "does not exist"),
        ("login add ann --lasts 2d", 1, "at most 24 hours"),
        ("org add Acme", 1, "not an organisation name"),
        ("org add library", 1, "exists already"),
        ("grant set nix ann read", 1, "organisation \"nix\" does not exist"),
        ("grant set library ann all", 2, "possible values: read, edit, manage"),
        ("grant rm library ann", 1, "does not exist"),
        ("repo show library/nix", 1, "repository \"library/nix\" does not exist"),
        ("share add library/nix main", 1, "does not exist"),
        ("share add library/nix main --until soon", 2, "neither a day nor a time"),
    ];
    for (line, code, words) in rows {
        let said = refused(data, line, code);
        assert!(said.contains(words), "{line}: {said}");
    }
    for n in 0..2 {
        answer(data, &format!("key add ann --description {n}"));
    }
    assert!(refused(data, "key add ann", 1).contains("2 access keys of one user"));
}

#[test]
fn a_document_is_checked_without_a_server() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let good = policy(folder.path());
    let check =
        |arguments: &[&str]| binary().args(["policy", "check"]).args(arguments).output().expect("runs");
    assert_eq!(text(&check(&[&good]).stdout), "the document is a policy\n");
    let bad = folder.path().join("bad.json");
    fs::write(&bad, r#"{"Version":"1.0","Statement":[]}"#).expect("written");
    let output = check(&["--json", &bad.display().to_string()]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &said["ok"]), (Some(1), &json!(false)));
    assert!(said["problem"].as_str().expect("why").contains("1.1"), "{said}");
}

#[test]
fn a_credentials_file_is_its_owners_alone_and_replaces_nothing() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let data = server.data();
    answer(data, "init --generate-password");
    answer(data, "user add robot");
    let file = data.join("..").join(format!("credentials-{}.csv", server.pid()));
    let line = format!("key add robot --csv {} --login-key registry.example", file.display());
    let made = answer(data, &line);
    let csv = fs::read_to_string(&file).expect("written");
    let mode = fs::metadata(&file).expect("there").permissions().mode();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((mode & 0o777, lines[0]), (0o600, "User Name,Access Key Id,Secret Access Key"));
    let fields: Vec<&str> = lines[1].split(',').collect();
    assert_eq!(
        (lines.len(), fields.len(), fields[0], fields[1]),
        (2, 3, "robot", made["key"].as_str().unwrap())
    );
    assert!(made.get("secret").is_none(), "the SK is in the file only");
    assert_eq!(made["login_command"], login_command(fields[1], fields[2]));
    assert!(refused(data, &line, 1).contains("exist"), "an SK is never written over");
    assert_eq!(names(&answer(data, "key list robot"), "key").len(), 1, "and no key was made for it");
    assert_eq!(fs::read_to_string(&file).expect("still there"), csv);
    fs::remove_file(&file).expect("removed");
}

/// As the documents of SWR make it with openssl.
fn login_command(ak: &str, sk: &str) -> String {
    let mut openssl = Command::new("openssl");
    let child =
        openssl.args(["dgst", "-sha256", "-hmac", sk]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("openssl");
    child.stdin.take().expect("piped").write_all(ak.as_bytes()).expect("written");
    let said = text(&child.wait_with_output().expect("openssl").stdout);
    let key = said.trim().rsplit(' ').next().expect("a digest").to_owned();
    format!("docker login -u region-1@{ak} -p {key} registry.example")
}

#[test]
fn no_secret_is_in_the_log_or_the_data_directory() {
    let Some(mut server) = Server::own(Settings::default().set("LOG_LEVEL", "trace")) else { return };
    let data = server.data().to_owned();
    let made = run(&data, &["init", "--password-stdin", "--json"], &format!("{PASSWORD}\n"));
    assert!(made.status.success());
    let mut secrets = vec![PASSWORD.to_owned()];
    let mut secret =
        |answer: Value, field: &str| secrets.push(answer[field].as_str().expect("made").to_owned());
    secret(answer(&data, "user add ann --generate-password"), "password");
    secret(answer(&data, "user set ann --generate-password"), "password");
    secret(answer(&data, "account add beta --generate-password"), "password");
    secret(answer(&data, "key add ann"), "secret");
    secret(answer(&data, "login add ann"), "password");
    // A body that is refused has a password, too.
    let again = run(&data, &["user", "add", "ann", "--password-stdin"], "another password 7\n");
    assert_eq!(again.status.code(), Some(1));
    secrets.push("another password 7".to_owned());
    assert!(server.stop().success());
    let log = server.log();
    assert!(log.contains("\"TRACE\"") || log.contains("\"DEBUG\""), "everything is logged");
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "in the log");
        assert!(!holds(&data, secret.as_bytes()), "in the data directory");
    }
}

/// Whether a file below `folder` has these bytes.
fn holds(folder: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).any(|path| {
        if path.is_dir() {
            return holds(&path, wanted);
        }
        fs::read(&path).is_ok_and(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
    })
}

#[test]
fn a_key_file_that_is_gone_is_told_at_the_start_and_nothing_is_made_in_its_place() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    initialised(&data);
    let Some(mut server) = Server::on_data(&data, Settings::default()) else { return };
    answer(&data, "user add robot");
    answer(&data, "key add robot");
    assert!(server.stop().success());
    let (file, away) = (data.join("secret.key"), folder.path().join("away"));
    fs::rename(&file, &away).expect("taken away");
    let start = || lab(&data).output();
    for _ in 0..2 {
        let output = start().expect("the binary starts");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("there is no key file") && said.contains("put it back"), "{said}");
    }
    assert!(!file.exists());
    fs::rename(&away, &file).expect("put back");
    server.start();
    assert_eq!(names(&answer(&data, "key list robot"), "key").len(), 1);
}

/// A command as another user of this host, if this one may become him.
fn as_nobody(folder: &Path, arguments: &[&str], data: &Path) -> Option<Output> {
    let program = folder.join("pierhead");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_pierhead"), &program).expect("a copy");
    }
    loop {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        let output = command.args(arguments).arg("--data").arg(data).output().ok()?;
        let said = text(&output.stderr);
        // A process that another test starts meanwhile holds what this one wrote the copy with, for a moment.
        if !(said.starts_with("setpriv:") && said.contains("Text file busy")) {
            return (!said.starts_with("setpriv:")).then_some(output);
        }
    }
}

#[test]
fn another_user_of_the_host_administers_nothing() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    initialised(&data);
    for path in [folder.path(), &data] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("our folder");
    }
    let offline = ["init", "--generate-password"];
    let Some(output) = as_nobody(folder.path(), &offline, &data) else {
        support::skipped("needs root and setpriv, to become another user");
        return;
    };
    assert!(text(&output.stderr).contains("belongs to user 0"), "{}", text(&output.stderr));
    let Some(_server) = Server::on_data(&data, Settings::default()) else { return };
    fs::set_permissions(data.join("admin.sock"), Permissions::from_mode(0o666)).expect("our socket");
    for line in ["init --generate-password", "user list", "user add x", "key add admin", "secret rotate"] {
        let output =
            as_nobody(folder.path(), &line.split(' ').collect::<Vec<_>>(), &data).expect("as before");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{line}");
        assert!(text(&output.stderr).contains("you are user 65534"), "{line}: {}", text(&output.stderr));
    }
    assert_eq!(names(&answer(&data, "user list"), "name"), ["admin"]);
}

#[test]
fn every_command_has_an_example_in_its_help() {
    let families =
        ["account", "user", "group", "policy", "key", "login", "secret", "org", "grant", "repo", "share"];
    let help = |words: &[&str]| text(&binary().args(words).arg("--help").output().expect("runs").stdout);
    assert!(help(&["init"]).contains("Example"));
    for family in families {
        let listed = help(&[family]);
        let commands = listed.lines().skip_while(|line| *line != "Commands:").skip(1);
        let commands: Vec<&str> = commands
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| *word != "help")
            .collect();
        assert!(!commands.is_empty(), "{listed}");
        for command in commands {
            let help = help(&[family, command]);
            assert!(
                help.contains("Example") && help.contains(&format!("pierhead {family} {command}")),
                "{help}"
            );
            assert!(help.contains("--json"), "{family} {command}");
        }
    }
}
