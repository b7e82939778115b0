//! The service without a job, on a real store in a scratch folder.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use pierhead_storage_format::paths;
use pierhead_storage_format::scrub::ScrubStateKey;

use super::{Parts, Rules, Scrub};
use crate::seams::{OsRandom, SystemClock};
use crate::services::access::{self, Access, Action, Actor, Permit, Resource};
use crate::services::error::Error;
use crate::stores::blobs::{self, Blobs};
use crate::stores::disk::RealDisk;
use crate::stores::meta::{self, Meta, Tx};

struct World {
    scrub: Scrub,
    access: Access,
    meta: Meta,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (disk, clock) = (Arc::new(RealDisk::new(folder.path())), Arc::new(SystemClock));
        let (meta, _) = Meta::open(meta::Options {
            disk: disk.clone(),
            index_dir: folder.path().join(paths::INDEX),
            clock: clock.clone(),
            cache_bytes: 8 << 20,
            snapshot_after: 64 << 20,
            boot: None,
            check_at_once: u64::MAX,
            on_full: Arc::new(|| false),
        })
        .expect("opened");
        let options = blobs::Options { disk, random: Arc::new(OsRandom), checkpoint_every: 32 << 20 };
        let (blobs, _) = Blobs::open(options).expect("opened");
        let rules = access::Rules::Closed(access::Options::default());
        let access = Access::open(rules, clock.clone(), &meta).expect("read");
        let rules = Rules { on: true, rate: 1 << 30, every_ms: 1 };
        let parts = Parts { meta: meta.clone(), blobs, access: access.clone(), clock, rules };
        Self { scrub: Scrub::open(parts).expect("opened"), access, meta, _folder: folder }
    }

    fn permit(&self) -> Permit {
        let actor = Actor::LocalAdministrator;
        self.access.authorise(&actor, Action::MaintainStore, Resource::Registry).expect("everything")
    }

    /// What a start would find.
    fn is_paused(&self) -> bool {
        self.meta.get(&ScrubStateKey {}).expect("readable").is_some_and(|state| state.paused)
    }
}

#[tokio::test]
async fn the_system_undoes_no_pause_and_no_cycle_that_came_since_it_looked() {
    let untouched = World::new();
    assert!(untouched.scrub.begin_by_itself().await.expect("written").is_some(), "nobody asked for anything");
    let world = World::new();
    let scrub = &world.scrub;
    scrub.pause(&world.permit()).await.expect("paused");
    assert_eq!(scrub.begin_by_itself().await.expect("asked"), None, "it is paused");
    assert!(world.is_paused() && scrub.facts().state.paused && !scrub.facts().state.running);
    let begun = scrub.begin(&world.permit(), true).await.expect("begun");
    assert!(begun.state.running && !begun.state.paused, "an administrator's begin ends the pause");
    assert_eq!(scrub.begin_by_itself().await.expect("asked"), None, "one is under way");
    assert!(scrub.facts().state.full, "the administrator's");
}

#[tokio::test]
async fn a_cycle_that_was_asked_for_as_another_came_to_its_end_is_not_ended_with_it() {
    let world = World::new();
    let asked = world.scrub.begin_by_itself().await.expect("written").expect("begun");
    world.scrub.begin(&world.permit(), true).await.expect("begun");
    assert!(!world.scrub.end_cycle(asked).await.expect("seen"), "it is another's");
    assert!(world.scrub.facts().state.running);
    let asked = world.scrub.known().asked;
    assert!(world.scrub.end_cycle(asked).await.expect("written") && !world.scrub.facts().state.running);
}

#[tokio::test]
async fn what_is_kept_is_how_far_the_scrub_is_when_it_is_written_not_when_that_was_asked_for() {
    let world = World::new();
    let ((begun, has_begun), (go_on, waits)) = (mpsc::channel(), mpsc::channel());
    let deadline = Duration::from_secs(30);
    let work = move |_: &mut Tx<'_>| {
        begun.send(()).expect("awaited");
        waits.recv_timeout(deadline).expect("told");
        Ok::<(), Error>(())
    };
    let mut other = Box::pin(world.meta.commit(work));
    assert!(polled(&mut other).is_none());
    has_begun.recv_timeout(deadline).expect("the writer is busy with another's change");
    let permit = world.permit();
    let mut keeping = Box::pin(world.scrub.keep(&permit));
    assert!(polled(&mut keeping).is_none(), "queued behind the other");
    world.scrub.known().state.paused = true;
    go_on.send(()).expect("awaited");
    other.await.expect("written");
    keeping.await.expect("written");
    assert!(world.is_paused());
}

/// Polls once; what came of it.
fn polled<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    }
}
