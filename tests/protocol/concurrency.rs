//! Many clients at once on the same names and digests.

use crate::support::http::with_query;
use crate::support::images::sha256;
use crate::support::{Image, Kind, Rng, Server};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn one_blob_pushed_by_many_at_once_is_stored_for_each() {
    let server = Server::shared();
    let content = Rng::named("pushed by many").bytes(1_500_000);
    let digest = sha256(&content);
    let same = server.repository();
    thread::scope(|scope| {
        for number in 0..8 {
            let repository = if number % 2 == 0 { same.clone() } else { server.repository() };
            let (content, digest) = (&content, &digest);
            scope.spawn(move || {
                repository.push_blob(content);
                assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == *content);
            });
        }
    });
}

#[test]
fn a_tag_moved_by_many_at_once_names_one_of_their_images_at_every_moment() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("moved by many");
    let images: Vec<Image> = (0..4).map(|_| Image::small(&mut rng)).collect();
    images.iter().for_each(|image| repository.push_blobs(image));
    repository.push("moving", &images[0]);
    let known: Vec<String> = images.iter().map(Image::digest).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let got = repository.get("manifests/moving").expect(200);
                let digest = got.need("docker-content-digest");
                assert!(known.iter().any(|one| one == digest) && sha256(&got.body) == digest, "{got}");
            }
        });
        let pushers: Vec<_> = images
            .iter()
            .map(|image| {
                let repository = &repository;
                scope.spawn(move || {
                    for _ in 0..15 {
                        repository.put_manifest("moving", image.media_type, &image.manifest).expect(201);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = pushers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "every push is answered");
    });
}

#[test]
fn an_accepted_image_is_whole_whatever_others_delete() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::random(&mut Rng::named("whole"), Kind::Oci, &[400, 800]);
    let digests: Vec<String> = image.blobs().map(sha256).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for digest in &digests {
                    repository.delete(&format!("blobs/{digest}")).expect_one(&[202, 404, 405, 409]);
                }
            }
        });
        let pusher = scope.spawn(|| {
            let mut accepted = 0;
            for _ in 0..60 {
                repository.push_blobs(&image);
                let put = repository.put_manifest("v1", image.media_type, &image.manifest);
                if put.expect_one(&[201, 400, 404]).status == 201 {
                    accepted += 1;
                    repository.pull_and_compare("v1", &image);
                    repository.delete(&format!("manifests/{}", image.digest())).expect(202);
                }
            }
            accepted
        });
        let accepted = pusher.join();
        done.store(true, Ordering::Relaxed);
        assert!(accepted.is_ok(), "an accepted image lost a blob");
    });
}

#[test]
fn a_pull_under_way_ends_whole_though_the_blob_is_deleted() {
    use std::io::{BufReader, Read, Write};
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("pull and delete").bytes(32 << 20);
    let digest = repository.push_blob(&content);
    let target = repository.path(&format!("blobs/{digest}"));
    let mut stream = server.http().connect().expect("a connection");
    stream.write_all(&server.http().get(&target).head_bytes()).expect("the head is sent");
    let mut first = [0; 1];
    stream.read_exact(&mut first).expect("the answer begins");
    repository.delete(&format!("blobs/{digest}")).expect(202);
    repository.head(&format!("blobs/{digest}")).expect(404);
    let rest = std::io::Cursor::new(first).chain(stream);
    let answer = crate::support::http::read_response(&mut BufReader::new(rest), "GET", target);
    assert!(answer.expect("a whole answer").expect(200).body == content);
}

#[test]
fn a_session_cancelled_while_it_is_written_ends_clearly() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("cancelled under way").bytes(8_000_000);
    for _ in 0..5 {
        let location = repository.begin();
        thread::scope(|scope| {
            let writer = scope.spawn(|| server.http().patch(&location).body(content.clone()).try_send());
            let cancelled = server.http().delete(&location).send().expect_one(&[204, 404, 409]).status;
            // Cut off or answered; if the cancel was taken, the session is gone either way.
            if let Ok(answer) = writer.join().expect("no panic") {
                answer.expect_one(&[202, 400, 404, 409]);
            }
            if cancelled == 204 {
                server.http().get(&location).send().expect(404);
                let finish = with_query(&location, &format!("digest={}", sha256(&content)));
                server.http().put(&finish).send().expect(404);
            }
        });
    }
}
