//! Everybody signs in: docker, containerd, podman and skopeo over TLS by the appliance's own CA, with each
//! kind of credential, made by the command line as `docs/users.md` has it. Who may do something can, who may
//! not is told so in SWR's words.

use crate::support::clients::{Client, Runnable, Scratch, pack_layout, require_as_root, write_layout};
use crate::support::{Server, Settings};
use crate::trust::{POLICY, containerd, dockerd, inside, outside_address, outside_of, trust};
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

const DENIED: &str = "you do not have the permission";
const NO_ORGANISATION: &str = "Image organization does not exist, you should create it first";
const WRONG: &str = "Authenticate Error";

/// A user name and password as clients take them.
#[derive(Clone)]
struct Login {
    user: String,
    password: String,
}

/// A registry with people in it: `dev` may push to `acme`, `reader` may pull from it, `stranger` nothing,
/// and `page` is not for programs.
struct House {
    server: Server,
    outside: SocketAddr,
    people: Vec<(&'static str, String)>,
}

impl House {
    fn open() -> Option<Self> {
        let ip = outside_address()?;
        let settings = Settings::default().closed().set("TLS_MODE", "auto");
        let server = Server::own(settings.argument("--listen").argument(&format!("{ip}:0")))?;
        let outside = outside_of(&server, ip);
        let mut house = Self { server, outside, people: Vec::new() };
        house.answer("init --generate-password");
        house.answer("org add acme");
        for (name, access) in
            [("dev", ""), ("reader", ""), ("stranger", ""), ("page", " --console --no-programmatic")]
        {
            let made = house.answer(&format!("user add {name} --generate-password{access}"));
            house.people.push((name, word(&made["password"])));
        }
        house.answer("grant set acme dev edit");
        house.answer("grant set acme reader read");
        Some(house)
    }

    /// The JSON a command answers.
    fn answer(&self, line: &str) -> Value {
        let arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
        let output = self.server.command(&arguments);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn by_password(&self, name: &str) -> Login {
        let found = self.people.iter().find(|(known, _)| *known == name).expect("one of the people");
        Login { user: name.to_owned(), password: found.1.clone() }
    }

    /// The long-term login of a new access key, its key made as SWR's users make it: by openssl.
    fn by_access_key(&self, name: &str) -> Login {
        let made = self.answer(&format!("key add {name}"));
        let (ak, sk) = (word(&made["key"]), word(&made["secret"]));
        let pipeline =
            "printf \"$1\" | openssl dgst -binary -sha256 -hmac \"$2\" | od -An -vtx1 | tr -d ' \\n'";
        let output = Command::new("sh").args(["-c", pipeline, "sh", &ak, &sk]).output().expect("sh runs");
        let password = String::from_utf8(output.stdout).expect("hex");
        assert_eq!(password.len(), 64, "{}", String::from_utf8_lossy(&output.stderr));
        Login { user: format!("region-1@{ak}"), password }
    }

    fn by_temporary_login(&self, name: &str) -> Login {
        let made = self.answer(&format!("login add {name} --host registry.example"));
        Login { user: word(&made["login"]), password: word(&made["password"]) }
    }
}

fn word(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// A client: what it does, whether it succeeded, and what it said.
trait Tool {
    /// `None` for one that has no such command.
    fn login(&self, login: &Login) -> Option<(bool, String)>;
    fn push(&self, login: &Login, name: &str) -> (bool, String);
    /// What it makes of what the registry says.
    fn says(&self, words: &'static str) -> &'static str {
        words
    }
    /// From an empty store of its own.
    fn pull(&self, login: &Login, name: &str) -> (bool, String);
}

fn succeeds((succeeded, said): (bool, String), what: &str) {
    assert!(succeeded, "{what}: {said}");
}

fn refused((succeeded, said): (bool, String), with: &str, what: &str) {
    assert!(!succeeded && said.contains(with), "{what}, expected {with:?}: {said}");
}

/// What each client is put through.
fn walk(house: &House, tool: &dyn Tool) {
    let (denied, wrong_login) = (tool.says(DENIED), tool.says(WRONG));
    let developer = [house.by_password("dev"), house.by_access_key("dev"), house.by_temporary_login("dev")];
    for (kind, login) in ["password", "access-key", "temporary"].iter().zip(&developer) {
        if let Some(outcome) = tool.login(login) {
            succeeds(outcome, &format!("login by {kind}"));
        }
        let name = format!("acme/{kind}:v1");
        succeeds(tool.push(login, &name), &format!("push by {kind}"));
        succeeds(tool.pull(login, &name), &format!("pull by {kind}"));
    }

    let (reader, stranger) = (house.by_access_key("reader"), house.by_access_key("stranger"));
    succeeds(tool.pull(&reader, "acme/password:v1"), "a reader pulls");
    refused(tool.push(&reader, "acme/password:v2"), denied, "a reader pushes");
    refused(tool.push(&stranger, "acme/password:v2"), denied, "a stranger pushes");
    refused(tool.pull(&stranger, "acme/password:v1"), denied, "a stranger pulls");
    refused(tool.push(&developer[0], "nowhere/image:v1"), tool.says(NO_ORGANISATION), "no such organisation");

    let mut wrong = house.by_password("dev");
    wrong.password.push('x');
    for (who, login) in [("a wrong password", wrong), ("not for programs", house.by_password("page"))] {
        if let Some(outcome) = tool.login(&login) {
            refused(outcome, wrong_login, &format!("login with {who}"));
        }
        refused(tool.pull(&login, "acme/password:v1"), "", who);
    }

    house.answer("grant rm acme reader");
    refused(tool.pull(&reader, "acme/password:v1"), denied, "a grant that was taken away");
    house.answer("grant set acme reader read");
    succeeds(tool.pull(&reader, "acme/password:v1"), "a grant that is back");
    let key = reader.user.trim_start_matches("region-1@");
    house.answer(&format!("key set {key} --disable"));
    refused(tool.pull(&reader, "acme/password:v1"), "", "a key that was switched off");
}

/// podman and skopeo have words of their own for a wrong login.
fn shown_by_containers_image(words: &'static str) -> &'static str {
    if words == WRONG { "invalid username/password" } else { words }
}

/// skopeo, below whose `/etc` the CA is.
struct Skopeo {
    scratch: Scratch,
    host: String,
}

impl Skopeo {
    fn client(&self) -> Client {
        inside(&self.scratch, "with", "skopeo")
    }
}

impl Tool for Skopeo {
    fn says(&self, words: &'static str) -> &'static str {
        shown_by_containers_image(words)
    }

    fn login(&self, login: &Login) -> Option<(bool, String)> {
        let file = self.scratch.text("auth.json");
        let Login { user, password } = login;
        Some(self.client().attempt(&["login", "--authfile", &file, "-u", user, "-p", password, &self.host]))
    }

    fn push(&self, login: &Login, name: &str) -> (bool, String) {
        let credentials = format!("{}:{}", login.user, login.password);
        let from = format!("oci:{}:v1", self.scratch.text("in"));
        let to = format!("docker://{}/{name}", self.host);
        self.client().attempt(&["copy", "--dest-creds", &credentials, &from, &to])
    }

    fn pull(&self, login: &Login, name: &str) -> (bool, String) {
        let credentials = format!("{}:{}", login.user, login.password);
        let from = format!("docker://{}/{name}", self.host);
        let out = self.scratch.text("out");
        let _ = std::fs::remove_dir_all(&out);
        self.client().attempt(&["copy", "--src-creds", &credentials, &from, &format!("dir:{out}")])
    }
}

#[test]
fn skopeo_signs_in_with_every_credential_and_is_told_no_in_swrs_words() {
    if !require_as_root(&["skopeo", "unshare", "openssl"]) {
        return;
    }
    let Some(house) = House::open() else { return };
    let scratch = Scratch::new();
    let host = format!("localhost:{}", house.server.address().port());
    let image = Runnable::new(&scratch, "image", "skopeo").image("amd64", false);
    write_layout(&scratch, "in", &[("amd64", &image)]);
    scratch.write("with/etc/containers/policy.json", POLICY);
    trust(&house.server, &scratch, "with", &host, "podman");
    walk(&house, &Skopeo { scratch, host });
}

/// podman: pushes from one store, pulls into another that is emptied each time.
struct Podman {
    scratch: Scratch,
    host: String,
    image: String,
}

impl Podman {
    fn client(&self, storage: &str) -> Client {
        let scratch = &self.scratch;
        let (root, run) = (scratch.text(&format!("{storage}/root")), scratch.text(&format!("{storage}/run")));
        let always =
            ["--root", &root, "--runroot", &run, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
        inside(scratch, "with", "podman").always(&always)
    }
}

impl Tool for Podman {
    fn says(&self, words: &'static str) -> &'static str {
        shown_by_containers_image(words)
    }

    fn login(&self, login: &Login) -> Option<(bool, String)> {
        let file = self.scratch.text("auth.json");
        let arguments = ["login", "--authfile", &file, "-u", &login.user, "-p", &login.password, &self.host];
        Some(self.client("first").attempt(&arguments))
    }

    fn push(&self, login: &Login, name: &str) -> (bool, String) {
        let credentials = format!("{}:{}", login.user, login.password);
        let name = format!("{}/{name}", self.host);
        self.client("first").attempt(&["push", "--creds", &credentials, &self.image, &name])
    }

    fn pull(&self, login: &Login, name: &str) -> (bool, String) {
        let credentials = format!("{}:{}", login.user, login.password);
        let second = self.client("second");
        let _ = second.attempt(&["rmi", "--all", "--force"]);
        second.attempt(&["pull", "--creds", &credentials, &format!("{}/{name}", self.host)])
    }
}

#[test]
fn podman_signs_in_with_every_credential_and_is_told_no_in_swrs_words() {
    if !require_as_root(&["podman", "busybox", "unshare", "openssl"]) {
        return;
    }
    let Some(house) = House::open() else { return };
    let scratch = Scratch::new();
    let host = format!("localhost:{}", house.server.address().port());
    let image = Runnable::new(&scratch, "image", "podman").image("amd64", false);
    write_layout(&scratch, "layout", &[("amd64", &image)]);
    scratch.write("with/etc/containers/policy.json", POLICY);
    scratch.write("with/etc/containers/registries.conf", "unqualified-search-registries = []\n");
    trust(&house.server, &scratch, "with", &host, "podman");
    let mut podman = Podman { scratch, host, image: String::new() };
    let first = podman.client("first");
    first.run(&["load", "-i", &pack_layout(&podman.scratch, "layout")]);
    podman.image = first.run(&["images", "-q"]).trim().to_owned();
    walk(&house, &podman);
}

/// containerd by ctr, which has no login: each command takes the credential.
struct Containerd {
    ctr: Client,
    hosts: String,
    archive: String,
    host: String,
}

impl Tool for Containerd {
    fn login(&self, _: &Login) -> Option<(bool, String)> {
        None
    }

    /// The status alone.
    fn says(&self, words: &'static str) -> &'static str {
        if words == DENIED { "403 Forbidden" } else { "401 Unauthorized" }
    }

    fn push(&self, login: &Login, name: &str) -> (bool, String) {
        let (name, user) = (format!("{}/{name}", self.host), format!("{}:{}", login.user, login.password));
        self.ctr.run(&["image", "import", "--snapshotter", "native", "--index-name", &name, &self.archive]);
        self.ctr.attempt(&["image", "push", "--hosts-dir", &self.hosts, "--user", &user, &name])
    }

    fn pull(&self, login: &Login, name: &str) -> (bool, String) {
        let (name, user) = (format!("{}/{name}", self.host), format!("{}:{}", login.user, login.password));
        let _ = self.ctr.attempt(&["image", "rm", "--sync", &name]);
        let hosts = ["image", "pull", "--snapshotter", "native", "--hosts-dir", &self.hosts];
        self.ctr.attempt(&[&hosts[..], &["--user", &user, &name]].concat())
    }
}

#[test]
fn containerd_signs_in_with_every_credential_and_is_told_no_in_swrs_words() {
    if !require_as_root(&["containerd", "ctr", "busybox", "openssl"]) {
        return;
    }
    let Some(house) = House::open() else { return };
    let scratch = Scratch::new();
    let host = house.server.address().to_string();
    let image = Runnable::new(&scratch, "image", "containerd").image("amd64", false);
    write_layout(&scratch, "layout", &[("amd64", &image)]);
    trust(&house.server, &scratch, "with", &host, "containerd");
    let (_daemon, ctr) = containerd(&scratch);
    let archive = pack_layout(&scratch, "layout");
    let hosts = scratch.text("with/etc/containerd/certs.d");
    walk(&house, &Containerd { ctr, hosts, archive, host });
}

/// docker, with a daemon of its own that trusts what is below its `/etc`.
struct Docker {
    docker: Client,
    tar: String,
    host: String,
}

impl Docker {
    fn as_who(&self, login: &Login, arguments: &[&str]) -> (bool, String) {
        let _ = self.docker.attempt(&["logout", &self.host]);
        match self.login(login).expect("docker has it") {
            (true, _) => self.docker.attempt(arguments),
            refused => refused,
        }
    }
}

impl Tool for Docker {
    fn login(&self, login: &Login) -> Option<(bool, String)> {
        Some(self.docker.attempt(&["login", "-u", &login.user, "-p", &login.password, &self.host]))
    }

    fn push(&self, login: &Login, name: &str) -> (bool, String) {
        let name = format!("{}/{name}", self.host);
        self.docker.run(&["import", &self.tar, &name]);
        self.as_who(login, &["push", &name])
    }

    fn pull(&self, login: &Login, name: &str) -> (bool, String) {
        let name = format!("{}/{name}", self.host);
        let _ = self.docker.attempt(&["rmi", "--force", &name]);
        self.as_who(login, &["pull", &name])
    }
}

#[test]
fn docker_signs_in_with_every_credential_and_is_told_no_in_swrs_words() {
    if !require_as_root(&["dockerd", "docker", "busybox", "unshare", "openssl"]) {
        return;
    }
    let Some(house) = House::open() else { return };
    let scratch = Scratch::new();
    let host = house.outside.to_string();
    trust(&house.server, &scratch, "with", &host, "docker");
    let (_daemon, docker) = dockerd(&scratch);
    let runnable = Runnable::new(&scratch, "image", "docker");
    let tar = scratch.write("image.tar", &runnable.tar).to_str().expect("a plain path").to_owned();
    walk(&house, &Docker { docker, tar, host });
}
