//! When a request did what: also of HTTP/2, and of one that got no further.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::Request;
use http_body_util::{BodyExt, Full};
use http_trace::{
    RequestBody,
    record::{FailureKind, HttpRequest, Phases},
    settings::{HttpVersions, Settings},
};
use hyper::{body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::servers::{client, dns, fetch, tcp};

/// More than one frame, and more than a window, has.
const LARGE: usize = 200_000;

#[tokio::test]
async fn of_http2_the_end_of_the_request_is_its_last_frame() {
    let server = tcp(|stream, _| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            let length = request.into_body().collect().await.unwrap().to_bytes().len();
            let body = Full::new(Bytes::from(length.to_string()));
            Ok::<_, Infallible>(http::Response::new(body))
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // A client that has closed its end is none of the server's errors.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    })
    .await;
    let client = client(|settings| settings.versions = HttpVersions::Http2Only);
    let url = format!("http://{server}/");
    assert_eq!(fetch(&client, &url).await.unwrap(), "0");
    let large = Request::post(&url).body(RequestBody::from(vec![0; LARGE])).unwrap();
    let answer = client.execute(large).await.unwrap().into_body().bytes(100).await.unwrap();
    assert_eq!(answer, LARGE.to_string());
    let trace = client.trace("HTTP/2");
    let mut took = Vec::new();
    for request in &trace.requests {
        let phases = &request.phases;
        let [began, ended, first] =
            [phases.request_began_at, phases.request_ended_at, phases.first_byte_at]
                .map(Option::unwrap);
        assert!(began <= ended && ended <= first, "{phases:?}");
        took.push(ended.since(began));
    }
    assert!(took[0] < took[1], "{took:?}");
}

/// A request that runs out of time.
async fn late(
    url: &str,
    body: RequestBody,
    change: impl FnOnce(&mut Settings),
) -> Arc<HttpRequest> {
    let client = client(|settings| {
        settings.timeouts.request = Some(Duration::from_millis(300));
        change(settings);
    });
    let request = Request::post(url).body(body).unwrap();
    let error = client.execute(request).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Timeout);
    let request = client.trace("late").requests.remove(0);
    let phases = &request.phases;
    assert!(phases.ended_at.is_some() && phases.first_byte_at.is_none(), "{phases:?}");
    request
}

/// A server that takes connections and is silent.
async fn silent() -> std::net::SocketAddr {
    tcp(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await
}

#[tokio::test]
async fn what_a_server_does_not_answer_was_written() {
    let url = format!("http://{}/", silent().await);
    let phases = late(&url, RequestBody::empty(), |_| {}).await.phases;
    let Phases { request_began_at, request_ended_at, connect_ended_at, .. } = phases;
    assert!(connect_ended_at.is_some(), "{phases:?}");
    assert!(request_began_at.is_some() && request_ended_at >= request_began_at, "{phases:?}");
}

#[tokio::test]
async fn what_a_server_does_not_take_has_no_end() {
    let url = format!("http://{}/", silent().await);
    // More than any buffer on the way takes.
    let phases = late(&url, RequestBody::from(vec![0; 64 << 20]), |_| {}).await.phases;
    assert!(phases.request_began_at.is_some() && phases.request_ended_at.is_none(), "{phases:?}");
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_has_no_end() {
    let url = format!("https://{}/", silent().await);
    let phases = late(&url, RequestBody::empty(), |_| {}).await.phases;
    assert!(phases.connect_ended_at.is_some() && phases.tls_began_at.is_some(), "{phases:?}");
    assert!(phases.tls_ended_at.is_none() && phases.request_began_at.is_none(), "{phases:?}");
}

#[tokio::test]
async fn a_lookup_that_is_not_answered_has_no_end() {
    let server = dns(|_, _| Vec::new()).await;
    let request = late("http://web.test/", RequestBody::empty(), |settings| {
        settings.dns.nameservers = vec![server];
    })
    .await;
    let phases = request.phases;
    assert!(phases.lookup_began_at.is_some() && phases.lookup_ended_at.is_none(), "{phases:?}");
    assert!(phases.connect_began_at.is_none(), "{phases:?}");
}
