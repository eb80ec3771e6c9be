//! Tracing requests: what a client of our own does for them, and recordings of that.

mod arguments;
mod collector;
mod packets;
mod parse;
mod places;
mod plan;
mod recorded;
mod writer;

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use http_trace::{
    Error, HttpTrace, ResponseBody, TracedClient,
    record::{Failure, HttpRequest, Layer},
};
use netglass_model::printable;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use self::{arguments::Format, collector::Collector, plan::Plan, writer::Writer};
pub(crate) use self::{
    arguments::{ConnectionArguments, OutputArguments, Recorded, RequestArguments, TlsArguments},
    recorded::run as run_recorded,
};
use crate::{
    output::trace::{exit_status, failure, sentence, sentence_of},
    probing::tell,
    secrets,
    usage::UsageError,
};

/// What the traces of this program say of themselves.
const DESCRIPTION: &str = "netglass trace";

/// Makes the requests and writes what they did. The status says which layer failed first.
pub(crate) fn run(
    request: &RequestArguments,
    connection: &ConnectionArguments,
    tls: &TlsArguments,
    output: &OutputArguments,
) -> anyhow::Result<ExitCode> {
    // Before anything is read: standard input can be read only once.
    secrets::mask(&Plan::secrets(request, connection, output))?;
    let plan = Plan::new(request, connection, tls, output)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime of the client")?;
    let layer = runtime.block_on(Tracing::new(&plan, request, output)?.run())?;
    Ok(layer.map_or(ExitCode::SUCCESS, |layer| ExitCode::from(exit_status(layer))))
}

/// Requests that are made, and where their traces go.
struct Tracing<'a> {
    plan: &'a Plan,
    repeat: u32,
    interval: Duration,
    format: Format,
    body: Option<&'a Path>,
    pcap: Option<&'a Path>,
    writer: Writer,
    collector: Option<Collector>,
    /// The first failure's.
    layer: Option<Layer>,
}

/// How waiting for something ended.
enum Waited<T> {
    Done(T),
    /// A signal asked for the end.
    Interrupted,
}

/// The signals that ask for the end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn or<T>(&mut self, work: impl Future<Output = T>) -> Waited<T> {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Waited::Interrupted,
            _ = self.terminate.recv() => Waited::Interrupted,
            done = work => Waited::Done(done),
        }
    }
}

impl<'a> Tracing<'a> {
    fn new(
        plan: &'a Plan,
        request: &RequestArguments,
        output: &'a OutputArguments,
    ) -> anyhow::Result<Self> {
        let repeat = request.repeat.get();
        let body = output.output.as_deref();
        let open = match body {
            Some(body) if body == Path::new("-") => Writer::to_stderr,
            _ => Writer::to_stdout,
        };
        let collector = output.collector.as_ref().map(|url| Collector::new(&url.0)).transpose()?;
        Ok(Self {
            plan,
            repeat,
            interval: request.interval,
            format: output.format,
            body,
            pcap: output.pcap.as_deref(),
            writer: open(output.format, output.verbose, repeat > 1),
            collector,
            layer: None,
        })
    }

    /// Makes all requests; returns the layer of the first failure.
    async fn run(mut self) -> anyhow::Result<Option<Layer>> {
        let mut signals = Signals::new()?;
        let mut sent = Ok(());
        let began = Instant::now();
        for number in 0..self.repeat {
            let due = began + self.interval.saturating_mul(number);
            if number > 0 && matches!(signals.or(sleep_until(due)).await, Waited::Interrupted) {
                break;
            }
            let client = self.plan.client()?;
            let ended = signals.or(self.fetch_all(&client)).await;
            let failures = match ended {
                Waited::Done(failures) => failures?,
                Waited::Interrupted => {
                    self.layer.get_or_insert(Layer::Caller);
                    Vec::new()
                }
            };
            client.close_connections().await;
            let trace = client.close(DESCRIPTION);
            if let Some(file) = self.pcap {
                packets::write(file, &client, &trace)?;
            }
            self.tell_failures(&trace, &failures);
            if let Some(collector) = &self.collector
                && let Waited::Done(result) = signals.or(collector.send(&trace)).await
            {
                sent = result;
            }
            // What a collector does not take is shown nevertheless.
            self.writer.write(trace)?;
            if sent.is_err() {
                break;
            }
            if self.layer == Some(Layer::Caller) {
                break;
            }
        }
        self.writer.finish()?;
        sent?;
        Ok(self.layer)
    }

    /// Fetches all URLs, one after the other; returns why which of them failed.
    async fn fetch_all(&mut self, client: &TracedClient) -> anyhow::Result<Vec<Failure>> {
        let mut failures = Vec::new();
        for request in self.plan.requests() {
            let failed = match client.execute(request?).await {
                Ok(response) => self.read(response.into_body()).await?,
                Err(error) => Some(error),
            };
            if let Some(error) = failed {
                self.layer.get_or_insert(error.layer());
                failures.push(match error {
                    Error::Failed(failure) => *failure,
                    other => return Err(UsageError(other.to_string()).into()),
                });
            }
        }
        Ok(failures)
    }

    /// Reads a body to its end; returns why it is not whole.
    async fn read(&self, mut body: ResponseBody) -> anyhow::Result<Option<Error>> {
        let mut sink: Box<dyn Write> = match self.body {
            None => Box::new(io::sink()),
            Some(path) if path == Path::new("-") => Box::new(io::stdout()),
            Some(path) => {
                let file = File::create(path);
                Box::new(file.with_context(|| format!("creating {}", path.display()))?)
            }
        };
        let name = || self.body.unwrap_or(Path::new("-")).display();
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => sink
                    .write_all(&chunk)
                    .with_context(|| format!("writing the response's body to {}", name()))?,
                Ok(None) => break,
                Err(error) => return Ok(Some(error)),
            }
        }
        sink.flush().with_context(|| format!("writing the response's body to {}", name()))?;
        Ok(None)
    }

    /// Says on standard error what failed, unless the text of the trace does.
    fn tell_failures(&self, trace: &HttpTrace, failures: &[Failure]) {
        let is_in_trace = |failure: &Failure| {
            trace.requests.iter().any(|request| self::failure(request) == Some(failure))
        };
        let sentence_in_trace = |request: &Arc<HttpRequest>| sentence(trace, request);
        if self.format != Format::Text {
            tell(&trace.requests.iter().filter_map(sentence_in_trace).collect::<Vec<_>>());
        }
        for failure in failures.iter().filter(|failure| !is_in_trace(failure)) {
            tell(&[match trace.requests.last() {
                Some(request) => sentence_of(trace, request, failure),
                None => printable(&failure.message).into_owned(),
            }]);
        }
    }
}
