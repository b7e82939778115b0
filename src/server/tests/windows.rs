//! What HTTP/2 clients may send ahead, and what nobody reads yet.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{DEADLINE, PREFACE, Running, SETTINGS, frames, spawn, start};

/// Asks on a connection of many, with a body of so many bytes; what is answered.
async fn put(client: &mut http2::SendRequest<Full<Bytes>>, path: &'static str, bytes: usize) -> String {
    let uri = format!("http://a{path}");
    let request = Request::put(uri).body(Full::new(Bytes::from(vec![7; bytes]))).unwrap();
    let answer = client.send_request(request).await.unwrap();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn bodies_that_wait_unread_do_not_stop_the_others_of_their_http2_connection() {
    const EACH: usize = 8 << 20;
    let server = start(|settings| settings.http2 = true);
    let socket = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let (client, connection) = http2::handshake(TokioExecutor::new(), socket).await.unwrap();
    drop(spawn(connection));
    let (mut waiting, mut running) = (JoinSet::new(), JoinSet::new());
    for _ in 0..5 {
        let mut client = client.clone();
        waiting.spawn(async move { put(&mut client, "/turn", EACH).await });
        server.app.entered.notified().await;
    }
    for _ in 0..20 {
        let mut client = client.clone();
        running.spawn(async move { put(&mut client, "/read", EACH).await });
    }
    let all = format!("{EACH} bytes");
    let answers = timeout(DEADLINE, running.join_all()).await.expect("the others go on");
    assert!(answers.len() == 20 && answers.iter().all(|answer| *answer == all), "{answers:?}");
    for _ in 0..5 {
        server.app.go_on.notify_one();
        let answer = timeout(DEADLINE, waiting.join_next()).await.expect("its turn comes");
        assert_eq!(answer.unwrap().unwrap(), all);
    }
}

/// The window of each stream, as the server says to a new client.
async fn window(server: &Running) -> u32 {
    let mut socket = server.send(&[PREFACE, SETTINGS].concat()).await;
    let mut sent = Vec::new();
    loop {
        assert!(timeout(DEADLINE, socket.read_buf(&mut sent)).await.unwrap().unwrap() > 0);
        let Some((4, settings)) = frames(&sent).first().copied() else { continue };
        let mut settings = settings.chunks(6).map(|one| one.split_at(2));
        let (_, value) = settings.find(|(id, _)| *id == [0, 4]).expect("the window is said");
        return u32::from_be_bytes(value.try_into().unwrap());
    }
}

#[tokio::test]
async fn idle_http1_connections_take_nothing_of_an_http2_clients_window() {
    let server = start(|settings| settings.http2 = true);
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut socket = server.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        timeout(DEADLINE, socket.read_exact(&mut [0; 12])).await.unwrap().unwrap();
        idle.push(socket);
    }
    assert_eq!(window(&server).await, 512 << 10, "what the first of an address has");
}
