//! What every store must do, over both engines.

use super::super::Tx;
use super::*;

fn houses() -> [(&'static str, House); 2] {
    [("sled", House::sled()), ("memory", House::memory())]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_read_and_survives_closing() {
    for (name, house) in houses() {
        let (meta, opened) = house.open();
        assert!(opened.fresh, "{name}");
        put(&meta, vec!["a".into(), "b".into(), "c".into()], 1).await.expect("committed");
        put_one(&meta, "b", 2).await.expect("committed");
        put_one(&meta, "c", 0).await.expect("committed");
        let expected = Rows::from([("a".into(), 1), ("b".into(), 2)]);
        assert_eq!(contents(&meta), expected, "{name}");
        assert_eq!(meta.get(&key("b")).expect("readable"), Some(CounterRecord { next: 2 }), "{name}");
        meta.close();
        meta.close();
        assert!(matches!(meta.get(&key("b")), Err(MetaError::Closed)), "{name}");
        assert!(matches!(put_one(&meta, "d", 1).await, Err(MetaError::Closed)), "{name}");
        let (meta, opened) = house.open();
        assert_eq!((opened.fresh, opened.sequence, opened.torn_tail), (false, 3, None), "{name}");
        assert_eq!(contents(&meta), expected, "{name}");
        assert_eq!(meta.status().rows, 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_sees_its_own_changes_and_one_that_fails_leaves_none() {
    for (name, house) in houses() {
        let (meta, _) = house.open();
        put(&meta, vec!["a".into(), "b".into()], 1).await.expect("committed");
        let seen = meta.commit(|tx| {
            tx.put(&key("aa"), &CounterRecord { next: 5 })?;
            tx.delete(&key("b"))?;
            let page = tx.page::<CounterKey>(b"", None, 10)?;
            Ok::<_, MetaError>((page, tx.get(&key("aa"))?, tx.get(&key("b"))?))
        });
        let (page, aa, b) = seen.await.expect("committed");
        let page: Vec<_> = page.into_iter().map(|(k, r)| (k.name, r.next)).collect();
        assert_eq!(page, [("a".to_string(), 1), ("aa".to_string(), 5)], "{name}");
        assert_eq!((aa, b), (Some(CounterRecord { next: 5 }), None), "{name}");
        let before = contents(&meta);
        let failed = meta.commit(|tx| {
            tx.put(&key("x"), &CounterRecord { next: 1 })?;
            Err::<(), _>(MetaError::NoSpace)
        });
        assert!(matches!(failed.await, Err(MetaError::NoSpace)), "{name}");
        let panicked = meta.commit(|tx| {
            tx.put(&key("y"), &CounterRecord { next: 1 })?;
            if tx.get(&key("y"))?.is_some() {
                panic!("on purpose");
            }
            Ok::<_, MetaError>(())
        });
        assert!(matches!(panicked.await, Err(MetaError::Panicked)), "{name}");
        let swallowed = meta.commit(|tx| {
            tx.put(&key("z"), &CounterRecord { next: 1 })?;
            let _ = tx.put(&key("n".repeat(2000)), &CounterRecord { next: 1 });
            Ok::<_, MetaError>(())
        });
        assert!(matches!(swallowed.await, Err(MetaError::TooLarge)), "{name}");
        assert_eq!(contents(&meta), before, "{name}");
        put_one(&meta, "after", 1).await.expect("still writable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_merge_every_layer_for_every_limit_and_start() {
    for (name, house) in houses() {
        let (meta, _) = house.open();
        let all: Vec<String> = (0..40).map(|i| format!("k{i:02}")).collect();
        put(&meta, all.clone(), 1).await.expect("committed");
        let checked = meta.commit(move |tx| {
            for i in (0..40).step_by(3) {
                tx.delete(&key(format!("k{i:02}")))?;
                tx.put(&key(format!("k{i:02}x")), &CounterRecord { next: 2 })?;
            }
            let whole: Vec<_> =
                tx.page::<CounterKey>(b"k", None, 1000)?.into_iter().map(|(k, _)| k.name).collect();
            for limit in 0..9 {
                for after in &all {
                    let page = tx.page::<CounterKey>(b"k", Some(after.as_bytes()), limit)?;
                    let page: Vec<_> = page.into_iter().map(|(k, _)| k.name).collect();
                    let expected: Vec<_> = whole.iter().filter(|n| *n > after).take(limit).cloned().collect();
                    assert_eq!(page, expected, "after {after}, limit {limit}");
                }
            }
            Ok::<_, MetaError>(whole.len())
        });
        assert_eq!(checked.await.expect("pages agree"), 40, "{name}");
        assert_eq!(meta.page::<CounterKey>(b"k1", None, 100).expect("page").len(), 10, "{name}");
        assert_eq!(meta.page::<CounterKey>(b"m", Some(b"a"), 100).expect("page").len(), 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_tasks_commit_in_groups_and_nothing_is_lost_or_done_twice() {
    for (name, house) in houses() {
        let (meta, _) = house.open();
        let tasks: Vec<_> = (0..32u64)
            .map(|task| {
                let meta = meta.clone();
                #[expect(clippy::disallowed_methods, reason = "a test's own tasks")]
                tokio::spawn(async move {
                    for round in 1..=50u64 {
                        let sum = meta.commit(move |tx| {
                            let sum = tx.get(&key("sum"))?.map_or(0, |r| r.next) + 1;
                            tx.put(&key("sum"), &CounterRecord { next: sum })?;
                            tx.put(&repository(task), &counters(round))?;
                            if round % 10 == 0 { Err(MetaError::NoSpace) } else { Ok(sum) }
                        });
                        assert_eq!(sum.await.is_ok(), round % 10 != 0);
                        let own = meta.get(&repository(task)).expect("readable").map_or(0, |r| r.tags);
                        assert_eq!(own, if round % 10 == 0 { round - 1 } else { round });
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("task");
        }
        let check = |meta: &Meta| {
            assert_eq!(contents(meta), Rows::from([("sum".into(), 32 * 45)]), "{name}");
            for task in 0..32 {
                assert_eq!(meta.get(&repository(task)).expect("readable"), Some(counters(49)), "{name}");
            }
        };
        check(&meta);
        let status = meta.status();
        assert_eq!(status.change_sets, 32 * 45, "{name}");
        assert!(status.groups < status.change_sets, "{name}: nothing was grouped");
        meta.close();
        check(&house.open().0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_caller_left_is_done_all_the_same() {
    let house = House::memory();
    let (meta, _) = house.open();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let commit = meta.commit(move |tx| {
        begun.send(()).expect("test waits");
        may_go.recv().expect("test goes");
        tx.put(&key("a"), &CounterRecord { next: 1 })
    });
    let mut commit = Box::pin(commit);
    until("the closure runs", || {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(commit.as_mut().poll(&mut context).is_pending());
        has_begun.try_recv().is_ok()
    });
    drop(commit);
    go.send(()).expect("closure waits");
    until("the row is there", || contents(&meta).len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_set_that_is_too_large_is_refused_to_its_caller_alone() {
    for (name, house) in houses() {
        let (meta, _) = house.open();
        let (go, may_go) = std::sync::mpsc::channel::<()>();
        let first = meta.commit(move |tx| {
            let _ = may_go.recv();
            tx.put(&key("first"), &CounterRecord { next: 1 })
        });
        // Keys of a thousand bytes, until one is refused; one of the callers does not look.
        let flood = |tx: &mut Tx<'_>, looks: bool| {
            for number in 0u32.. {
                let long = key(format!("{number:08}{}", "n".repeat(1000)));
                if let Err(error) = tx.put(&long, &CounterRecord { next: 1 }) {
                    assert!(number > 30_000, "{error} at {number}");
                    return if looks { Err(error) } else { Ok(()) };
                }
            }
            Ok(())
        };
        let (looks, blind) =
            (meta.commit(move |tx| flood(tx, true)), meta.commit(move |tx| flood(tx, false)));
        let (before, after) = (put_one(&meta, "before", 1), put_one(&meta, "after", 1));
        let open = async { drop(go) };
        let (first, before, looks, blind, after, ()) = tokio::join!(first, before, looks, blind, after, open);
        assert!([first, before, after].iter().all(Result::is_ok), "{name}");
        assert!(matches!(looks, Err(MetaError::TooLarge)), "{name}: {looks:?}");
        assert!(matches!(blind, Err(MetaError::TooLarge)), "{name}: {blind:?}");
        let expected = ["after", "before", "first"].map(|name| (name.to_owned(), 1));
        assert_eq!(meta.status().groups, 1, "{name}: they were one group");
        assert_eq!(contents(&meta), Rows::from(expected.clone()), "{name}");
        meta.close();
        assert_eq!(contents(&house.open().0), Rows::from(expected), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_may_be_dropped_inside_a_transaction() {
    let house = House::memory();
    let (meta, _) = house.open();
    let inside = meta.clone();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let (done, is_done) = std::sync::mpsc::channel();
    let mut commit = Box::pin(meta.commit(move |tx| {
        let _ = may_go.recv();
        tx.put(&key("a"), &CounterRecord { next: 1 })?;
        drop(inside);
        let _ = done.send(());
        Ok::<_, MetaError>(())
    }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(commit.as_mut().poll(&mut context).is_pending());
    drop(commit);
    drop(meta);
    drop(go);
    is_done.recv_timeout(Duration::from_secs(60)).expect("the writer does not wait for itself");
    let rows =
        || super::super::read_truth(&house.disk(), &|| true, &mut |_, _, _| Ok(())).map(|end| end.sequence);
    until("the change is durable", || rows().is_ok_and(|sequence| sequence == 1));
}
