//! Chains of redirects, and what ends them.

use std::sync::Arc;

use http_trace::{
    RequestBody,
    record::{FailureKind, HttpRequest, Layer},
};
use tokio::io::AsyncWriteExt;

use crate::servers::{client, fetch, request, tcp};

/// The last request of a chain: `/` leads to `/a`, and that to `location`.
async fn last(location: &'static str) -> Arc<HttpRequest> {
    let server = tcp(move |mut stream, _| async move {
        while let Some(text) = request(&mut stream).await {
            let next = if text.starts_with("GET /a ") { location } else { "/a" };
            let response =
                format!("HTTP/1.1 302 Found\r\nLocation: {next}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    })
    .await;
    let client = client(|_| {});
    let error = fetch(&client, &format!("http://{server}/")).await.unwrap_err();
    let mut trace = client.trace("redirected");
    let last = trace.requests.pop().unwrap();
    assert_eq!(error.layer(), Layer::Request);
    assert_eq!(error.kind(), last.redirect_error.as_ref().unwrap().kind);
    assert!(trace.requests.iter().all(|request| request.redirect_error.is_none()));
    assert!(last.error.is_none() && last.status == Some(302));
    last
}

#[tokio::test]
async fn a_circle_is_told() {
    let last = last("/").await;
    let failure = last.redirect_error.as_ref().unwrap();
    assert_eq!(failure.kind, FailureKind::TooManyRedirects);
    assert!(failure.message.contains("in a circle: http://"), "{failure:?}");
}

#[tokio::test]
async fn where_nobody_can_go_is_told() {
    for (location, part) in [
        ("ftp://a.test/", "ftp://a.test/ has a scheme that is neither http nor https"),
        ("http://[", "http://["),
    ] {
        let last = last(location).await;
        let failure = last.redirect_error.as_ref().unwrap();
        assert_eq!(failure.kind, FailureKind::Invalid);
        assert!(failure.message.contains(part), "{failure:?}");
    }
}

#[tokio::test]
async fn a_stream_is_not_sent_again() {
    let server = tcp(|mut stream, _| async move {
        request(&mut stream).await;
        let response =
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(response.as_bytes()).await.unwrap();
    })
    .await;
    let client = client(|_| {});
    let body = RequestBody::reader(&b"body"[..], Some(4));
    let request = http::Request::post(format!("http://{server}/")).body(body).unwrap();
    assert_eq!(client.execute(request).await.unwrap().status(), 307);
    let failure = client.trace("stream").requests[0].redirect_error.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Other);
}
