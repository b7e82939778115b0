//! Uploads that name content that is not theirs, and those of an earlier run.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Frame;
use tokio::sync::Notify;

use super::{anna, is_full, refused};
use crate::server::body::{Body, BoxError};
use crate::services::quota::Reservation;
use crate::wiring::tests::house::{House, digest, request};

/// A body that brings some bytes and then ends too early, or not at all and says so.
struct Stuck {
    bytes: Option<&'static [u8]>,
    ends: bool,
    taken: Arc<Notify>,
}

impl Stuck {
    fn after(bytes: &'static [u8], ends: bool) -> (Body, Arc<Notify>) {
        let taken = Arc::new(Notify::new());
        (Self { bytes: Some(bytes), ends, taken: Arc::clone(&taken) }.boxed_unsync(), taken)
    }
}

impl hyper::body::Body for Stuck {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes))))),
            None if self.ends => Poll::Ready(Some(Err("it broke off".into()))),
            None => {
                self.taken.notify_one();
                Poll::Pending
            }
        }
    }
}

async fn opened(house: &House, name: &str) -> String {
    let answer = house.asked(Method::POST, &format!("/v2/{name}/blobs/uploads/")).await;
    assert_eq!(answer.status, 202);
    let path = answer.header("location").split_once("/v2/").map(|(_, path)| format!("/v2/{path}"));
    path.expect("a path")
}

#[tokio::test]
async fn bytes_under_a_name_that_is_not_theirs_stay_only_if_they_fit() {
    let house = House::open().await;
    house.quota("acme", Some(100)).await;
    assert_eq!(house.push("acme/web", &[1; 60]).await.status, 201);
    let anna = anna();
    let headers = [("authorization", anna.as_str())];
    // What is named, how many other bytes come, whether the session goes on, what is reserved after it.
    let cases = [
        ("what the organisation has, and little comes", [1; 60].as_slice(), 30, true, 30),
        ("what the organisation has, and much comes", &[1; 60], 80, false, 30),
        ("made up, and it fits", b"x", 10, true, 40),
        ("made up, and it does not", b"x", 1, false, 40),
    ];
    for (name, named, brought, goes_on, reserved) in cases {
        let path = opened(&house, "acme/web").await;
        let target = format!("{path}?digest={}", digest(named));
        let answer = house.ask(Method::PUT, &target, &headers, vec![9; brought]).await;
        assert!(matches!(answer.status, 400 | 403), "{name}: {answer:?}");
        let status = house.asked(Method::GET, &path).await.status;
        assert_eq!(status, if goes_on { 204 } else { 404 }, "{name}");
        assert_eq!(house.storage("acme").reserved, reserved, "{name}");
    }
}

#[tokio::test]
async fn a_named_body_that_breaks_off_or_is_dropped_stays_only_if_it_fits() {
    let house = House::open().await;
    house.quota("acme", Some(100)).await;
    assert_eq!(house.push("acme/web", &[1; 60]).await.status, 201);
    let anna = anna();
    for (name, declared, cut) in [("breaks off", "100", false), ("is dropped", "90", true)] {
        let path = opened(&house, "acme/web").await;
        let target = format!("{path}?digest={}", digest(&[1; 60]));
        let headers = [("authorization", anna.as_str()), ("content-length", declared)];
        let (body, taken) = Stuck::after(&[9; 80], !cut);
        let asking = house.send(request(Method::PUT, &target, &headers, body));
        tokio::select! {
            answer = asking => assert!(!cut && answer.status == 400, "{name}: {answer:?}"),
            () = taken.notified(), if cut => {}
        }
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while house.asked(Method::GET, &path).await.status != 404 {
            assert!(tokio::time::Instant::now() < until, "{name}: it stays");
            tokio::task::yield_now().await;
        }
        assert_eq!(house.storage("acme").reserved, 0, "{name}");
    }
}

#[tokio::test]
async fn uploads_of_one_made_up_name_are_each_counted_once_it_is_taken_back() {
    let house = House::open().await;
    house.quota("acme", Some(100)).await;
    let rooms: Vec<Reservation> = (0..3).map(|_| house.room("acme/web", Some(b"x"))).collect();
    for room in &rooms {
        assert!(!is_full(room.grow_to(50).await));
    }
    let full: Vec<bool> = [is_full(rooms[0].unname(50).await), is_full(rooms[1].unname(50).await)].into();
    assert_eq!(full, [false, true], "the third still has what it reserved");
    assert!(!is_full(rooms[2].unname(50).await));
    assert_eq!(house.storage("acme").reserved, 100);
}

#[tokio::test]
async fn what_goes_on_after_a_restart_counts_for_the_account_too() {
    let house = House::open().await;
    house.organisation("two").await;
    house.account_quota(Some(100)).await;
    let resumed = house.room("acme/web", None);
    resumed.stand_at(70);
    refused(&house.push("two/web", &[2; 31]).await, "the account acme");
    assert_eq!(house.push("two/web", &[2; 30]).await.status, 201);
}
