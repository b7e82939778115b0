//! Upload sessions: a token that ends does not end an upload, a right that was taken away does.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Frame;
use pierhead_storage_format::identity::records::Level;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::house::{House, PASSWORD, basic, denied, digest, request, unauthenticated};
use crate::server::body::{Body, BoxError};

const UPLOADS: &str = "/v2/acme/web/blobs/uploads/";
const SCOPE: &str = "repository:acme/web:pull,push";

/// A body that is sent while a test looks on.
struct Slow(UnboundedReceiver<&'static [u8]>);

impl hyper::body::Body for Slow {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(Bytes::from_static(bytes)))))
    }
}

fn slow() -> (UnboundedSender<&'static [u8]>, Body) {
    let (sender, receiver) = unbounded_channel();
    (sender, Slow(receiver).boxed_unsync())
}

async fn pusher(house: &House) -> (pierhead_storage_format::identity::Id, String) {
    let id = house.user("pusher", &[]).await;
    house.grant(id, Level::Edit).await;
    (id, basic("acme/pusher", PASSWORD))
}

async fn begun(house: &House, token: &str) -> String {
    let answer = house.as_whom(Method::POST, UPLOADS, token).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("location").to_owned()
}

#[tokio::test]
async fn an_upload_whose_token_expired_goes_on_and_finishes() {
    let house = House::open().await;
    let (_, login) = pusher(&house).await;
    let token = house.token(&login, &[SCOPE]).await;
    let session = begun(&house, &token).await;
    house.after(3600);
    let credentials = [("authorization", token.as_str())];
    assert_eq!(house.ask(Method::PATCH, &session, &credentials, "lay").await.status, 202);
    assert_eq!(house.as_whom(Method::GET, &session, &token).await.status, 204);
    let last = format!("{session}?digest={}", digest(b"layer"));
    assert_eq!(house.ask(Method::PUT, &last, &credentials, "er").await.status, 201);

    let elsewhere = house.as_whom(Method::POST, UPLOADS, &token).await;
    assert_eq!(elsewhere.refusal(), unauthenticated(), "it is good for nothing else");
    assert_eq!(
        house.as_whom(Method::GET, &session, &token).await.refusal(),
        unauthenticated(),
        "nor afterwards"
    );
}

#[tokio::test]
async fn an_expired_token_is_good_for_ones_own_session_in_its_repository_only() {
    let house = House::open().await;
    let (_, login) = pusher(&house).await;
    let own = house.token(&login, &[SCOPE, "repository:acme/other:pull,push"]).await;
    let annas = house.token(&basic("acme/anna", PASSWORD), &[SCOPE]).await;
    let narrow = house.token(&login, &["repository:acme/other:pull,push"]).await;
    let session = begun(&house, &own).await;
    house.after(901);
    for (name, path, token, status) in [
        ("his own", session.clone(), &own, 204),
        ("by another", session.clone(), &annas, 401),
        ("not for this repository", session.clone(), &narrow, 401),
        ("of another repository", session.replace("acme/web", "acme/other"), &own, 401),
        ("no session", format!("{UPLOADS}{}", "0".repeat(32)), &own, 401),
    ] {
        assert_eq!(house.as_whom(Method::GET, &path, token).await.status, status, "{name}");
    }
}

#[tokio::test]
async fn an_upload_whose_permission_was_revoked_does_not_go_on() {
    let house = House::open().await;
    let (id, login) = pusher(&house).await;
    let token = house.token(&login, &[SCOPE]).await;
    let session = begun(&house, &token).await;
    let credentials = [("authorization", token.as_str())];
    assert_eq!(house.ask(Method::PATCH, &session, &credentials, "lay").await.status, 202);
    house.revoke(id).await;
    let last = format!("{session}?digest={}", digest(b"layer"));
    assert_eq!(house.ask(Method::PATCH, &session, &credentials, "er").await.refusal(), denied());
    assert_eq!(house.ask(Method::PUT, &last, &credentials, "er").await.refusal(), denied());
    house.grant(id, Level::Edit).await;
    assert_eq!(house.ask(Method::PUT, &last, &credentials, "er").await.status, 201, "it stayed where it was");
}

#[tokio::test]
async fn a_right_taken_away_while_the_last_body_is_sent_keeps_nothing() {
    let house = House::open().await;
    let (id, login) = pusher(&house).await;
    let whole = format!("{UPLOADS}?digest={}", digest(b"whole"));
    let session = format!("{}?digest={}", begun(&house, &login).await, digest(b"layer"));
    for (method, path, first, rest) in
        [(Method::PUT, session, b"lay", b"er" as &[u8]), (Method::POST, whole, b"who", b"le")]
    {
        let (sender, body) = slow();
        let sent = house.send(request(method.clone(), &path, &[("authorization", &login)], body));
        let meanwhile = async {
            sender.send(first).expect("listening");
            tokio::task::yield_now().await;
            house.revoke(id).await;
            sender.send(rest).expect("listening");
            drop(sender);
        };
        let (answer, ()) = tokio::join!(sent, meanwhile);
        assert_eq!(answer.refusal(), denied(), "{method}");
        house.grant(id, Level::Edit).await;
        for content in [b"layer", b"whole"] {
            let blob = format!("/v2/acme/web/blobs/{}", digest(content));
            assert_eq!(house.as_whom(Method::GET, &blob, &login).await.status, 404, "{method}");
        }
    }
}
