//! HTTP/3 (RFC 9114): a connection that takes requests, from the end of QUIC's handshake, or with
//! early data its beginning, to its own end.

mod adapter;
mod body;
mod cause;
mod exchange;
pub(crate) mod frames;
mod observed;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use quinn::VarInt;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};

pub(crate) use self::body::Body;
use self::observed::Observed;
use crate::{
    connection::{self, Connection, Maker},
    quic::{Live, QuicStream, SocketGuard},
    record::{EarlyData, Failure, FailureKind, Id, Layer, Phases},
    recorder::Recorder,
};

type Requests = h3::client::SendRequest<adapter::Opener, Bytes>;
type Driver = h3::client::Connection<adapter::Connection, Bytes>;

/// Takes requests. When all are gone, the connection is closed.
#[derive(Clone)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
}

struct Shared {
    requests: Mutex<Requests>,
    connection: quinn::Connection,
    observed: Arc<Observed>,
    recorder: Arc<Recorder>,
    early: watch::Receiver<EarlyData>,
    /// How many headers a response may have.
    headers: usize,
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sender")
            .field("connection", &self.shared.observed.connection)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// Whether it takes no request any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.connection.close_reason().is_some() || self.shared.observed.is_going()
    }

    /// Waits until the server has decided on early data; what it decided.
    async fn early_data(&self) -> EarlyData {
        let mut early = self.shared.early.clone();
        let decided = early.wait_for(|early| *early != EarlyData::Offered).await;
        // Where nobody decides any more, the connection has ended, and says so itself.
        decided.map_or(EarlyData::NotOffered, |decided| *decided)
    }
}

impl Maker {
    /// Begins to speak HTTP/3.
    pub(crate) async fn begin_http3(
        &self,
        stream: QuicStream,
        request: Option<Id>,
        phases: Phases,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Connection, Failure> {
        let recorder = &self.recorder;
        self.live.add(&stream);
        let QuicStream { id, tls, connection, socket, early } = stream;
        let header_bytes = u64::try_from(self.limits.response_header_bytes).unwrap_or(u64::MAX);
        let observed = Arc::new(Observed::new(id, header_bytes, Arc::clone(recorder)));
        // Whatever becomes of what follows, it is the course that ends the connection.
        let course = Course {
            id,
            connection: connection.clone(),
            socket,
            observed: Arc::clone(&observed),
            live: Arc::clone(&self.live),
            recorder: Arc::clone(recorder),
        };
        let (driver, requests) = course.begin(self.connector.timeout).await?;
        let offered = if early.is_some() { EarlyData::Offered } else { EarlyData::NotOffered };
        let (decide, decided) = watch::channel(offered);
        let shared = Arc::new(Shared {
            requests: Mutex::new(requests),
            connection,
            observed,
            recorder: Arc::clone(recorder),
            early: decided,
            headers: self.limits.response_headers,
        });
        let weak = Arc::downgrade(&shared);
        let sender = connection::Sender::Http3(Sender { shared });
        let (shared, end) = connection::Shared::new(id, tls, request, phases, turn);
        let mut closed = self.closed.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = course.run(driver, early, &decide, &weak) => {}
                _ = closed.wait_for(|closed| *closed) => {}
            }
            drop(course);
            drop(end);
        });
        Ok(Connection { sender, shared: Arc::new(shared), driving: None })
    }
}

/// What a connection goes on with in the background. It ends with it.
struct Course {
    id: Id,
    connection: quinn::Connection,
    socket: SocketGuard,
    observed: Arc<Observed>,
    live: Arc<Live>,
    recorder: Arc<Recorder>,
}

impl Course {
    /// Opens the streams of HTTP/3 itself, for which the server has to give leave.
    async fn begin(&self, limit: Option<Duration>) -> Result<(Driver, Requests), Failure> {
        let cannot = |kind, why: &str| {
            let message = format!("cannot begin to speak HTTP/3: {why}");
            Failure::new(Layer::Request, kind, message)
        };
        let adapter = adapter::Connection::new(self.connection.clone(), Arc::clone(&self.observed));
        let mut builder = h3::client::builder();
        builder.max_field_section_size(self.observed.longest_frame).send_grease(false);
        let begun = match limit {
            None => builder.build(adapter).await,
            Some(limit) => timeout(limit, builder.build(adapter)).await.map_err(|_| {
                cannot(FailureKind::Timeout, &format!("the server took no stream in {limit:?}"))
            })?,
        };
        begun.map_err(|error| {
            let (kind, why) = cause::of_connection(&error, &self.connection);
            cannot(kind, &why)
        })
    }

    async fn run(
        &self,
        mut driver: Driver,
        early: Option<quinn::ZeroRttAccepted>,
        decide: &watch::Sender<EarlyData>,
        sender: &Weak<Shared>,
    ) {
        if let Some(early) = early {
            let accepted = tokio::select! {
                accepted = early => accepted,
                _ = driver.wait_idle() => return,
                () = self.socket.complaint() => return,
            };
            self.socket.forget_complaints();
            // An end is no answer.
            if self.connection.close_reason().is_some() {
                return;
            }
            let ended_at = Some(self.recorder.now());
            let decided = if accepted { EarlyData::Accepted } else { EarlyData::Rejected };
            self.recorder.quic(self.id, |quic| {
                quic.early_data = decided;
                quic.handshake_ended_at = ended_at;
            });
            if !accepted {
                // The streams that there were are gone, those of HTTP/3 itself among them. Were
                // the driver there when its requests go, it would close the connection.
                drop(driver);
                let Ok((again, requests)) = self.begin(None).await else { return };
                let Some(sender) = sender.upgrade() else { return };
                *sender.requests.lock().unwrap_or_else(PoisonError::into_inner) = requests;
                driver = again;
            }
            decide.send_replace(decided);
        }
        // Whoever uses the connection is told of the error.
        let _ = driver.wait_idle().await;
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        if self.connection.close_reason().is_none() {
            let code = h3::error::Code::H3_NO_ERROR.value();
            self.observed.say(code, "");
            self.connection.close(VarInt::from_u64(code).unwrap_or_default(), &[]);
        }
        self.live.end(self.id, self.observed.said());
    }
}

/// A failure of HTTP/3 that is none of the connection below it.
fn protocol(why: impl Into<String>) -> (FailureKind, String) {
    (FailureKind::Protocol, why.into())
}
