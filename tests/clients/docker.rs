//! docker: the client and a daemon of its own (no bridge, no firewall rules, vfs storage).

use crate::support::clients::{Client, Daemon, Runnable, Scratch, require_as_root};
use crate::support::{Repository, Server, sha256};
use std::fs;

pub const TOOLS: [&str; 5] = ["docker", "dockerd", "containerd", "runc", "busybox"];

/// A daemon and a client that talks to it. Fields are dropped in this order: the daemon goes
/// before its folder.
pub struct Docker {
    pub client: Client,
    _daemon: Daemon,
    pub scratch: Scratch,
}

impl Docker {
    pub fn start() -> Self {
        let scratch = Scratch::new();
        let host = format!("unix://{}", scratch.text("d.sock"));
        let (data, exec, pid) = (scratch.text("data"), scratch.text("exec"), scratch.text("d.pid"));
        let arguments = [
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--storage-driver=vfs",
            "--exec-opt",
            "native.cgroupdriver=cgroupfs",
            "-H",
            &host,
            "--data-root",
            &data,
            "--exec-root",
            &exec,
            "--pidfile",
            &pid,
        ];
        let client = Client::new("docker").always(&["--config", &scratch.text("config"), "-H", &host]);
        // The classic builder: BuildKit wants a plugin that Debian's package does not have.
        let client = client.environment("DOCKER_BUILDKIT", "0");
        let daemon = Daemon::start("dockerd", &arguments, scratch.path("dockerd.log"));
        let daemon = daemon.ready(|| client.attempt(&["version"]).0);
        Self { client, _daemon: daemon, scratch }
    }

    pub fn run(&self, arguments: &[&str]) -> String {
        self.client.run(arguments)
    }

    /// Builds an image with `FROM scratch`, a root file system, a layer more, and a RUN step.
    fn build(&self, name: &str, proof: &str) {
        Runnable::new(&self.scratch, "image", proof);
        self.scratch.write("extra.txt", format!("a layer of its own for {proof}\n"));
        self.scratch.write(
            "Dockerfile",
            "FROM scratch\nADD image.tar /\nCOPY extra.txt /extra.txt\nRUN [\"/bin/sh\", \"-c\", \"cat /proof > /copied\"]\n\
             CMD [\"/bin/cat\", \"/proof\", \"/extra.txt\", \"/copied\"]\n",
        );
        self.scratch.write(".dockerignore", "*\n!image.tar\n!extra.txt\n");
        // A folder of its own as context: the daemon's state is in the scratch folder.
        let context = self.scratch.path("context");
        fs::create_dir_all(&context).expect("a folder in scratch");
        for file in ["Dockerfile", "image.tar", "extra.txt"] {
            fs::rename(self.scratch.path(file), context.join(file)).expect("a file in scratch");
        }
        self.run(&["build", "--network=none", "-t", name, context.to_str().expect("a plain path")]);
    }
}

/// The digest docker says it pushed.
fn pushed_digest(output: &str) -> &str {
    let digest = output.split("digest: ").nth(1).and_then(|rest| rest.split(' ').next());
    digest.unwrap_or_else(|| panic!("no digest in:\n{output}"))
}

#[test]
fn docker_builds_pushes_removes_pulls_and_runs_an_image() {
    if !require_as_root(&TOOLS) {
        return;
    }
    let (server, docker) = (Server::shared(), Docker::start());
    let repository = server.repository();
    let name = format!("{}/{}", server.address(), repository.name);
    let tagged = format!("{name}:v1");
    docker.build(&tagged, "docker was here");
    let id = docker.run(&["image", "inspect", "-f", "{{.Id}}", &tagged]);
    let output = docker.run(&["push", &tagged]);
    let digest = pushed_digest(&output);

    let seen = repository.get("manifests/v1").expect(200);
    assert_eq!(seen.need("docker-content-digest"), digest);
    assert_eq!(sha256(&seen.body), digest, "the bytes are the digest's");
    assert_eq!(id.trim(), seen.json()["config"]["digest"].as_str().expect("a digest"));

    docker.run(&["rmi", "-f", id.trim()]);
    assert!(!docker.client.attempt(&["image", "inspect", &tagged]).0, "the image is gone from the daemon");
    docker.run(&["pull", &tagged]);
    assert_eq!(docker.run(&["image", "inspect", "-f", "{{.Id}}", &tagged]), id, "the same image came back");
    let said = docker.run(&["run", "--rm", "--network=none", &tagged]);
    let proof = "docker was here\na layer of its own for docker was here\ndocker was here\n";
    assert!(said.contains(proof), "{said}");

    docker.run(&["rmi", "-f", id.trim()]);
    let by_digest = format!("{name}@{digest}");
    docker.run(&["pull", &by_digest]);
    assert!(docker.run(&["run", "--rm", "--network=none", &by_digest]).contains(proof));
}

#[test]
fn docker_uploads_a_layer_once_and_mounts_it_into_other_repositories() {
    if !require_as_root(&TOOLS) {
        return;
    }
    let (server, docker) = (Server::shared(), Docker::start());
    let (one, other) = (server.repository(), server.repository());
    let name = |repository: &Repository| format!("{}/{}:v1", server.address(), repository.name);
    docker.build(&name(&one), "pushed once");
    docker.run(&["tag", &name(&one), &name(&other)]);
    let first = docker.run(&["push", &name(&one)]);
    assert!(first.contains("Pushed") && !first.contains("Mounted"), "{first}");
    let again = docker.run(&["push", &name(&one)]);
    assert!(again.contains("Layer already exists") && !again.contains("Pushed"), "{again}");
    let mounted = docker.run(&["push", &name(&other)]);
    assert!(mounted.contains("Mounted from"), "{mounted}");
    assert_eq!(pushed_digest(&first), pushed_digest(&mounted));
    docker.run(&["manifest", "inspect", "--insecure", &name(&other)]);
}

#[test]
fn docker_is_told_clearly_that_an_image_does_not_exist() {
    if !require_as_root(&TOOLS) {
        return;
    }
    let (server, docker) = (Server::shared(), Docker::start());
    let (succeeded, output) =
        docker.client.attempt(&["pull", &format!("{}/no/such:image", server.address())]);
    assert!(!succeeded && (output.contains("manifest unknown") || output.contains("not found")), "{output}");
}
