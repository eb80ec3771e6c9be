//! A trace is one moment: whatever goes on, no record is lost, there twice, or refers to nothing.

use std::collections::HashSet;

use http_trace::{
    HttpTrace,
    record::{Id, Via},
};

use crate::servers::{HELLO, answering, client, fetch};

fn assert_consistent(trace: &HttpTrace) {
    let connections: Vec<Id> =
        trace.tcp.iter().map(|tcp| tcp.id).chain(trace.udp.iter().map(|udp| udp.id)).collect();
    let requests: Vec<Id> = trace.requests.iter().map(|request| request.id).collect();
    let dials: Vec<Id> = trace.dials.iter().map(|dial| dial.id).collect();
    for ids in [&connections, &requests, &dials] {
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "a record is there twice");
    }
    let known = |ids: &[Id], id: Option<Id>| id.is_none_or(|id| ids.contains(&id));
    assert!(trace.tcp.iter().all(|tcp| known(&dials, tcp.dial)));
    assert!(trace.dials.iter().all(|dial| {
        known(&requests, dial.request) && known(&connections, dial.outcome.connection())
    }));
    for request in &trace.requests {
        assert!(known(&connections, request.connection) && known(&dials, request.dial));
        assert!(request.uses.iter().all(|used| known(&connections, used.connection)));
        if let Some(Via::Redirect { from, .. }) = request.via {
            assert!(known(&requests, from));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_that_are_taken_while_requests_are_made_are_consistent() {
    const REQUESTS: usize = 300;
    let server = answering(HELLO).await;
    let client = client(|settings| settings.disable_keep_alive = true);
    let requests = tokio::spawn({
        let client = client.clone();
        async move {
            for _ in 0..REQUESTS / 10 {
                let url = format!("http://{server}/");
                let ten = (0..10).map(|_| fetch(&client, &url));
                futures_util::future::try_join_all(ten).await.unwrap();
            }
        }
    });
    let mut seen = HashSet::new();
    while !requests.is_finished() {
        let trace = client.trace("under way");
        assert_consistent(&trace);
        let ids: HashSet<Id> = trace.requests.iter().map(|request| request.id).collect();
        assert!(seen.is_subset(&ids), "a record is lost");
        seen = ids;
        tokio::task::yield_now().await;
    }
    requests.await.unwrap();
    let trace = client.trace("over");
    assert_consistent(&trace);
    assert_eq!(
        (trace.requests.len(), trace.dials.len(), trace.tcp.len()),
        (REQUESTS, REQUESTS, REQUESTS)
    );
}

#[tokio::test]
async fn of_too_many_records_the_newest_are_kept_and_the_others_counted() {
    let server = answering(HELLO).await;
    let client = client(|settings| {
        settings.disable_keep_alive = true;
        settings.recording.records = std::num::NonZeroUsize::new(10).unwrap();
    });
    for _ in 0..25 {
        fetch(&client, &format!("http://{server}/")).await.unwrap();
    }
    let trace = client.trace("bounded");
    assert_consistent(&trace);
    assert_eq!((trace.requests.len(), trace.dropped.requests), (10, 15));
}

#[tokio::test]
async fn a_closed_client_gives_its_last_trace_and_then_none() {
    let server = answering(HELLO).await;
    let client = client(|_| {});
    fetch(&client, &format!("http://{server}/")).await.unwrap();
    assert_eq!(client.close("last").requests.len(), 1);
    assert!(fetch(&client, &format!("http://{server}/")).await.is_err());
    let trace = client.trace("after");
    assert!(trace.requests.is_empty() && trace.tcp.is_empty());
}
