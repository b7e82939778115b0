//! Too many connections, and clients that flood one.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{DEADLINE, PREFACE, SETTINGS, frames, rest, start};

/// A stream's frames over and over: opened by HEADERS (`GET /wait`), and reset at once.
fn opened_and_reset(stream: u32) -> Vec<u8> {
    let id = stream.to_be_bytes();
    let path = b"\x82\x86\x04\x05/wait\x41\x01a";
    let head = [&[0, 0, path.len() as u8, 1, 5][..], &id, path].concat();
    [head, [&b"\0\0\x04\x03\0"[..], &id, b"\0\0\0\x08"].concat()].concat()
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_one_that_asks() {
    let server = start(|settings| settings.max_connections = 2);
    let busy = server.send(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    server.app.entered.notified().await;
    let idle = server.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = timeout(DEADLINE, server.ask("/")).await.expect("the idle one makes room");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(rest(idle).await.starts_with("HTTP/1.1 200 "), "it had its answer");
    assert!(server.metrics.text().contains("pierhead_connections_shed_total 1"));
    server.app.go_on.notify_one();
    assert!(rest(busy).await.ends_with("waited"), "a busy one is left alone");
}

#[tokio::test]
async fn one_connection_too_many_of_an_address_is_closed_and_room_comes_back() {
    let server = start(|settings| settings.connections_per_address = 2);
    let mut two = Vec::new();
    for _ in 0..2 {
        let mut socket = server.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        timeout(DEADLINE, socket.read_exact(&mut [0; 12])).await.unwrap().unwrap();
        two.push(socket);
    }
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let read = timeout(DEADLINE, third.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "closed without a word");
    assert!(server.metrics.text().contains("pierhead_connections_refused_total 1"));
    two.pop();
    let again = async {
        loop {
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            let _ = socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            let mut answer = Vec::new();
            if socket.read_to_end(&mut answer).await.is_ok() && answer.starts_with(b"HTTP/1.1 200 ") {
                return;
            }
        }
    };
    timeout(DEADLINE, again).await.expect("there is room again");
}

#[tokio::test]
async fn a_flood_of_http2_streams_that_are_reset_at_once_is_sent_away_and_work_is_bounded() {
    let server = start(|settings| settings.http2 = true);
    let flood: Vec<u8> = (0..20_000).flat_map(|number| opened_and_reset(2 * number + 1)).collect();
    let (mut reader, mut writer) = server.send(&[PREFACE, SETTINGS].concat()).await.into_split();
    let flooding = async {
        let _ = writer.write_all(&flood).await;
        std::future::pending::<()>().await;
    };
    let mut sent = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = reader.read(&mut buffer).await {
            sent.extend_from_slice(&buffer[..bytes]);
        }
    };
    timeout(DEADLINE, async {
        tokio::select! { () = flooding => {}, () = reading => {} }
    })
    .await
    .expect("the server closes");
    let goaway = frames(&sent).into_iter().find(|(kind, _)| *kind == 7);
    let reason = goaway.map(|(_, payload)| payload[4..8].to_vec());
    assert!(reason.is_none_or(|reason| reason == [0, 0, 0, 11]), "ENHANCE_YOUR_CALM");
    let answer = server.ask("/").await;
    assert!(answer.contains(" 200 "), "others are served: {answer}");
}

#[tokio::test]
async fn a_head_of_http2_that_goes_on_and_on_is_cut() {
    let server = start(|settings| settings.http2 = true);
    // HEADERS without their end, then CONTINUATION after CONTINUATION, each a header line of 16 KiB.
    let mut line = b"\x10\x01a\x7f\x81\x7f".to_vec();
    line.resize(line.len() + 16_384 - 64, b'x');
    let mut piece = (line.len() as u32).to_be_bytes()[1..].to_vec();
    piece.extend_from_slice(b"\x09\0\0\0\0\x01");
    piece.extend_from_slice(&line);
    let open: &[u8] = b"\0\0\x03\x01\0\0\0\0\x01\x82\x86\x84";
    let (mut reader, mut writer) = server.send(&[PREFACE, SETTINGS, open].concat()).await.into_split();
    let mut taken = 0_u64;
    let flooding = async {
        while writer.write_all(&piece).await.is_ok() {
            taken += piece.len() as u64;
        }
    };
    let reading = async { while let Ok(1..) = reader.read(&mut [0; 4096]).await {} };
    timeout(DEADLINE, async {
        tokio::select! { () = flooding => {}, () = reading => {} }
    })
    .await
    .expect("the server closes");
    assert!(taken < 64 << 20, "{taken} bytes of one head");
    assert!(server.ask("/").await.contains(" 200 "), "others are served");
}
