//! Requests without TLS.

use std::time::Duration;

use http::{Request, StatusCode};
use http_trace::{
    ProxyChoice, RequestBody,
    record::{DialOutcome, FailureKind, Layer, OperationKind, Via},
    settings::{HeaderRecording, RequestRecording},
};
use netglass_testing::Refusing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::servers::{HELLO, answering, client, fetch, request, tcp};

#[tokio::test]
async fn a_request_has_its_dial_its_connection_and_its_operations() {
    let server = answering(HELLO).await;
    let client = client(|_| {});
    assert_eq!(fetch(&client, &format!("http://{server}/hello")).await.unwrap(), "hello\n");
    let trace = client.trace("one");
    let [request] = &trace.requests[..] else { panic!("one request") };
    let tcp = trace.tcp_connection(request.connection.unwrap()).unwrap();
    let dial = trace.dial(request.dial.unwrap()).unwrap();
    assert_eq!(dial.outcome, DialOutcome::Connected { connection: Some(tcp.id) });
    assert_eq!((tcp.addresses.destination, tcp.connected, tcp.requests), (server, true, 1));
    assert_eq!(request.response.as_ref().unwrap().body_bytes, 6);
    let operations = &tcp.operations.as_ref().unwrap().list;
    let kinds: Vec<_> = operations.iter().map(|operation| operation.kind).collect();
    assert_eq!(kinds, [OperationKind::Write, OperationKind::Read]);
    assert_eq!(tcp.received_bytes, HELLO.len() as u64);
    assert!(tcp.information_at_connect.is_some());
    let phases = &request.phases;
    let times = [
        Some(phases.queued_at),
        phases.connect_began_at,
        phases.connect_ended_at,
        phases.connection_at,
        phases.request_began_at,
        phases.first_byte_at,
        phases.headers_at,
        phases.ended_at,
    ];
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn a_connection_outlives_a_cleared_trace_and_refers_to_nothing_that_is_gone() {
    let server = answering(HELLO).await;
    let client = client(|_| {});
    let url = format!("http://{server}/");
    fetch(&client, &url).await.unwrap();
    client.clear();
    fetch(&client, &url).await.unwrap();
    let trace = client.trace("second");
    assert_eq!((trace.dials.len(), trace.tcp.len(), trace.requests.len()), (0, 1, 1));
    let tcp = &trace.tcp[0];
    assert!(tcp.from_earlier_trace && tcp.dial.is_none() && trace.relative(tcp.began_at) < 0);
    assert!(trace.requests[0].uses[0].reused);
}

#[tokio::test]
async fn a_request_on_a_connection_that_ends_is_sent_again_on_another() {
    let server = tcp(|mut stream, _| async move {
        request(&mut stream).await;
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        // The second request on it is read, and not answered.
        request(&mut stream).await;
    })
    .await;
    let client = client(|_| {});
    for _ in 0..2 {
        fetch(&client, &format!("http://{server}/")).await.unwrap();
    }
    let trace = client.trace("retried");
    assert_eq!((trace.requests.len(), trace.tcp.len()), (2, 2));
    let uses = &trace.requests[1].uses;
    assert_eq!(uses.len(), 2);
    assert!(uses[0].reused && uses[0].error.is_some() && !uses[1].reused);
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let refusing = Refusing::tcp();
    let client = client(|_| {});
    let error = fetch(&client, &format!("http://{}/", refusing.address())).await.unwrap_err();
    assert_eq!((error.layer(), error.kind()), (Layer::Connect, FailureKind::Refused));
    let trace = client.trace("refused");
    assert!(!trace.tcp[0].connected && trace.tcp[0].ended_at.is_some());
    assert_eq!(trace.requests[0].error.as_ref().unwrap().kind, FailureKind::Refused);
}

#[tokio::test]
async fn each_redirect_is_a_request_that_names_the_one_before() {
    let server = tcp(|mut stream, _| async move {
        while let Some(text) = request(&mut stream).await {
            let response = if text.starts_with("GET /end") {
                HELLO
            } else {
                "HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n"
            };
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    })
    .await;
    let client = client(|_| {});
    assert_eq!(fetch(&client, &format!("http://{server}/")).await.unwrap(), "hello\n");
    let trace = client.trace("redirected");
    assert_eq!((trace.tcp.len(), trace.requests.len()), (1, 2));
    let via = Via::Redirect { from: Some(trace.requests[0].id), hop: 1 };
    assert_eq!(trace.requests[1].via, Some(via));
}

#[tokio::test]
async fn informational_responses_and_trailers_are_recorded() {
    let server = answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 42\r\n\r\n",
    )
    .await;
    let client = client(|settings| {
        let headers = HeaderRecording::Values;
        settings.recording.requests = Some(RequestRecording { headers, exclude: None });
    });
    assert_eq!(fetch(&client, &format!("http://{server}/")).await.unwrap(), "hi");
    let trace = client.trace("hints");
    let request = &trace.requests[0];
    assert_eq!(request.informational[0].status, 103);
    assert_eq!(
        request.response.as_ref().unwrap().trailers.iter().next().and_then(|header| header.value),
        Some("42".to_owned())
    );
}

#[tokio::test]
async fn the_body_waits_for_the_consent_of_the_server() {
    let server = tcp(|mut stream, _| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(HELLO.as_bytes()).await.unwrap();
    })
    .await;
    let client =
        client(|settings| settings.timeouts.expect_continue = Some(Duration::from_secs(10)));
    let request = Request::post(format!("http://{server}/"))
        .header("Expect", "100-continue")
        .body(RequestBody::from("body".to_owned()))
        .unwrap();
    assert_eq!(client.execute(request).await.unwrap().status(), StatusCode::OK);
    let trace = client.trace("consent");
    assert_eq!(trace.requests[0].informational[0].status, 100);
    assert_eq!(trace.requests[0].request.body_bytes, 4);
}

#[tokio::test]
async fn what_a_proxy_refuses_is_a_record_of_its_own() {
    let proxy = answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let client = client(|settings| {
        let url = format!("http://user:word@{proxy}").parse().unwrap();
        settings.proxy = ProxyChoice::Url(url);
    });
    let error = fetch(&client, "https://web.test/").await.unwrap_err();
    assert_eq!((error.layer(), error.kind()), (Layer::Proxy, FailureKind::ProxyRefused));
    let trace = client.trace("refused");
    let connect = &trace.connects[0];
    assert_eq!((connect.status, connect.target.as_str()), (Some(403), "web.test:443"));
    assert_eq!(trace.requests[0].proxy_connect, Some(connect.id));
    let text = serde_json::to_string(&trace).unwrap();
    assert!(!text.contains("word"), "the password of the proxy is in the trace");
}

#[tokio::test]
async fn a_request_that_takes_too_long_says_what_it_waited_for() {
    let server = tcp(|mut stream, _| async move {
        request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let client = client(|settings| settings.timeouts.request = Some(Duration::from_millis(200)));
    let error = fetch(&client, &format!("http://{server}/")).await.unwrap_err();
    assert_eq!((error.layer(), error.kind()), (Layer::Request, FailureKind::Timeout));
    let trace = client.trace("late");
    assert_eq!(trace.requests[0].error.as_ref().unwrap().kind, FailureKind::Timeout);
}

#[tokio::test]
async fn a_connection_goes_on_after_101() {
    let server = tcp(|mut stream, _| async move {
        request(&mut stream).await;
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";
        stream.write_all(switch.as_bytes()).await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
    })
    .await;
    let client = client(|_| {});
    let request = Request::get(format!("http://{server}/"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "raw")
        .body(RequestBody::empty())
        .unwrap();
    let mut response = client.execute(request).await.unwrap();
    let mut stream = http_trace::upgrade(&mut response).await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ping");
}
