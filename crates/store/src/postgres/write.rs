//! Adding what a probe saw: one transaction, in as few round trips as there are answers to wait for.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, future::join_all};
use netglass_model::{FlowCounters, Flush, Observations, Timestamp};
use tokio_postgres::{CopyInSink, types::ToSql};

use super::{
    codec::{Moment, escaped},
    connect::Session,
    dimensions::Dimensions,
    fault::Fault,
    identity, partition, probe,
    recent::{self, Kind, Recent, Span},
};
use crate::columns::count_to_column;

/// Adds what `flush` holds in time buckets of length `bucket`: all of it, or none; nothing where it
/// has arrived before.
pub(super) async fn write(
    session: &mut Session,
    bucket: Duration,
    flush: &Flush,
) -> Result<(), Fault> {
    let observations = &flush.observations;
    let whole = whole_span(observations, flush.at, bucket);
    let mut dimensions = Dimensions::new(&session.memory, &observations.host, whole.bucket);
    let recent = gather(observations, bucket, whole, &mut dimensions);
    let (inserts, written) = dimensions.finish();

    // For whoever puts it away.
    partition::make(session, recent.buckets()).await?;
    let arrived = session.statement(probe::ARRIVED).await?;
    let duplicate = session.statement(probe::DUPLICATE).await?;
    let copy = session.statement(recent::COPY).await?;
    let mut statements = Vec::with_capacity(inserts.len());
    for insert in &inserts {
        statements.push((session.statement(insert.text).await?, parameters(&insert.parameters)));
    }

    let host_id = identity::host(&observations.host.id);
    let row = ProbeRow::new(flush)?;
    let client = &session.client;
    // Sent together, in this order; the answers are awaited together, too.
    let begun = session.within(Box::pin(async {
        let values = row.values(&host_id);
        let own: [&(dyn ToSql + Sync); 1] = [&flush.probe.id.0];
        let (begin, arrived, duplicate, copy) = tokio::join!(
            biased;
            client.batch_execute("BEGIN"),
            client.execute(&arrived, &values),
            client.query_one(&duplicate, &own),
            client.copy_in::<_, Bytes>(&copy),
        );
        begin?;
        Ok((arrived?, duplicate?, copy?))
    }));
    let done = async {
        let (arrived, duplicate, copy) = begun.await?;
        if arrived == 0 {
            return Ok(false);
        }
        if duplicate.try_get(0)? {
            return Err(Fault::DuplicateHost);
        }
        session.within(fill(copy, recent.encode())).await?;
        session.within(finish(client, &statements)).await?;
        Ok(true)
    };
    match done.await {
        Ok(true) => {
            session.memory.remember(written);
            Ok(())
        }
        Ok(false) => session.run("ROLLBACK").await,
        Err(fault) => {
            // Answers to what was sent behind it may still be under way.
            session.is_spoiled = true;
            Err(fault)
        }
    }
}

fn parameters(parameters: &[Box<dyn ToSql + Sync + Send>]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)).collect()
}

/// Sends all that is to be copied, and waits for the server to have it.
pub(super) async fn fill(
    copy: CopyInSink<Bytes>,
    rows: Bytes,
) -> Result<(), tokio_postgres::Error> {
    let mut copy = Box::pin(copy);
    copy.send(rows).await?;
    copy.as_mut().finish().await?;
    Ok(())
}

type Statements<'s> = [(tokio_postgres::Statement, Vec<&'s (dyn ToSql + Sync)>)];

/// Runs the statements and commits, all sent together. Where one of them fails the server rolls
/// back instead.
async fn finish(
    client: &tokio_postgres::Client,
    statements: &Statements<'_>,
) -> Result<(), tokio_postgres::Error> {
    type Step<'a> = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + 'a>>;
    let mut steps: Vec<Step<'_>> = Vec::with_capacity(statements.len() + 1);
    for (statement, parameters) in statements {
        steps.push(Box::pin(async { client.execute(statement, parameters).await.map(drop) }));
    }
    steps.push(Box::pin(client.batch_execute("COMMIT")));
    join_all(steps).await.into_iter().collect()
}

/// What the table of probes keeps of a flush.
struct ProbeRow<'f> {
    flush: &'f Flush,
    boot_id: String,
    version: String,
    started: Moment,
    at: Moment,
    numbers: [i64; 4],
    ledger: String,
}

impl<'f> ProbeRow<'f> {
    fn new(flush: &'f Flush) -> Result<Self, Fault> {
        let Flush { probe, spool, .. } = flush;
        let ledger = serde_json::to_string(&flush.ledger)
            .map_err(|error| Fault::Malformed(format!("a ledger cannot be written: {error}")))?;
        let numbers = [flush.sequence, spool.flushes, spool.bytes, spool.limit];
        Ok(Self {
            flush,
            boot_id: escaped(&probe.boot_id).into_owned(),
            version: escaped(&probe.version).into_owned(),
            started: Moment::floor(probe.started),
            at: Moment::floor(flush.at),
            numbers: numbers.map(count_to_column),
            ledger,
        })
    }

    fn values<'r>(&'r self, host_id: &'r uuid::Uuid) -> [&'r (dyn ToSql + Sync); 12] {
        let [sequence, flushes, bytes, limit] = &self.numbers;
        [
            &self.flush.probe.id.0,
            host_id,
            &self.boot_id,
            &self.version,
            &self.started,
            &self.at,
            sequence,
            &self.flush.last,
            flushes,
            bytes,
            limit,
            &self.ledger,
        ]
    }
}

/// The time that all of the observations cover; `at` where they say nothing about it.
fn whole_span(observations: &Observations, at: Timestamp, bucket: Duration) -> Span {
    let Observations { flows, listeners, translations, .. } = observations;
    let flows = flows.iter().map(|one| (one.first_seen, one.last_seen));
    let listeners = listeners.iter().map(|one| (one.first_seen, one.last_seen));
    let translations = translations.iter().map(|one| (one.first_seen, one.last_seen));
    let (first, last) = flows
        .chain(listeners)
        .chain(translations)
        .reduce(|(first, last), next| (first.min(next.0), last.max(next.1)))
        .unwrap_or((at, at));
    Span::new(first, last, bucket)
}

fn gather<'o>(
    observations: &'o Observations,
    bucket: Duration,
    whole: Span,
    dimensions: &mut Dimensions<'_, 'o>,
) -> Recent {
    let mut recent = Recent::default();
    for namespace in &observations.namespaces {
        dimensions.name(namespace.inode, namespace.name.as_deref(), whole.bucket);
    }
    for one in &observations.host.addresses {
        let id = dimensions.address(one.namespace, one.address, whole.bucket);
        recent.add(Kind::Address, id, whole, FlowCounters::default());
    }
    for flow in &observations.flows {
        let span = Span::new(flow.first_seen, flow.last_seen, bucket);
        let id = dimensions.flow(flow, span.bucket);
        recent.add(Kind::Flow, id, span, flow.counters);
    }
    for listener in &observations.listeners {
        let span = Span::new(listener.first_seen, listener.last_seen, bucket);
        let id = dimensions.listener(listener, span.bucket);
        recent.add(Kind::Listener, id, span, FlowCounters::default());
    }
    for translation in &observations.translations {
        let span = Span::new(translation.first_seen, translation.last_seen, bucket);
        let id = dimensions.translation(translation, span.bucket);
        let counters = FlowCounters {
            connections: translation.connections,
            opened: translation.opened,
            ..FlowCounters::default()
        };
        recent.add(Kind::Translation, id, span, counters);
    }
    recent
}
