//! containerd alone, driven by ctr.

use crate::support::clients::{
    Client, Daemon, Runnable, Scratch, pack_layout, require_as_root, write_layout,
};
use crate::support::{Server, sha256};

const TOOLS: [&str; 4] = ["containerd", "ctr", "runc", "busybox"];

struct Containerd {
    ctr: Client,
    _daemon: Daemon,
    scratch: Scratch,
}

impl Containerd {
    /// A daemon with an empty content store.
    fn start() -> Self {
        let scratch = Scratch::new();
        let socket = scratch.text("c.sock");
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = \"{socket}\"\n",
            scratch.text("root"),
            scratch.text("state"),
        );
        let config = scratch.write("config.toml", config);
        let ctr = Client::new("ctr").always(&["-a", &socket]);
        let arguments = ["-c", config.to_str().expect("a plain path")];
        let daemon = Daemon::start("containerd", &arguments, scratch.path("containerd.log"));
        let daemon = daemon.ready(|| ctr.attempt(&["version"]).0);
        Self { ctr, _daemon: daemon, scratch }
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.ctr.run(arguments)
    }
}

/// What ctr is asked to do with an image that has gone through the registry.
fn pull_and_run(registry_name: &str, proof: &str) {
    // A second daemon: one that has never seen the content.
    let cold = Containerd::start();
    cold.run(&["image", "pull", "--snapshotter", "native", "--plain-http", registry_name]);
    let said = cold.run(&["run", "--rm", "--snapshotter", "native", registry_name, "proof"]);
    assert!(said.contains(proof), "{said}");
}

#[test]
fn ctr_imports_pushes_pulls_into_a_fresh_store_and_runs() {
    if !require_as_root(&TOOLS) {
        return;
    }
    let (server, containerd) = (Server::shared(), Containerd::start());
    let repository = server.repository();
    let name = format!("{}/{}:v1", server.address(), repository.name);
    let runnable = Runnable::new(&containerd.scratch, "image", "ctr was here");
    let image = runnable.image("amd64", false);
    let digest = write_layout(&containerd.scratch, "layout", &[("amd64", &image)]);
    let archive = pack_layout(&containerd.scratch, "layout");
    containerd.run(&["image", "import", "--snapshotter", "native", "--index-name", &name, &archive]);
    containerd.run(&["image", "push", "--plain-http", &name]);
    // What was pushed is what the archive holds, or an index of it that ctr made.
    repository.pull_and_compare(&digest, &image);
    let top = repository.get("manifests/v1").expect(200);
    assert_eq!(top.need("docker-content-digest"), sha256(&top.body));
    pull_and_run(&name, "ctr was here");
}

#[test]
fn ctr_pulls_zstd_layers_and_the_right_part_of_an_index() {
    if !require_as_root(&TOOLS) {
        return;
    }
    let server = Server::shared();
    let repository = server.repository();
    let scratch = Scratch::new();
    let native = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let right = Runnable::new(&scratch, "right", "the right part").image(native, true);
    let wrong = Runnable::new(&scratch, "wrong", "the wrong part").image("s390x", true);
    for image in [&right, &wrong] {
        repository.push(&image.digest(), image);
    }
    let entry = |image: &crate::support::Image, architecture: &str| {
        let mut entry = image.descriptor();
        entry["platform"] = serde_json::json!({ "architecture": architecture, "os": "linux" });
        entry
    };
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": crate::support::images::OCI_INDEX,
        "manifests": [entry(&wrong, "s390x"), entry(&right, native)],
    });
    repository.push_value(Some("multi"), &index);
    pull_and_run(&format!("{}/{}:multi", server.address(), repository.name), "the right part");
}
