//! Servers that want to do harm: each ends in an error, in time and in little memory.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use http_trace::{
    Error,
    record::{FailureKind, Layer},
    settings::Settings,
};
use tokio::io::AsyncWriteExt;

use crate::servers::{answering, client, fetch, request, tcp};

/// What comes of a request to a server that sends something and closes, or stays.
async fn outcome(response: Vec<u8>, closes: bool, change: impl FnOnce(&mut Settings)) -> Error {
    let server = tcp(move |mut stream, _| {
        let response = response.clone();
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(&response).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        }
    })
    .await;
    let client = client(|settings| {
        settings.timeouts.request = Some(Duration::from_secs(3));
        change(settings);
    });
    let began = Instant::now();
    let error = fetch(&client, &format!("http://{server}/")).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    let trace = client.trace("hostile");
    let request = &trace.requests[0];
    assert!(request.error.is_some() || request.body_error.is_some());
    assert!(request.phases.ended_at.is_some());
    error
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let error = outcome(b"this is not HTTP at all\r\n\r\n".to_vec(), true, |_| {}).await;
    assert_eq!((error.layer(), error.kind()), (Layer::Request, FailureKind::Protocol));
}

#[tokio::test]
async fn an_end_without_an_answer_is_one() {
    let error = outcome(Vec::new(), true, |_| {}).await;
    assert_eq!((error.layer(), error.kind()), (Layer::Request, FailureKind::Closed));
}

#[tokio::test]
async fn headers_without_end_are_cut() {
    let mut response = b"HTTP/1.1 200 OK\r\n".to_vec();
    for number in 0..200_000 {
        write!(response, "X-{number}: {}\r\n", "a".repeat(40)).unwrap();
    }
    let error = outcome(response, false, |_| {}).await;
    assert_eq!(error.layer(), Layer::Request);
    assert_eq!(error.kind(), FailureKind::Protocol);
}

#[tokio::test]
async fn a_body_that_is_shorter_than_it_says_is_an_error() {
    let error =
        outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(), true, |_| {})
            .await;
    assert_eq!((error.layer(), error.kind()), (Layer::Body, FailureKind::Closed));
}

#[tokio::test]
async fn a_body_that_stops_ends_with_the_timeout() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec();
    let error = outcome(response, false, |settings| {
        settings.timeouts.request = Some(Duration::from_millis(300));
    })
    .await;
    assert_eq!((error.layer(), error.kind()), (Layer::Body, FailureKind::Timeout));
}

#[tokio::test]
async fn headers_that_do_not_come_end_with_their_timeout() {
    let error = outcome(Vec::new(), false, |settings| {
        settings.timeouts.response_headers = Some(Duration::from_millis(200));
    })
    .await;
    assert_eq!((error.layer(), error.kind()), (Layer::Request, FailureKind::Timeout));
}

#[tokio::test]
async fn a_bomb_is_defused_at_its_limit() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 64 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let mut response = Vec::new();
    write!(
        response,
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    )
    .unwrap();
    response.extend(bomb);
    let error =
        outcome(response, true, |settings| settings.limits.response_body = Some(1 << 18)).await;
    assert_eq!((error.layer(), error.kind()), (Layer::Body, FailureKind::TooLarge));
}

#[tokio::test]
async fn compression_that_is_none_is_an_error() {
    let response =
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 30\r\n\r\nthis was never compressed, no.".to_vec();
    let error = outcome(response, false, |_| {}).await;
    assert_eq!((error.layer(), error.kind()), (Layer::Body, FailureKind::Protocol));
}

#[tokio::test]
async fn ten_thousand_redirects_are_too_many() {
    let server =
        answering("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n").await;
    let client = client(|_| {});
    let error = fetch(&client, &format!("http://{server}/")).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::TooManyRedirects);
    assert_eq!(client.trace("loop").requests.len(), 11);
}

#[tokio::test]
async fn half_a_record_of_tls_ends_with_the_timeout_of_handshakes() {
    for bytes in [&b"\x16\x03\x03\x40\x00\x02\x00"[..], b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let server = tcp(move |mut stream, _| async move {
            stream.write_all(bytes).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let client =
            client(|settings| settings.timeouts.tls_handshake = Some(Duration::from_millis(300)));
        let error = fetch(&client, &format!("https://{server}/")).await.unwrap_err();
        assert_eq!(error.layer(), Layer::Tls);
        let trace = client.trace("half");
        assert!(trace.tls[0].ended_at.is_some() && trace.tls[0].error.is_some());
    }
}
