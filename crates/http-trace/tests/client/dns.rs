//! Name servers, as they are and as they should not be.

use std::time::{Duration, Instant};

use http_trace::{
    TracedClient,
    record::{DnsTransport, FailureKind, Layer, LookupSource},
};
use netglass_testing::Refusing;

use crate::servers::{HELLO, answering, client, dns, fetch, localhost, record_type, reply};

/// A client that asks a name server whose replies a function makes.
async fn asking(
    answer: impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> (TracedClient, String) {
    let server = dns(answer).await;
    let port = answering(HELLO).await.port();
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("resolv.conf");
    std::fs::write(&configuration, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    // It is read with lookups.
    let configuration = directory.keep().join("resolv.conf");
    let client = client(|settings| {
        settings.dns.nameservers = vec![server];
        settings.dns.configuration_file = configuration;
    });
    (client, format!("http://web.test:{port}/"))
}

#[tokio::test]
async fn both_families_are_asked_for_and_all_is_recorded() {
    let (client, url) = asking(|query, _| vec![localhost(query)]).await;
    assert_eq!(fetch(&client, &url).await.unwrap(), "hello\n");
    let trace = client.trace("looked up");
    let dial = &trace.dials[0];
    let lookup = dial.lookup.as_ref().unwrap();
    assert_eq!((lookup.source, lookup.addresses.len()), (LookupSource::Dns, 1));
    assert_eq!((dial.resolver_dials.len(), trace.udp.len(), trace.dns.len()), (2, 2, 2));
    let mut asked: Vec<_> =
        trace.dns.iter().map(|exchange| exchange.queries[0].questions[0].record_type).collect();
    asked.sort_unstable();
    assert_eq!(asked, [1, 28]);
    assert!(trace.dns.iter().all(|exchange| exchange.replies[0].accepted));
    assert!(trace.udp.iter().all(|udp| udp.closed_at.is_some() && udp.dial == Some(dial.id)));
}

#[tokio::test]
async fn what_is_cut_short_over_udp_is_asked_for_over_tcp_however_it_comes() {
    let (client, url) = asking(|query, over_tcp| {
        vec![if over_tcp { localhost(query) } else { reply(query, 0x8780, 0, &[]) }]
    })
    .await;
    assert_eq!(fetch(&client, &url).await.unwrap(), "hello\n");
    let trace = client.trace("truncated");
    let over_tcp: Vec<_> =
        trace.dns.iter().filter(|exchange| exchange.transport == DnsTransport::Tcp).collect();
    assert_eq!(over_tcp.len(), 2);
    assert!(over_tcp.iter().all(|exchange| {
        let reply = &exchange.replies[0];
        reply.accepted && reply.id == Some(exchange.queries[0].id)
    }));
}

#[tokio::test]
async fn replies_to_other_questions_are_recorded_and_not_believed() {
    let (client, url) = asking(|query, _| {
        let mut wrong = localhost(query);
        wrong[0] ^= 0xff;
        vec![wrong, vec![1, 2, 3], localhost(query)]
    })
    .await;
    assert_eq!(fetch(&client, &url).await.unwrap(), "hello\n");
    let trace = client.trace("wrong id");
    let accepted: Vec<_> = trace.dns[0].replies.iter().map(|reply| reply.accepted).collect();
    assert_eq!(accepted, [false, false, true]);
    assert!(trace.dns[0].replies[1].malformed.is_some());
}

#[tokio::test]
async fn hostile_replies_end_in_an_error_in_time() {
    const POINTS_AT_ITSELF: &[u8] = b"\xc0\x1e\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01";
    const CUT_SHORT: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0";
    const RESERVED: &[u8] = b"\x40\0";
    for answers in [POINTS_AT_ITSELF, CUT_SHORT, RESERVED] {
        let (client, url) = asking(move |query, _| {
            let count = u16::from(record_type(query) == 1);
            let answers = if count == 1 { answers } else { &[] };
            vec![reply(query, 0x8580, count, answers)]
        })
        .await;
        let began = Instant::now();
        let error = fetch(&client, &url).await.unwrap_err();
        assert_eq!(error.layer(), Layer::Dns);
        assert!(began.elapsed() < Duration::from_secs(5));
        let trace = client.trace("hostile");
        assert!(trace.dns.iter().any(|exchange| exchange.replies[0].malformed.is_some()));
    }
}

#[tokio::test]
async fn a_name_server_that_only_sends_nonsense_is_given_up() {
    let (client, url) = asking(|_, _| vec![vec![0xff; 40]; 200]).await;
    let error = fetch(&client, &url).await.unwrap_err();
    assert_eq!((error.layer(), error.kind()), (Layer::Dns, FailureKind::Timeout));
    let trace = client.trace("nonsense");
    assert!(trace.dns.iter().all(|exchange| exchange.replies.len() <= 64));
    assert!(trace.dns.iter().any(|exchange| exchange.dropped_replies > 0));
}

#[tokio::test]
async fn name_servers_that_are_left_out_are_named_with_the_reason() {
    let port = answering(HELLO).await.port();
    let client = client(|settings| {
        settings.dns.nameservers = vec!["127.0.0.1:9".parse().unwrap()];
        settings.dns.skip_nameserver = Some(std::sync::Arc::new(|_| Some("not now".to_owned())));
    });
    let error = fetch(&client, &format!("http://web.test:{port}/")).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::NoNameserver);
    let trace = client.trace("skipped");
    assert_eq!(trace.dials[0].skipped_nameservers[0].reason, "not now");
    assert!(trace.dials[0].resolver_dials.is_empty());
}

#[tokio::test]
async fn what_the_network_says_of_a_name_server_is_recorded() {
    let dead = Refusing::udp();
    let client = client(|settings| settings.dns.nameservers = vec![dead.address()]);
    let error = fetch(&client, "http://web.test/").await.unwrap_err();
    assert_eq!((error.layer(), error.kind()), (Layer::Dns, FailureKind::Refused));
    let trace = client.trace("refused");
    for udp in &trace.udp {
        let cause = udp.error.as_ref().and_then(|error| error.cause.as_ref()).unwrap();
        assert_eq!((cause.icmp_type, cause.icmp_code), (Some(3), Some(3)));
        assert_eq!(cause.from, Some("127.0.0.1".parse().unwrap()));
    }
    assert!(trace.requests[0].error.as_ref().unwrap().cause.is_some());
}

#[tokio::test]
async fn every_name_server_of_the_override_list_is_asked() {
    let live = dns(|query, _| vec![localhost(query)]).await;
    let dead = Refusing::udp();
    let port = answering(HELLO).await.port();
    let client = client(|settings| settings.dns.nameservers = vec![dead.address(), live]);
    assert_eq!(fetch(&client, &format!("http://web.test:{port}/")).await.unwrap(), "hello\n");
    assert_eq!(client.trace("override").dials[0].resolver_dials.len(), 4);
}

#[tokio::test]
async fn answers_are_remembered_for_as_long_as_they_hold_where_that_is_wanted() {
    let server = dns(|query, _| vec![localhost(query)]).await;
    let port = answering(HELLO).await.port();
    let client = client(|settings| {
        settings.dns.nameservers = vec![server];
        settings.dns.cache = 10;
        settings.disable_keep_alive = true;
    });
    for _ in 0..2 {
        fetch(&client, &format!("http://web.test:{port}/")).await.unwrap();
    }
    let trace = client.trace("cached");
    let sources: Vec<_> =
        trace.dials.iter().map(|dial| dial.lookup.as_ref().unwrap().source).collect();
    assert_eq!(sources, [LookupSource::Dns, LookupSource::Cache]);
}
