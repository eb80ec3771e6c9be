//! The Storage Write API of BigQuery (`google.cloud.bigquery.storage.v1.BigQueryWrite`) over gRPC.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::stream;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
    header::{AUTHORIZATION, HeaderValue, USER_AGENT},
    http::uri::{PathAndQuery, Uri},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{sync::mpsc, time::timeout};
use tonic::{Code, Streaming, body::Body, client::GrpcService};
use tonic_prost::ProstCodec;

use super::{
    fault::Fault,
    http::AGENT,
    message::{
        AppendRowsRequest, AppendRowsResponse, CreateWriteStreamRequest,
        FinalizeWriteStreamRequest, FinalizeWriteStreamResponse, ProtoData, ProtoRows, RowError,
        Status, StorageErrorCode, StreamType, WriteStream,
    },
    request::schema,
    rest::QUOTA_PROJECT,
    token::{Tokens, encoded},
    transport::{Origin, Transport, Version},
};

const APPEND_ROWS: &str = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows";
const CREATE_WRITE_STREAM: &str =
    "/google.cloud.bigquery.storage.v1.BigQueryWrite/CreateWriteStream";
const FINALIZE_WRITE_STREAM: &str =
    "/google.cloud.bigquery.storage.v1.BigQueryWrite/FinalizeWriteStream";

/// Calls of the service, and the connection to it while there is one.
pub(super) struct Grpc {
    transport: Transport,
    origin: Origin,
    timeout: Duration,
    channel: Option<Channel>,
    appending: Option<Appending>,
}

/// What became of rows that were appended at an offset.
#[derive(Debug, PartialEq)]
pub(super) enum Appended {
    /// They are stored, now or since an earlier attempt.
    Stored,
    /// None of them is, because of these.
    NotThese(Vec<RowError>),
    /// None of them is: the stream is shorter than we think.
    BeyondEnd(String),
    /// Nothing can be appended to the stream any more; they may have been before.
    Finalized,
    /// The stream is not known any more.
    NoStream(String),
    /// The table is not there any more.
    NoTable(String),
    /// The server does not know yet, or not any more, that the table has all columns.
    OtherSchema(String),
}

/// One call of `AppendRows`.
struct Appending {
    stream: String,
    requests: mpsc::Sender<AppendRowsRequest>,
    responses: Streaming<AppendRowsResponse>,
}

impl Grpc {
    pub(super) fn new(transport: Transport, origin: Origin, timeout: Duration) -> Self {
        Self { transport, origin, timeout, channel: None, appending: None }
    }

    /// A new stream to the table `parent`: what is appended can be read at once.
    pub(super) async fn create_stream(
        &mut self,
        tokens: &mut Tokens,
        parent: &str,
    ) -> Result<String, Fault> {
        let request = CreateWriteStreamRequest {
            parent: parent.to_owned(),
            write_stream: Some(WriteStream {
                name: String::new(),
                stream_type: StreamType::Committed.into(),
            }),
        };
        let route = format!("parent={}", encoded(parent));
        let created: WriteStream = self.unary(tokens, CREATE_WRITE_STREAM, &route, request).await?;
        Ok(created.name)
    }

    /// Nothing can be appended to the stream any more; how many rows were.
    pub(super) async fn finalize(
        &mut self,
        tokens: &mut Tokens,
        stream: &str,
    ) -> Result<i64, Fault> {
        let request = FinalizeWriteStreamRequest { name: stream.to_owned() };
        let route = format!("name={}", encoded(stream));
        let finalized: FinalizeWriteStreamResponse =
            self.unary(tokens, FINALIZE_WRITE_STREAM, &route, request).await?;
        Ok(finalized.row_count)
    }

    /// Appends all of `rows`, so that the first of them is row `offset` of the stream, or none. After
    /// an error they may have been appended.
    pub(super) async fn append(
        &mut self,
        tokens: &mut Tokens,
        stream: &str,
        offset: i64,
        rows: ProtoRows,
    ) -> Result<Appended, Fault> {
        let limit = self.timeout;
        let asked = timeout(limit, self.append_without_limit(tokens, stream, offset, rows));
        let appended = asked.await.unwrap_or(Err(Fault::Silent));
        if let Err(fault) = &appended {
            self.appending = None;
            if fault.is_lost() {
                self.channel = None;
            }
        }
        appended
    }

    async fn append_without_limit(
        &mut self,
        tokens: &mut Tokens,
        stream: &str,
        offset: i64,
        rows: ProtoRows,
    ) -> Result<Appended, Fault> {
        let data = ProtoData { writer_schema: None, rows: Some(rows) };
        let mut request = AppendRowsRequest {
            write_stream: String::new(),
            offset: Some(offset),
            proto_rows: Some(data),
            trace_id: String::new(),
        };
        let response = match &mut self.appending {
            Some(appending) if appending.stream == stream => {
                let sent = appending.requests.send(request).await;
                // What the server has said last tells why it does not read any more.
                let response = appending.responses.message().await;
                match (response, sent) {
                    (Ok(Some(response)), Ok(())) => Ok(response),
                    (Ok(_), _) => return Err(Fault::Lost("the server ended the call".to_owned())),
                    (Err(status), _) => Err(status),
                }
            }
            _ => {
                request.write_stream = stream.to_owned();
                request.trace_id = AGENT.replace('/', ":");
                if let Some(data) = &mut request.proto_rows {
                    data.writer_schema = Some(schema());
                }
                self.open(tokens, stream, request).await?
            }
        };
        let (status, row_errors) = match response {
            Ok(AppendRowsResponse { error: Some(status), row_errors, .. }) => (status, row_errors),
            Ok(AppendRowsResponse { append_result: Some(result), .. }) => {
                return match result.offset {
                    Some(appended_at) if appended_at != offset => Err(Fault::Invalid(format!(
                        "rows for offset {offset} were appended at {appended_at}"
                    ))),
                    _ => Ok(Appended::Stored),
                };
            }
            Ok(_) => return Err(Fault::Lost("the server's answer says nothing".to_owned())),
            // The call is at its end with that.
            Err(status) => {
                self.appending = None;
                (read_status(&status), Vec::new())
            }
        };
        appended(&status, row_errors)
    }

    /// Calls `AppendRows` with a first request; the answer to it, or the end of the call.
    async fn open(
        &mut self,
        tokens: &mut Tokens,
        stream: &str,
        first: AppendRowsRequest,
    ) -> Result<Result<AppendRowsResponse, tonic::Status>, Fault> {
        self.appending = None;
        let route = format!("write_stream={}", encoded(stream));
        let mut client = self.client(tokens, route).await?;
        let (requests, mut receiver) = mpsc::channel(1);
        // There may be no answer at all before there is something to answer to.
        requests.try_send(first).map_err(|error| Fault::Lost(error.to_string()))?;
        let body = stream::poll_fn(move |context| receiver.poll_recv(context));
        let called = client
            .streaming(
                tonic::Request::new(body),
                PathAndQuery::from_static(APPEND_ROWS),
                ProstCodec::default(),
            )
            .await;
        let mut responses: Streaming<AppendRowsResponse> = match called {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        match responses.message().await {
            Ok(Some(response)) => {
                let stream = stream.to_owned();
                self.appending = Some(Appending { stream, requests, responses });
                Ok(Ok(response))
            }
            Ok(None) => Err(Fault::Lost("the server ended the call".to_owned())),
            Err(status) => Ok(Err(status)),
        }
    }

    async fn unary<Q, A>(
        &mut self,
        tokens: &mut Tokens,
        method: &'static str,
        route: &str,
        request: Q,
    ) -> Result<A, Fault>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let path = PathAndQuery::from_static(method);
        let (mut is_connection_new, mut is_token_new) = (self.channel.is_none(), false);
        loop {
            let limit = self.timeout;
            let asked = async {
                let mut client = self.client(tokens, route.to_owned()).await?;
                let request = tonic::Request::new(request.clone());
                let called = client.unary(request, path.clone(), ProstCodec::<Q, A>::default());
                let called = called.await.map_err(|status| fault(&read_status(&status)));
                called.map(tonic::Response::into_inner)
            };
            let fault = match timeout(limit, asked).await.unwrap_or(Err(Fault::Silent)) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            if fault.is_lost() {
                self.channel = None;
                self.appending = None;
            }
            match fault {
                Fault::Lost(_) if !is_connection_new => is_connection_new = true,
                Fault::Unauthenticated(_) if !is_token_new => {
                    tokens.forget();
                    is_token_new = true;
                }
                fault => return Err(fault),
            }
        }
    }

    /// A client whose calls carry all that they need.
    async fn client(
        &mut self,
        tokens: &mut Tokens,
        route: String,
    ) -> Result<tonic::client::Grpc<WithHeaders>, Fault> {
        let value = |text: &str| {
            HeaderValue::try_from(text).map_err(|error| Fault::Invalid(error.to_string()))
        };
        let headers = Headers {
            token: tokens.header().await?,
            route: value(&route)?,
            quota_project: tokens.quota_project().map(value).transpose()?,
        };
        let channel = match &self.channel {
            Some(channel) if !channel.0.is_closed() => channel.clone(),
            _ => self.channel.insert(self.connect().await?).clone(),
        };
        let origin = format!("{}://{}", self.origin.scheme(), self.origin.authority());
        let origin = Uri::try_from(origin).map_err(|error| Fault::Setup(error.to_string()))?;
        Ok(tonic::client::Grpc::with_origin(WithHeaders { channel, headers }, origin))
    }

    async fn connect(&self) -> Result<Channel, Fault> {
        let stream = self.transport.connect(&self.origin, Version::Http2).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| Fault::Lost(error.to_string()))?;
        // It ends when either side closes the connection; whoever calls is told why.
        tokio::spawn(connection);
        Ok(Channel(sender))
    }
}

/// What the end of a call says, with its details.
fn read_status(status: &tonic::Status) -> Status {
    let details = Status::decode(status.details()).map(|status| status.details);
    Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: details.unwrap_or_default(),
    }
}

fn appended(status: &Status, row_errors: Vec<RowError>) -> Result<Appended, Fault> {
    let told = || status.message.clone();
    match (status.storage_error(), Code::from(status.code)) {
        (Some(StorageErrorCode::OffsetAlreadyExists), _) | (_, Code::AlreadyExists) => {
            Ok(Appended::Stored)
        }
        (Some(StorageErrorCode::OffsetOutOfRange), _) | (_, Code::OutOfRange) => {
            Ok(Appended::BeyondEnd(told()))
        }
        (Some(StorageErrorCode::StreamFinalized | StorageErrorCode::InvalidStreamState), _) => {
            Ok(Appended::Finalized)
        }
        (Some(StorageErrorCode::TableNotFound), _) => Ok(Appended::NoTable(told())),
        (Some(StorageErrorCode::StreamNotFound), _) | (_, Code::NotFound) => {
            Ok(Appended::NoStream(told()))
        }
        (Some(StorageErrorCode::SchemaMismatchExtraFields), _) => Ok(Appended::OtherSchema(told())),
        (_, Code::InvalidArgument) if !row_errors.is_empty() => Ok(Appended::NotThese(row_errors)),
        _ => Err(fault(status)),
    }
}

fn fault(status: &Status) -> Fault {
    let code = Code::from(status.code);
    let told = format!("{code:?}: {}", status.message);
    match code {
        Code::Unauthenticated => Fault::Unauthenticated(told),
        Code::PermissionDenied => Fault::Denied(told),
        Code::NotFound => Fault::Missing(told),
        Code::ResourceExhausted => Fault::Busy(told),
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::AlreadyExists => Fault::Invalid(told),
        // The server may have done it, and whatever stands between us and it says so too.
        _ => Fault::Lost(told),
    }
}

/// A connection of HTTP/2.
#[derive(Clone)]
struct Channel(SendRequest<Body>);

/// What each call carries.
#[derive(Clone)]
struct Headers {
    token: HeaderValue,
    /// By this the front of the service finds who is to serve it.
    route: HeaderValue,
    quota_project: Option<HeaderValue>,
}

#[derive(Clone)]
struct WithHeaders {
    channel: Channel,
    headers: Headers,
}

impl GrpcService<Body> for WithHeaders {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.channel.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Headers { token, route, quota_project } = self.headers.clone();
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, token);
        headers.insert("x-goog-request-params", route);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(project) = quota_project {
            headers.insert(QUOTA_PROJECT, project);
        }
        Box::pin(self.channel.0.send_request(request))
    }
}
