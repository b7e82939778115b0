//! Clients over TLS by the appliance's own CA, told to trust it by what `pierhead trust --write` wrote
//! and by nothing else. The files are put where they belong in a mount namespace of the client's own,
//! so that the machine's are neither read nor touched.

use crate::support::clients::{
    Client, Daemon, Runnable, Scratch, pack_layout, require, require_as_root, write_layout,
};
use crate::support::wait::until;
use crate::support::{Server, Settings};
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

const START: Duration = Duration::from_secs(60);

/// Runs `"$@"` with `$0/etc/…` bound over the same folders of the machine.
const BIND: &str = "for d in docker containerd containers; do \
    if [ -d \"$0/etc/$d\" ]; then mkdir -p /etc/$d && mount --bind \"$0/etc/$d\" /etc/$d || exit 9; fi; done; exec \"$@\"";

/// For podman and skopeo: no signatures are asked for.
pub const POLICY: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;

/// A client whose `/etc` is what is below `root` in scratch.
pub fn inside(scratch: &Scratch, root: &str, program: &str) -> Client {
    let root = scratch.text(root);
    let always = ["-m", "--propagation", "private", "sh", "-c", BIND, &root, program];
    Client::new("unshare").always(&always).environment("HOME", &scratch.text("home"))
}

/// A server with a CA of its own.
fn server() -> Option<Server> {
    Server::own(Settings::default().set("TLS_MODE", "auto"))
}

/// An address of this host that docker does not hold for loopback, from which it takes any certificate;
/// none, loudly, if there is no such address.
pub fn outside_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent: this only asks which address would be used.
    let asked = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let found = asked.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback());
    if found.is_none() {
        crate::support::skipped("this host has no address but loopback");
    }
    found
}

/// Where a server that was told to listen at `ip`, too, can be asked there.
pub fn outside_of(server: &Server, ip: IpAddr) -> SocketAddr {
    until("it names the address", START, || {
        let log = server.log();
        let urls = log.split("listening on https://").skip(1);
        let ends = |c: char| c.is_whitespace() || c == '"';
        let mut addresses = urls.filter_map(|url| url.split(ends).next()?.parse::<SocketAddr>().ok());
        addresses.find(|address| address.ip() == ip)
    })
}

/// Lets the clients below `root` in scratch trust the server, as the command does it.
pub fn trust(server: &Server, scratch: &Scratch, root: &str, host: &str, clients: &str) {
    let root = scratch.text(root);
    let output = server.command(&["trust", "--host", host, "--write", clients, "--root", &root]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// containerd with all it keeps in scratch, and a ctr that talks to it.
pub fn containerd(scratch: &Scratch) -> (Daemon, Client) {
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
        scratch.text("root"),
        scratch.text("state"),
        scratch.text("c.sock")
    );
    scratch.write("config.toml", config);
    let ctr = Client::new("ctr").always(&["-a", &scratch.text("c.sock")]);
    let arguments = ["-c", &scratch.text("config.toml")];
    let daemon = Daemon::start("containerd", &arguments, scratch.path("containerd.log"));
    let daemon = daemon.ready(|| ctr.attempt(&["version"]).0);
    (daemon, ctr)
}

/// A docker daemon whose `/etc/docker` is the one below `with` in scratch, and a client that talks to it.
pub fn dockerd(scratch: &Scratch) -> (Daemon, Client) {
    fs::create_dir_all(scratch.path("with/etc/docker")).expect("a folder in scratch");
    let socket = format!("unix://{}", scratch.text("d.sock"));
    let (root, data) = (scratch.text("with"), scratch.text("data"));
    let (exec, pid) = (scratch.text("exec"), scratch.text("d.pid"));
    let arguments = [
        &["-m", "--propagation", "private", "sh", "-c", BIND, &root, "dockerd"][..],
        &["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"],
        &["--exec-opt", "native.cgroupdriver=cgroupfs", "-H", &socket],
        &["--data-root", &data, "--exec-root", &exec, "--pidfile", &pid],
    ];
    let daemon = Daemon::start("unshare", &arguments.concat(), scratch.path("dockerd.log"));
    let docker = Client::new("docker").always(&["-H", &socket]).environment("HOME", &scratch.text("home"));
    let daemon = daemon.ready(|| docker.attempt(&["version"]).0);
    (daemon, docker)
}

#[test]
fn skopeo_trusts_the_ca_where_trust_put_it_and_not_without() {
    if !require_as_root(&["skopeo", "unshare"]) {
        return;
    }
    let Some(server) = server() else { return };
    let scratch = Scratch::new();
    let host = format!("localhost:{}", server.address().port());
    let image = Runnable::new(&scratch, "image", "skopeo").image("amd64", false);
    write_layout(&scratch, "in", &[("amd64", &image)]);
    for root in ["without", "with"] {
        scratch.write(&format!("{root}/etc/containers/policy.json"), POLICY);
    }
    trust(&server, &scratch, "with", &host, "podman");
    let (source, remote) =
        (format!("oci:{}:v1", scratch.text("in")), format!("docker://{host}/own/image:v1"));
    let (pushed, said) = inside(&scratch, "without", "skopeo").attempt(&["copy", &source, &remote]);
    assert!(!pushed && said.contains("certificate"), "{said}");
    let skopeo = inside(&scratch, "with", "skopeo");
    skopeo.run(&["copy", "--preserve-digests", &source, &remote]);
    skopeo.run(&["copy", &remote, &format!("dir:{}", scratch.text("out"))]);
    assert_eq!(fs::read(scratch.path("out/manifest.json")).expect("a manifest"), image.manifest);
}

#[test]
fn podman_pulls_by_the_ca_that_trust_put_there() {
    if !require_as_root(&["podman", "busybox", "unshare"]) {
        return;
    }
    let Some(server) = server() else { return };
    let scratch = Scratch::new();
    let host = format!("localhost:{}", server.address().port());
    let image = Runnable::new(&scratch, "image", "podman").image("amd64", false);
    write_layout(&scratch, "layout", &[("amd64", &image)]);
    scratch.write("with/etc/containers/policy.json", POLICY);
    scratch.write("with/etc/containers/registries.conf", "unqualified-search-registries = []\n");
    trust(&server, &scratch, "with", &host, "podman");
    let name = format!("{host}/own/image:v1");
    let podman = |storage: &str| {
        let (root, run) = (scratch.text(&format!("{storage}/root")), scratch.text(&format!("{storage}/run")));
        let always =
            ["--root", &root, "--runroot", &run, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
        inside(&scratch, "with", "podman").always(&always)
    };
    let first = podman("first");
    first.run(&["load", "-i", &pack_layout(&scratch, "layout")]);
    let id = first.run(&["images", "-q"]);
    first.run(&["push", id.trim(), &name]);
    podman("second").run(&["pull", &name]);
}

#[test]
fn containerd_pulls_by_the_hosts_file_that_trust_wrote() {
    if !require_as_root(&["containerd", "ctr", "busybox"]) {
        return;
    }
    let Some(server) = server() else { return };
    let scratch = Scratch::new();
    let host = server.address().to_string();
    let image = Runnable::new(&scratch, "image", "containerd").image("amd64", false);
    write_layout(&scratch, "layout", &[("amd64", &image)]);
    trust(&server, &scratch, "with", &host, "containerd");
    let (_daemon, ctr) = containerd(&scratch);
    let name = format!("{host}/own/image:v1");
    let archive = pack_layout(&scratch, "layout");
    ctr.run(&["image", "import", "--snapshotter", "native", "--index-name", &name, &archive]);
    let hosts = scratch.text("with/etc/containerd/certs.d");
    let (pushed, said) = ctr.attempt(&["image", "push", &name]);
    assert!(!pushed, "without the file nothing is trusted: {said}");
    ctr.run(&["image", "push", "--hosts-dir", &hosts, &name]);
    ctr.run(&["image", "rm", &name]);
    ctr.run(&["image", "pull", "--snapshotter", "native", "--hosts-dir", &hosts, &name]);
}

#[test]
fn docker_pulls_by_the_ca_that_trust_put_there_and_not_without() {
    if !require_as_root(&["dockerd", "docker", "busybox", "unshare"]) {
        return;
    }
    let Some(ip) = outside_address() else { return };
    let settings = Settings::default().set("TLS_MODE", "auto").argument("--lab-open-to-network");
    let settings = settings.argument("--listen").argument(&format!("{ip}:0"));
    let Some(server) = Server::own(settings) else { return };
    let (outside, scratch) = (outside_of(&server, ip), Scratch::new());
    let (_daemon, docker) = dockerd(&scratch);
    let name = format!("{outside}/own/image:v1");
    let runnable = Runnable::new(&scratch, "image", "docker");
    let tar = scratch.write("image.tar", &runnable.tar);
    docker.run(&["import", tar.to_str().expect("a plain path"), &name]);
    let (pushed, said) = docker.attempt(&["push", &name]);
    assert!(!pushed && said.contains("certificate"), "{said}");
    // The daemon need not be told: it looks at each push.
    trust(&server, &scratch, "with", &outside.to_string(), "docker");
    docker.run(&["push", &name]);
    docker.run(&["rmi", &name]);
    docker.run(&["pull", &name]);
}

#[test]
fn curl_trusts_the_ca_that_is_fetched_from_the_server() {
    if !require(&["curl"]) {
        return;
    }
    let Some(server) = server() else { return };
    let scratch = Scratch::new();
    let url = format!("https://localhost:{}", server.address().port());
    let (curl, ca) = (Client::new("curl").always(&["-sSf"]), scratch.text("ca.crt"));
    curl.run(&["-k", "-o", &ca, &format!("{url}/ca.crt")]);
    assert!(!curl.attempt(&[format!("{url}/v2/")]).0, "nothing is trusted without it");
    curl.run(&["--cacert", &ca, &format!("{url}/v2/")]);
}
