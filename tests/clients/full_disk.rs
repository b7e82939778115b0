//! A disk that fills while docker and others push and pull: docker says why it was refused, everything that was
//! acknowledged is pulled, and without a restart all goes on when there is space again.

use crate::docker::{Docker, TOOLS};
use crate::filesystem::Filesystem;
use crate::support::clients::{find, require_as_root};
use crate::support::wait::until_true;
use crate::support::{Image, Kind, Repository, Rng, Server, Settings, sha256};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const LAYER: usize = 12 << 20;
/// What docker prints when the disk is full.
const CLEAR: &str = "507 Insufficient Storage: the registry's disk is full";

/// An image of one layer of random bytes, known to docker.
fn import(docker: &Docker, name: &str, rng: &mut Rng) {
    docker.scratch.write("layer/random", rng.bytes(LAYER));
    let (folder, tar) = (docker.scratch.text("layer"), docker.scratch.text("layer.tar"));
    let packed = Command::new(find("tar").expect("tar")).args(["-C", &folder, "-cf", &tar, "."]).status();
    assert!(packed.is_ok_and(|status| status.success()), "tar packs the layer");
    docker.run(&["import", &tar, name]);
}

/// Others, beside docker: small images are pushed and, once acknowledged, pulled over and over.
#[derive(Default)]
struct Others {
    stop: AtomicBool,
    acknowledged: Mutex<Vec<(String, Image)>>,
    refused: AtomicUsize,
    pulled: AtomicUsize,
}

impl Others {
    fn push(&self, repository: &Repository) {
        let mut rng = Rng::named("others beside docker");
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let image = Image::random(&mut rng, Kind::Oci, &[30_000, 200_000]);
            let tag = format!("v{number}");
            let is_there = image.blobs().all(|blob| {
                let target = format!("blobs/uploads/?digest={}", sha256(blob));
                self.is_kept(repository.request("POST", &target).body(blob.to_vec()).send().status)
            });
            if is_there
                && self.is_kept(repository.put_manifest(&tag, image.media_type, &image.manifest).status)
            {
                self.acknowledged.lock().expect("no panic").push((tag, image));
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Whether what was asked was done; a full disk is the one reason why not.
    fn is_kept(&self, status: u16) -> bool {
        assert!([201, 507].contains(&status), "{status}");
        self.refused.fetch_add(usize::from(status == 507), Ordering::Relaxed);
        status == 201
    }

    fn pull(&self, repository: &Repository) {
        while !self.stop.load(Ordering::Relaxed) {
            let known = self.acknowledged.lock().expect("no panic").clone();
            for (tag, image) in known.iter().rev().take(3) {
                repository.pull_and_compare(tag, image);
                self.pulled.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

#[test]
fn on_a_disk_that_fills_docker_says_why_nothing_is_lost_and_all_goes_on_when_there_is_space() {
    if !require_as_root(&[&TOOLS[..], &["mount", "umount", "tar"]].concat()) {
        return;
    }
    let filesystem = Filesystem::tmpfs(112);
    let settings = Settings::default()
        .set("STORAGE_BALLAST", "4MiB")
        .set("STORAGE_RESERVE", "16MiB")
        .set("STORAGE_STALE_UPLOAD", "1s");
    let Some(server) = Server::on_data(&filesystem.data(), settings) else { return };
    let foreign = filesystem.root().join("foreign");
    std::fs::write(&foreign, vec![1; 40 << 20]).expect("space for it");
    // An upload somebody left: it goes before anybody is refused.
    let left = server.repository();
    let location = left.begin();
    server.http().patch(&location).body(Rng::named("left").bytes(4 << 20)).send().expect(202);

    let docker = Docker::start();
    let (others, beside) = (Others::default(), server.repository());
    let process = server.pid();
    let (pushed, refused) = std::thread::scope(|scope| {
        scope.spawn(|| others.push(&beside));
        scope.spawn(|| others.pull(&beside));
        let outcome = fill(&docker, &server, &others);
        others.stop.store(true, Ordering::Relaxed);
        outcome
    });
    let docker_says = &refused.1;
    eprintln!(
        "docker pushed {} images, then said: {}\nothers: {} acknowledged, {} refused, {} pulls",
        pushed.len(),
        docker_says.lines().last().unwrap_or_default(),
        others.acknowledged.lock().expect("no panic").len(),
        others.refused.load(Ordering::Relaxed),
        others.pulled.load(Ordering::Relaxed)
    );
    assert!(docker_says.contains(CLEAR), "{docker_says}");
    server.http().get(&location).send().refused(404, "BLOB_UPLOAD_UNKNOWN");

    // Pulls go on, docker's too; then there is space again.
    for name in &pushed {
        docker.run(&["rmi", "-f", name]);
        docker.run(&["pull", "-q", name]);
    }
    std::fs::remove_file(foreign).expect("the foreign file goes");
    until_true("docker's push goes through", SOON, || docker.client.attempt(&["push", &refused.0]).0);
    docker.run(&["rmi", "-f", &refused.0]);
    docker.run(&["pull", "-q", &refused.0]);
    for (tag, image) in others.acknowledged.lock().expect("no panic").iter() {
        beside.pull_and_compare(tag, image);
    }
    assert_eq!(server.pid(), process, "no restart");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Pushes by docker until one is refused: those that went through, and the refused one with what docker said.
/// Others are refused in that time as well.
fn fill(docker: &Docker, server: &Server, others: &Others) -> (Vec<String>, (String, String)) {
    let (mut pushed, mut rng) = (Vec::new(), Rng::named("docker fills the disk"));
    for number in 0..20 {
        let name = format!("{}/docker/image{number}:v1", server.address());
        import(docker, &name, &mut rng);
        let (succeeded, said) = docker.client.attempt(&["push", &name]);
        if !succeeded {
            until_true("others are refused", SOON, || others.refused.load(Ordering::Relaxed) > 0);
            return (pushed, (name, said));
        }
        pushed.push(name);
    }
    panic!("240 MiB went into 112");
}
