//! The server that stands for BigQuery refuses what the real one would.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests, their helpers included")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http2::handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use netglass_testing::{BigQuery, require};
use prost::encoding::{bytes, int64, string};
use serde_json::json;

const TABLE: &str = "projects/test-project/datasets/test_dataset/tables/t";

/// The state of a call, and the first message of the answer.
#[derive(Debug, PartialEq)]
struct Answer {
    status: String,
    message: Option<Vec<u8>>,
}

/// What a machine is given.
fn token(server: &BigQuery) -> String {
    let mut stream = TcpStream::connect(server.authority()).unwrap();
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

/// Calls a method with one message.
fn call(server: &BigQuery, method: &str, headers: &[(&str, &str)], message: &[u8]) -> Answer {
    let uri =
        format!("{}/google.cloud.bigquery.storage.v1.BigQueryWrite/{method}", server.endpoint());
    let mut request = Request::post(uri).header("te", "trailers");
    request = request.header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &length[..], message].concat();
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.authority()).await.unwrap();
        let (mut sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = parts.headers.get("grpc-status").or_else(|| trailers.get("grpc-status"));
        let status = status.unwrap().to_str().unwrap().to_owned();
        let body = body.to_bytes();
        Answer { status, message: body.get(5..).map(<[u8]>::to_vec) }
    })
}

fn message(parts: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::new();
    parts(&mut message);
    message
}

fn nested(tag: u32, inner: &Vec<u8>, message: &mut Vec<u8>) {
    bytes::encode(tag, inner, message);
}

fn text(tag: u32, text: &str, message: &mut Vec<u8>) {
    string::encode(tag, &text.to_owned(), message);
}

/// A stream of this type, by name.
fn create(server: &BigQuery, token: &str, stream_type: i64) -> String {
    let request = message(|request| {
        text(1, TABLE, request);
        nested(2, &message(|stream| int64::encode(2, &stream_type, stream)), request);
    });
    let route = format!("parent={TABLE}").replace('/', "%2F");
    let headers = [("authorization", token), ("x-goog-request-params", &route)];
    let answer = call(server, "CreateWriteStream", &headers, &request);
    assert_eq!(answer.status, "0");
    let stream = answer.message.unwrap();
    // Its first field is the name.
    String::from_utf8(stream[2..2 + usize::from(stream[1])].to_vec()).unwrap()
}

/// One row with this text in `column`.
fn rows(stream: &str, offset: i64, column: &str, row: &str) -> Vec<u8> {
    let field = message(|field| {
        text(1, column, field);
        int64::encode(3, &1, field);
        int64::encode(4, &1, field);
        int64::encode(5, &9, field);
    });
    let descriptor = message(|descriptor| {
        text(1, "Row", descriptor);
        nested(2, &field, descriptor);
    });
    let row = message(|message| text(1, row, message));
    let data = message(|data| {
        nested(1, &message(|schema| nested(1, &descriptor, schema)), data);
        nested(2, &message(|rows| nested(1, &row, rows)), data);
    });
    message(|request| {
        text(1, stream, request);
        nested(2, &message(|value| int64::encode(1, &offset, value)), request);
        nested(4, &data, request);
    })
}

fn server() -> (BigQuery, String) {
    let server = BigQuery::start();
    server.create_table("t", &json!([{ "name": "a", "type": "STRING", "mode": "REQUIRED" }]));
    let token = format!("Bearer {}", token(&server));
    (server, token)
}

fn named(field: &str, stream: &str) -> String {
    format!("{field}={stream}").replace('/', "%2F")
}

#[test]
fn rows_of_a_pending_stream_are_seen_when_it_is_committed() {
    require!(command("openssl"));
    let (server, token) = server();
    let stream = create(&server, &token, 2);
    let with = |method, field, of: &str, request: &[u8]| {
        let route = named(field, of);
        let headers = [("authorization", &*token), ("x-goog-request-params", &route)];
        let answer = call(&server, method, &headers, request);
        assert_eq!(answer.status, "0", "{method}");
        answer.message.unwrap()
    };
    for (offset, row) in [(0, "x"), (1, "y")] {
        with("AppendRows", "write_stream", &stream, &rows(&stream, offset, "a", row));
    }
    let name = message(|request| text(1, &stream, request));
    let commit = message(|request| {
        text(1, TABLE, request);
        text(2, &stream, request);
    });
    // INVALID_STREAM_STATE, in the second field.
    let early = with("BatchCommitWriteStreams", "parent", TABLE, &commit);
    assert_eq!(early[..1], [0x12]);
    assert_eq!(early[2..4], [8, 5]);
    assert_eq!(with("FinalizeWriteStream", "name", &stream, &name), [8, 2]);
    assert_eq!(server.rows("t").len(), 0);
    let committed = with("BatchCommitWriteStreams", "parent", TABLE, &commit);
    assert_eq!(committed[..1], [0x0a], "when it was committed");
    let rows: Vec<_> = server.rows("t").into_iter().map(|row| row["a"].clone()).collect();
    assert_eq!(rows, ["x", "y"]);
    // STREAM_ALREADY_COMMITTED.
    assert_eq!(with("BatchCommitWriteStreams", "parent", TABLE, &commit)[2..4], [8, 2]);
    assert!(with("GetWriteStream", "name", &stream, &name).len() > stream.len());
    assert_eq!(server.violations(), [] as [String; 0]);
}

#[test]
fn what_the_protocol_does_not_allow_is_refused() {
    require!(command("openssl"));
    let (server, token) = server();
    let stream = create(&server, &token, 1);
    let route = named("write_stream", &stream);
    let good = [("authorization", &*token), ("x-goog-request-params", &*route)];
    let append = |headers: &[(&str, &str)], request: &[u8]| {
        call(&server, "AppendRows", headers, request).status
    };
    let request = rows(&stream, 0, "a", "x");
    // Without a token, without a route, with another one's.
    assert_eq!(append(&good[1..], &request), "16");
    assert_eq!(append(&good[..1], &request), "3");
    let other = named("write_stream", "other");
    let misrouted = [good[0], ("x-goog-request-params", &*other)];
    assert_eq!(append(&misrouted, &request), "3");
    // A column that there is not, none at all, and no message.
    assert_eq!(append(&good, &rows(&stream, 0, "b", "x")), "3");
    let no_schema = message(|request| text(1, &stream, request));
    assert_eq!(append(&good, &no_schema), "3");
    assert_eq!(append(&good, b"\xff"), "3");
    assert!(server.violations().len() >= 4, "{:?}", server.violations());
    assert_eq!(server.rows("t").len(), 0);

    // Beyond the end, at it, and before it: 11 and 6 are the codes of the errors in the answers.
    for (offset, error) in [(1, Some(11)), (0, None), (0, Some(6))] {
        let answer = call(&server, "AppendRows", &good, &rows(&stream, offset, "a", "x"));
        let message = answer.message.unwrap();
        let told = (message[0] == 0x12).then(|| message.windows(2).find(|w| w[0] == 8).unwrap()[1]);
        assert_eq!(told, error, "{message:?}");
    }
    assert_eq!(server.rows("t").len(), 1);
}
