//! podman and buildah, each with storage of its own (vfs).

use crate::support::clients::{Client, Runnable, Scratch, pack_layout, require_as_root, write_layout};
use crate::support::{Server, sha256};

/// podman and buildah share their storage's layout and most options.
fn client(name: &str, scratch: &Scratch, storage: &str) -> Client {
    let containers = scratch.write(
        "containers.conf",
        "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n",
    );
    let policy = scratch
        .write("home/.config/containers/policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let registries = scratch.write("registries.conf", "unqualified-search-registries = []\n");
    let (root, run) = (scratch.text(&format!("{storage}/root")), scratch.text(&format!("{storage}/run")));
    let client = Client::new(name).always(&["--root", &root, "--runroot", &run, "--storage-driver", "vfs"]);
    let client = if name == "podman" {
        client.always(&["--cgroup-manager", "cgroupfs", "--runtime", "runc"])
    } else {
        client
    };
    let text = |path: std::path::PathBuf| path.to_str().expect("a plain path").to_owned();
    client
        .environment("CONTAINERS_CONF", &text(containers))
        .environment("CONTAINERS_REGISTRIES_CONF", &text(registries))
        .environment("CONTAINERS_POLICY", &text(policy))
        .environment("HOME", &scratch.text("home"))
        .environment("BUILDAH_ISOLATION", "chroot")
}

/// A build folder: FROM scratch with a root file system.
fn context(scratch: &Scratch, proof: &str) -> String {
    let runnable = Runnable::new(scratch, "built", proof);
    scratch.write("context/rootfs.tar", &runnable.tar);
    scratch.write("context/Dockerfile", "FROM scratch\nADD rootfs.tar /\nCMD [\"/bin/cat\", \"/proof\"]\n");
    scratch.text("context")
}

#[test]
fn podman_builds_pushes_pulls_and_runs_an_image() {
    if !require_as_root(&["podman", "runc", "busybox"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let name = format!("{}/{}:v1", server.address(), repository.name);
    let podman = client("podman", &scratch, "first");
    podman.run(&["build", "-t", &name, &context(&scratch, "podman was here")]);
    podman.run(&["push", "--tls-verify=false", &name]);
    let seen = repository.get("manifests/v1").expect(200);
    assert_eq!(seen.need("docker-content-digest"), sha256(&seen.body));

    let cold = client("podman", &scratch, "second");
    cold.run(&["pull", "--tls-verify=false", &name]);
    let config =
        seen.json()["config"]["digest"].as_str().expect("a digest").trim_start_matches("sha256:").to_owned();
    let id = cold.run(&["image", "inspect", "--format", "{{.Id}}", &name]);
    assert_eq!(id.trim(), config, "the image that was pushed");
    let said = cold.run(&["run", "--rm", "--network=none", &name]);
    assert!(said.contains("podman was here"), "{said}");
}

#[test]
fn podman_pushes_in_docker_s_format_and_lists_what_is_there() {
    if !require_as_root(&["podman", "busybox"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let name = format!("{}/{}:v1", server.address(), repository.name);
    let podman = client("podman", &scratch, "first");
    let image = Runnable::new(&scratch, "image", "as docker's").image("amd64", false);
    write_layout(&scratch, "layout", &[("amd64", &image)]);
    podman.run(&["load", "-i", &pack_layout(&scratch, "layout")]);
    let id = podman.run(&["images", "-q"]);
    podman.run(&["push", "--tls-verify=false", "--format", "docker", id.trim(), &name]);
    let seen = repository.get("manifests/v1").expect(200);
    assert_eq!(seen.need("content-type"), crate::support::images::DOCKER_MANIFEST);
    let listed = podman.run(&["search", "--tls-verify=false", "--list-tags", name.trim_end_matches(":v1")]);
    assert!(listed.contains("v1"), "{listed}");
}

#[test]
fn buildah_builds_pushes_and_pulls_an_image() {
    if !require_as_root(&["buildah", "busybox"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let name = format!("{}/{}:v1", server.address(), repository.name);
    let buildah = client("buildah", &scratch, "first");
    buildah.run(&["bud", "-t", &name, &context(&scratch, "buildah was here")]);
    buildah.run(&["push", "--tls-verify=false", &name]);
    let seen = repository.get("manifests/v1").expect(200);
    assert_eq!(seen.need("docker-content-digest"), sha256(&seen.body));

    let cold = client("buildah", &scratch, "second");
    let id = cold.run(&["pull", "-q", "--tls-verify=false", &name]);
    assert!(
        id.contains(
            seen.json()["config"]["digest"].as_str().expect("a digest").trim_start_matches("sha256:")
        ),
        "{id}"
    );
    let container = cold.run(&["from", "--pull-never", &name]);
    let folder = cold.run(&["mount", container.trim()]);
    let proof = std::fs::read_to_string(std::path::Path::new(folder.trim()).join("proof"))
        .expect("a file of the image");
    assert_eq!(proof, "buildah was here\n");
    cold.run(&["rm", container.trim()]);
}

#[test]
fn buildah_pushes_an_index_with_all_its_images() {
    if !require_as_root(&["buildah", "busybox"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let buildah = client("buildah", &scratch, "first");
    buildah.run(&["manifest", "create", "multi"]);
    for (number, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        let image = Runnable::new(&scratch, architecture, architecture).image(architecture, false);
        let layout = format!("layout{number}");
        write_layout(&scratch, &layout, &[(architecture, &image)]);
        buildah.run(&["manifest", "add", "multi", &format!("oci:{}:v1", scratch.text(&layout))]);
    }
    let target = format!("docker://{}/{}:multi", server.address(), repository.name);
    buildah.run(&["manifest", "push", "--tls-verify=false", "--all", "multi", &target]);
    let index = repository.get("manifests/multi").expect(200).json();
    let children = index["manifests"].as_array().expect("an array");
    assert_eq!(children.len(), 2);
    for child in children {
        let digest = child["digest"].as_str().expect("a digest");
        assert_eq!(sha256(&repository.get(&format!("manifests/{digest}")).expect(200).body), digest);
    }
}
