//! Requests over HTTP/2 whose streams the server ends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use h2::Reason;
use http::Response;
use http_trace::{
    TracedClient,
    record::{FailureKind, HttpTrace},
    settings::HttpVersions,
};
use hyper::body::Bytes;

use crate::servers::{client, fetch, tcp};

/// A client, the URL of a server, and how many requests that got. Each request is answered with its
/// number or reset, as `reset` says of it.
async fn resetting(
    reset: impl Fn(usize) -> Option<Reason> + Clone + Send + Sync + 'static,
) -> (TracedClient, String, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    let server = tcp(move |stream, _| {
        let (reset, counted) = (reset.clone(), Arc::clone(&counted));
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let number = counted.fetch_add(1, Relaxed);
                if let Some(reason) = reset(number) {
                    respond.send_reset(reason);
                    continue;
                }
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from(number.to_string()), true).unwrap();
            }
        }
    })
    .await;
    let client = client(|settings| settings.versions = HttpVersions::Http2Only);
    (client, format!("http://{server}/"), count)
}

fn uses(trace: &HttpTrace) -> Vec<usize> {
    trace.requests.iter().map(|request| request.uses.len()).collect()
}

#[tokio::test]
async fn a_stream_that_the_server_resets_is_not_tried_again() {
    let (client, url, count) = resetting(|number| (number == 1).then_some(Reason::CANCEL)).await;
    assert_eq!(fetch(&client, &url).await.unwrap(), "0");
    let error = fetch(&client, &url).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Reset);
    assert!(error.to_string().contains("the server reset the stream"), "{error}");
    assert_eq!(fetch(&client, &url).await.unwrap(), "2");
    assert_eq!(count.load(Relaxed), 3);
    let trace = client.close("reset");
    assert_eq!((trace.tcp.len(), uses(&trace)), (1, vec![1, 1, 1]));
}

#[tokio::test]
async fn a_request_that_the_server_refuses_is_sent_again() {
    let (client, url, count) =
        resetting(|number| (number == 1).then_some(Reason::REFUSED_STREAM)).await;
    assert_eq!(fetch(&client, &url).await.unwrap(), "0");
    assert_eq!(fetch(&client, &url).await.unwrap(), "2");
    assert_eq!(count.load(Relaxed), 3);
    let trace = client.close("refused");
    assert_eq!((trace.tcp.len(), uses(&trace)), (1, vec![1, 2]));
    assert!(trace.requests[1].uses[0].error.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_the_same_moment_each_dial_and_share_the_first_connection() {
    let (client, url, count) = resetting(|_| None).await;
    let one = || fetch(&client, &url);
    let (first, second, third) = tokio::join!(one(), one(), one());
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(count.load(Relaxed), 3);
    let trace = client.close("at once");
    assert_eq!((trace.dials.len(), uses(&trace)), (3, vec![1, 1, 1]));
    let used: Vec<_> = trace.requests.iter().map(|request| request.connection).collect();
    assert!(used[0].is_some() && used.iter().all(|connection| *connection == used[0]));
}
