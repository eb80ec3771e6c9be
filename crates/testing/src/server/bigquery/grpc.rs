//! gRPC over HTTP/2, and the service `google.cloud.bigquery.storage.v1.BigQueryWrite`.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http_body_util::{BodyExt as _, Full, channel::Channel, channel::Sender};
use hyper::{
    HeaderMap, Request, Response, Version,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, HeaderValue},
};
use prost::Message;
use std::convert::Infallible;

use super::{
    BigQueryCall, BigQueryFault, DATASET, PROJECT,
    append::Session,
    connection::{Body, Context, full},
    message::{
        Any, AppendRowsRequest, AppendRowsResponse, BatchCommitWriteStreamsRequest,
        BatchCommitWriteStreamsResponse, CreateWriteStreamRequest, FinalizeWriteStreamResponse,
        NameRequest, Status, StorageError, StorageErrorCode, Timestamp, WriteStream as Stream,
    },
    oauth::decoded,
    state::{State, WriteStream},
};

const SERVICE: &str = "/google.cloud.bigquery.storage.v1.BigQueryWrite/";

// google.rpc.Code.
pub(super) const INVALID_ARGUMENT: i32 = 3;
pub(super) const NOT_FOUND: i32 = 5;
pub(super) const ALREADY_EXISTS: i32 = 6;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
pub(super) const OUT_OF_RANGE: i32 = 11;
const UNIMPLEMENTED: i32 = 12;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

pub(super) fn status(code: i32, message: impl Into<String>) -> Status {
    Status { code, message: message.into(), details: Vec::new() }
}

/// A status with the error of the Storage API that it stands for.
pub(super) fn storage_status(
    code: i32,
    storage_code: StorageErrorCode,
    entity: &str,
    message: &str,
) -> Status {
    let error = StorageError {
        code: storage_code as i32,
        entity: entity.to_owned(),
        error_message: message.to_owned(),
    };
    let any = Any {
        type_url: "type.googleapis.com/google.cloud.bigquery.storage.v1.StorageError".to_owned(),
        value: error.encode_to_vec(),
    };
    Status { code, message: message.to_owned(), details: vec![any] }
}

pub(super) async fn answer(request: Request<Incoming>, context: Context) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut messages = Messages { body, buffer: Vec::new() };
    if let Err(reason) = check(&parts, &context) {
        context.violation(reason.clone());
        return trailers_only(&status(INVALID_ARGUMENT, reason));
    }
    let method = parts.uri.path().strip_prefix(SERVICE).unwrap_or_default();
    let call = match method {
        "CreateWriteStream" => BigQueryCall::CreateWriteStream,
        "AppendRows" => return append_rows(&parts.headers, messages, context).await,
        "GetWriteStream" => BigQueryCall::GetWriteStream,
        "FinalizeWriteStream" => BigQueryCall::FinalizeWriteStream,
        "BatchCommitWriteStreams" => BigQueryCall::BatchCommitWriteStreams,
        _ => {
            context.violation(format!("{} is no method of the service", parts.uri));
            return trailers_only(&status(UNIMPLEMENTED, parts.uri.path()));
        }
    };
    let message = match messages.only().await {
        Ok(message) => message,
        Err(reason) => {
            context.violation(reason.clone());
            return trailers_only(&status(INVALID_ARGUMENT, reason));
        }
    };
    let fault = context.state().called(call);
    if let Some(refused) = before(fault, &context).await {
        return trailers_only(&refused);
    }
    let done = unary(&mut context.state(), call, &parts.headers, &message);
    if let Err(status) = &done
        && status.code == INVALID_ARGUMENT
    {
        context.violation(status.message.clone());
    }
    if let Some(refused) = after(fault, &context).await {
        return trailers_only(&refused);
    }
    match done {
        Ok(message) => {
            let trailers = async { Some(Ok::<_, Infallible>(trailers(&status(0, "")))) };
            let body = Full::new(framed(&message)).with_trailers(trailers).boxed_unsync();
            grpc_response(body)
        }
        Err(status) => trailers_only(&status),
    }
}

/// What every call has to have.
fn check(parts: &hyper::http::request::Parts, context: &Context) -> Result<(), String> {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if parts.version != Version::HTTP_2 || parts.method != "POST" {
        return Err("a call of gRPC is a POST over HTTP/2".to_owned());
    }
    if header("te") != Some("trailers") {
        return Err("a call of gRPC has te: trailers".to_owned());
    }
    if !matches!(header("content-type"), Some("application/grpc" | "application/grpc+proto")) {
        return Err("the content-type of a call is application/grpc".to_owned());
    }
    if header("grpc-encoding").is_some_and(|encoding| encoding != "identity") {
        return Err("only messages that are not compressed are understood".to_owned());
    }
    let authority = parts.uri.authority().map(ToString::to_string);
    let endpoint = context.state().endpoint.clone();
    let expected = endpoint.split("://").nth(1).map(str::to_owned);
    if authority != expected || endpoint.split("://").next() != parts.uri.scheme_str() {
        return Err(format!("{} is not this server", parts.uri));
    }
    Ok(())
}

/// Whether a call carries a good token, and is routed by `name`.
fn admit(state: &mut State, headers: &HeaderMap, field: &str, name: &str) -> Result<(), Status> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if !state.is_authorized(header(AUTHORIZATION.as_str())) {
        let message = "Request had invalid authentication credentials.";
        return Err(status(UNAUTHENTICATED, message));
    }
    let route = header("x-goog-request-params").unwrap_or_default();
    let named = route.split('&').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
    if named.map(decoded) != Some(Ok(name.to_owned())) {
        let message = format!("x-goog-request-params is '{route}' and does not name {name}");
        return Err(status(INVALID_ARGUMENT, message));
    }
    Ok(())
}

fn table_of(parent: &str) -> Result<&str, Status> {
    let prefix = format!("projects/{PROJECT}/datasets/{DATASET}/tables/");
    let name = parent.strip_prefix(&prefix).filter(|name| !name.contains('/'));
    let not_found = || {
        let code = StorageErrorCode::TableNotFound;
        storage_status(NOT_FOUND, code, parent, &format!("Table is not found: {parent}"))
    };
    name.ok_or_else(not_found)
}

fn unary(
    state: &mut State,
    call: BigQueryCall,
    headers: &HeaderMap,
    message: &[u8],
) -> Result<Vec<u8>, Status> {
    let malformed = |error: prost::DecodeError| status(INVALID_ARGUMENT, error.to_string());
    match call {
        BigQueryCall::CreateWriteStream => {
            let request = CreateWriteStreamRequest::decode(message).map_err(malformed)?;
            admit(state, headers, "parent", &request.parent)?;
            let table = table_of(&request.parent)?.to_owned();
            if !state.tables.contains_key(&table) {
                let code = StorageErrorCode::TableNotFound;
                return Err(storage_status(NOT_FOUND, code, &table, "Table is not found"));
            }
            let wanted = request.write_stream.unwrap_or_default();
            if !wanted.name.is_empty() || !matches!(wanted.stream_type, 1 | 2) {
                let message = "a stream is made COMMITTED or PENDING, and named by the server";
                return Err(status(INVALID_ARGUMENT, message));
            }
            let name = format!("{}/streams/Cic-{}", request.parent, state.next());
            let stream = WriteStream {
                table,
                is_pending: wanted.stream_type == 2,
                count: 0,
                pending: Vec::new(),
                is_finalized: false,
                is_committed: false,
            };
            state.streams.insert(name.clone(), stream);
            let create_time = Some(Timestamp { seconds: 1 });
            let stream_type = wanted.stream_type;
            Ok(Stream { name, stream_type, create_time, commit_time: None }.encode_to_vec())
        }
        BigQueryCall::GetWriteStream | BigQueryCall::FinalizeWriteStream => {
            let NameRequest { name } = NameRequest::decode(message).map_err(malformed)?;
            admit(state, headers, "name", &name)?;
            let stream = state.streams.get_mut(&name).ok_or_else(|| no_stream(&name))?;
            if call == BigQueryCall::FinalizeWriteStream {
                stream.is_finalized = true;
                return Ok(FinalizeWriteStreamResponse { row_count: stream.count }.encode_to_vec());
            }
            let stream_type = if stream.is_pending { 2 } else { 1 };
            let commit_time = stream.is_committed.then_some(Timestamp { seconds: 2 });
            let create_time = Some(Timestamp { seconds: 1 });
            Ok(Stream { name, stream_type, create_time, commit_time }.encode_to_vec())
        }
        _ => {
            let request = BatchCommitWriteStreamsRequest::decode(message).map_err(malformed)?;
            admit(state, headers, "parent", &request.parent)?;
            Ok(commit(state, &request).encode_to_vec())
        }
    }
}

pub(super) fn no_stream(name: &str) -> Status {
    let code = StorageErrorCode::StreamNotFound;
    storage_status(NOT_FOUND, code, name, "Requested entity was not found.")
}

/// All streams or none.
fn commit(
    state: &mut State,
    request: &BatchCommitWriteStreamsRequest,
) -> BatchCommitWriteStreamsResponse {
    let mut stream_errors = Vec::new();
    for name in &request.write_streams {
        let code = match state.streams.get(name) {
            None => StorageErrorCode::StreamNotFound,
            Some(stream) if !stream.is_pending => StorageErrorCode::InvalidStreamType,
            Some(stream) if stream.is_committed => StorageErrorCode::StreamAlreadyCommitted,
            Some(stream) if !stream.is_finalized => StorageErrorCode::InvalidStreamState,
            Some(_) => continue,
        };
        let (entity, error_message) = (name.clone(), format!("{code:?}"));
        stream_errors.push(StorageError { code: code as i32, entity, error_message });
    }
    if !stream_errors.is_empty() {
        return BatchCommitWriteStreamsResponse { commit_time: None, stream_errors };
    }
    for name in &request.write_streams {
        let Some(stream) = state.streams.get_mut(name) else { continue };
        stream.is_committed = true;
        if let Some(table) = state.tables.get_mut(&stream.table) {
            table.rows.append(&mut stream.pending);
        }
    }
    BatchCommitWriteStreamsResponse { commit_time: Some(Timestamp { seconds: 2 }), stream_errors }
}

/// The call of `AppendRows`: nothing is answered before there is a first request.
async fn append_rows(
    headers: &HeaderMap,
    mut messages: Messages,
    context: Context,
) -> Response<Body> {
    let first = match messages.next().await {
        Ok(Some(first)) => first,
        Ok(None) => return trailers_only(&status(0, "")),
        Err(reason) => return trailers_only(&status(INVALID_ARGUMENT, reason)),
    };
    let mut session = None;
    let admitted = |state: &mut State, request: &AppendRowsRequest| {
        admit(state, headers, "write_stream", &request.write_stream)?;
        Session::open(state, request)
    };
    let response = match append(&first, &mut session, &context, admitted).await {
        Ok(response) => response,
        Err(status) => return trailers_only(&status),
    };
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        let mut response = response;
        let end = loop {
            if send(&mut sender, &response).await.is_err() {
                return;
            }
            let message = match messages.next().await {
                Ok(Some(message)) => message,
                Ok(None) => break status(0, ""),
                Err(reason) => break status(INVALID_ARGUMENT, reason),
            };
            let unknown = |_: &mut State, _: &AppendRowsRequest| Err(status(INVALID_ARGUMENT, ""));
            match append(&message, &mut session, &context, unknown).await {
                Ok(next) => response = next,
                Err(status) => break status,
            }
        };
        let _ = sender.send_trailers(trailers(&end)).await;
    });
    grpc_response(body.boxed_unsync())
}

async fn send(
    sender: &mut Sender<Bytes, Infallible>,
    response: &AppendRowsResponse,
) -> Result<(), ()> {
    sender.send_data(framed(&response.encode_to_vec())).await.map_err(|_| ())
}

/// One request; `open` makes the session of the first. An error ends the call.
async fn append(
    message: &[u8],
    session: &mut Option<Session>,
    context: &Context,
    open: impl FnOnce(&mut State, &AppendRowsRequest) -> Result<Session, Status>,
) -> Result<AppendRowsResponse, Status> {
    let fault = context.state().called(BigQueryCall::AppendRows);
    if let Some(refused) = before(fault, context).await {
        return Err(refused);
    }
    let done = {
        let mut state = context.state();
        let request = match AppendRowsRequest::decode(message) {
            Ok(request) => request,
            Err(error) => {
                state.violations.push(error.to_string());
                return Err(status(INVALID_ARGUMENT, error.to_string()));
            }
        };
        let name = match session {
            Some(session) => session.stream.clone(),
            None => request.write_stream.clone(),
        };
        match fault {
            Some(BigQueryFault::Finalized) => {
                if let Some(stream) = state.streams.get_mut(&name) {
                    stream.is_finalized = true;
                }
            }
            Some(BigQueryFault::StreamForgotten) => {
                state.streams.remove(&name);
            }
            _ => {}
        }
        let opened = match session.take() {
            Some(known) => Ok(known),
            None => open(&mut state, &request),
        };
        let done = opened
            .and_then(|opened| session.insert(opened).append(&mut state, &request, message.len()));
        if let Some(BigQueryFault::FinalizedAfter) = fault
            && let Some(stream) = state.streams.get_mut(&name)
        {
            stream.is_finalized = true;
        }
        if let Err(status) = &done
            && status.code == INVALID_ARGUMENT
            && status.details.is_empty()
        {
            state.violations.push(status.message.clone());
        }
        done
    };
    match after(fault, context).await {
        Some(refused) => Err(refused),
        None => done,
    }
}

/// How a call fails that does nothing.
async fn before(fault: Option<BigQueryFault>, context: &Context) -> Option<Status> {
    let code = match fault? {
        BigQueryFault::CutBefore => {
            context.cut().await;
            return None;
        }
        BigQueryFault::Unauthenticated => UNAUTHENTICATED,
        BigQueryFault::Denied => PERMISSION_DENIED,
        BigQueryFault::RateLimited | BigQueryFault::TooMany => RESOURCE_EXHAUSTED,
        BigQueryFault::Unavailable => UNAVAILABLE,
        _ => return None,
    };
    Some(status(code, "on demand"))
}

/// How a call fails that was done.
async fn after(fault: Option<BigQueryFault>, context: &Context) -> Option<Status> {
    match fault? {
        BigQueryFault::Slow(time) => tokio::time::sleep(time).await,
        BigQueryFault::UnavailableAfter => {
            return Some(status(UNAVAILABLE, "it was done all the same"));
        }
        fault if fault.is_cut() => {
            context.cut().await;
        }
        _ => {}
    }
    None
}

/// The messages of a call, as they come.
struct Messages {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Messages {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some((prefix, rest)) = self.buffer.split_first_chunk::<5>() {
                let [flag, length @ ..] = *prefix;
                let length = u32::from_be_bytes(length) as usize;
                if flag != 0 {
                    return Err("a message is compressed, and was not declared to be".to_owned());
                }
                if length > 16_000_000 {
                    return Err(format!("a message of {length} bytes"));
                }
                if rest.len() >= length {
                    let message = rest[..length].to_vec();
                    self.buffer.drain(..5 + length);
                    return Ok(Some(message));
                }
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(error.to_string()),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err("a message is cut short".to_owned()),
            }
        }
    }

    async fn only(&mut self) -> Result<Vec<u8>, String> {
        let message = self.next().await?.ok_or("there is no message")?;
        match self.next().await? {
            Some(_) => Err("there is a second message".to_owned()),
            None => Ok(message),
        }
    }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("answers are short");
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed.into()
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.code.into());
    let message: String = status
        .message
        .bytes()
        .map(|byte| match byte {
            b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    trailers.insert("grpc-message", HeaderValue::try_from(message).expect("it is encoded"));
    if !status.details.is_empty() {
        let details = STANDARD_NO_PAD.encode(status.encode_to_vec());
        let details = HeaderValue::try_from(details).expect("base64 is ASCII");
        trailers.insert("grpc-status-details-bin", details);
    }
    trailers
}

fn trailers_only(status: &Status) -> Response<Body> {
    let mut response = grpc_response(full(Bytes::new()));
    response.headers_mut().extend(trailers(status));
    response
}

fn grpc_response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}
