//! Calls to Kafka, by librdkafka: a call counts as written when the brokers have acknowledged it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{
        BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
    },
};

use super::{delivery::Delivery, ledger::Undelivered};
use crate::{bytes::parse_bytes, time::parse_duration, usage::UsageError};

/// How long the end waits for what is not acknowledged.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many messages can wait, whatever their size.
const MOST_MESSAGES: &str = "1000000";

/// What is written to Kafka.
#[derive(Debug, Args)]
pub(crate) struct KafkaArguments {
    /// Write calls to these brokers of Kafka, as JSON, rather than to standard output: HOST:PORT,
    /// separated by commas
    #[arg(long, env = "NETGLASS_KAFKA", value_name = "BROKERS", requires = "topic")]
    #[arg(conflicts_with_all = ["output_file", "snapshot", "summary"])]
    kafka: Option<String>,

    /// Topic to write them to
    #[arg(long, env = "NETGLASS_TOPIC", value_name = "TOPIC")]
    topic: Option<String>,

    /// File with further settings of librdkafka, a KEY=VALUE a line: this is the place for passwords
    #[arg(long, env = "NETGLASS_KAFKA_CONFIG", value_name = "FILE", requires = "kafka")]
    kafka_config: Option<PathBuf>,

    /// How much can wait to be acknowledged; what is more is lost, and counted
    #[arg(long, env = "NETGLASS_KAFKA_QUEUE", value_name = "SIZE", default_value = "64MiB")]
    #[arg(value_parser = parse_bytes)]
    kafka_queue: u64,

    /// For how long a call can wait to be acknowledged, whatever fails meanwhile
    #[arg(long, env = "NETGLASS_KAFKA_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = parse_duration)]
    kafka_timeout: Duration,
}

impl KafkaArguments {
    /// What delivers, where that is asked for.
    pub(super) fn delivery(&self) -> anyhow::Result<Option<Box<dyn Delivery>>> {
        let (Some(brokers), Some(topic)) = (&self.kafka, &self.topic) else { return Ok(None) };
        if topic.is_empty() || topic.len() > 249 {
            return Err(UsageError("a topic of Kafka has 1 to 249 characters".to_owned()).into());
        }
        let mut config = ClientConfig::new();
        let kibibytes = (self.kafka_queue / 1024).clamp(1, 2_147_483_647).to_string();
        let milliseconds = self.kafka_timeout.as_millis().clamp(1, 2_147_483_647).to_string();
        for (key, value) in [
            ("bootstrap.servers", brokers.as_str()),
            ("client.id", "netglass"),
            // Each is there once, and in order, however often it has to be sent.
            ("enable.idempotence", "true"),
            ("queue.buffering.max.messages", MOST_MESSAGES),
            ("queue.buffering.max.kbytes", &kibibytes),
            ("message.timeout.ms", &milliseconds),
            ("linger.ms", "50"),
            ("compression.type", "lz4"),
        ] {
            config.set(key, value);
        }
        if let Some(path) = &self.kafka_config {
            for (key, value) in read_config(path)? {
                config.set(key, value);
            }
        }
        // What it does not understand is found before anything is started.
        config.create_native_config().map_err(|error| refusal(&error))?;
        Ok(Some(Box::new(Kafka {
            config,
            topic: topic.clone(),
            producer: None,
            counts: Arc::default(),
        })))
    }
}

/// `KEY=VALUE` lines, empty ones, and comments that begin with `#`.
fn read_config(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = fs::read_to_string(path)
        .map_err(|error| match error.kind() {
            // What the file holds is in no message.
            io::ErrorKind::InvalidData => io::Error::other("it is no text"),
            _ => error,
        })
        .with_context(|| format!("reading the settings of Kafka in {}", path.display()))?;
    let mut settings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            // The line may be a password without its key.
            anyhow::bail!("{}, line {}: not KEY=VALUE", path.display(), index + 1);
        };
        settings.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(settings)
}

/// What is wrong with the settings, without the values, which may be secrets.
fn refusal(error: &KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, reason, key, value) => {
            let reason = if value.is_empty() {
                reason.clone()
            } else {
                reason.replace(value.as_str(), "(hidden)")
            };
            UsageError(format!("librdkafka does not take the setting {key}: {reason}")).into()
        }
        KafkaError::ClientCreation(_) => {
            anyhow::anyhow!("librdkafka does not take these settings together")
        }
        _ => anyhow::anyhow!("librdkafka does not take these settings"),
    }
}

/// Calls that became of something, whichever thread learned of it.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    delivered: AtomicU64,
    queue_full: AtomicU64,
    timed_out: AtomicU64,
    refused: AtomicU64,
    /// What the brokers said last, and whether it was told.
    note: Mutex<Note>,
}

#[derive(Debug, Default)]
struct Note {
    text: Option<String>,
    is_told: bool,
}

struct Context(Arc<Counts>);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut note = self.0.note.lock().unwrap_or_else(PoisonError::into_inner);
        if !note.is_told && note.text.is_none() {
            note.text = Some(format!("Kafka: {error}: {reason}"));
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, calls: usize) {
        let counts = &self.0;
        let counter = match result {
            Ok(_) => {
                // What happens after this is worth being told of again.
                counts.note.lock().unwrap_or_else(PoisonError::into_inner).is_told = false;
                &counts.delivered
            }
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::MessageTimedOut
                    | RDKafkaErrorCode::PurgeQueue
                    | RDKafkaErrorCode::PurgeInflight,
                ) => &counts.timed_out,
                _ => &counts.refused,
            },
        };
        counter.fetch_add(u64::try_from(calls).unwrap_or_default(), Ordering::Relaxed);
    }
}

struct Kafka {
    config: ClientConfig,
    topic: String,
    producer: Option<ThreadedProducer<Context>>,
    counts: Arc<Counts>,
}

impl Delivery for Kafka {
    fn start(&mut self) -> anyhow::Result<()> {
        let context = Context(Arc::clone(&self.counts));
        let producer = self.config.create_with_context(context).map_err(|error| refusal(&error))?;
        self.producer = Some(producer);
        Ok(())
    }

    fn send(&mut self, key: u32, message: &[u8], calls: u64) {
        self.counts.sent.fetch_add(calls, Ordering::Relaxed);
        let key = key.to_string();
        let record =
            BaseRecord::with_opaque_to(&self.topic, usize::try_from(calls).unwrap_or(usize::MAX))
                .key(&key)
                .payload(message);
        let is_full = match &self.producer {
            Some(producer) => match producer.send(record) {
                Ok(()) => return,
                Err((error, _)) => error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull),
            },
            None => false,
        };
        let counter = if is_full { &self.counts.queue_full } else { &self.counts.refused };
        counter.fetch_add(calls, Ordering::Relaxed);
    }

    fn finish(&mut self) {
        let Some(producer) = &self.producer else { return };
        if producer.flush(PATIENCE).is_err() {
            // Each is reported as not delivered then.
            producer.purge(PurgeConfig::default().queue().inflight());
            let _ = producer.flush(Duration::from_secs(1));
        }
    }

    fn delivered(&self) -> u64 {
        self.counts.delivered.load(Ordering::Relaxed)
    }

    fn undelivered(&self) -> Undelivered {
        let Counts { sent, delivered, queue_full, timed_out, refused, .. } = &*self.counts;
        // Sent last: what is counted meanwhile must not make it less than its parts.
        let [delivered, queue_full, timed_out, refused, sent] =
            [delivered, queue_full, timed_out, refused, sent].map(|it| it.load(Ordering::Relaxed));
        let waiting = sent.saturating_sub(delivered + queue_full + timed_out + refused);
        Undelivered { queue_full, timed_out, refused, waiting }
    }

    fn take_note(&mut self) -> Option<String> {
        let mut note = self.counts.note.lock().unwrap_or_else(PoisonError::into_inner);
        let text = note.text.take()?;
        note.is_told = true;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(config: Option<&Path>) -> KafkaArguments {
        KafkaArguments {
            kafka: Some("127.0.0.1:1".to_owned()),
            topic: Some("calls".to_owned()),
            kafka_config: config.map(Path::to_path_buf),
            kafka_queue: 1 << 20,
            kafka_timeout: Duration::from_secs(1),
        }
    }

    fn refused(settings: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kafka.properties");
        fs::write(&path, settings).unwrap();
        format!("{:#}", arguments(Some(&path)).delivery().err().unwrap())
    }

    #[test]
    fn settings_come_from_a_file_and_their_values_are_in_no_message() {
        assert!(arguments(None).delivery().unwrap().is_some());
        let text = refused("# a comment\n\nsasl.pasword = tops3cret\n");
        assert!(text.contains("sasl.pasword") && !text.contains("tops3cret"), "{text}");
        let text = refused("security.protocol=tops3cret\n");
        assert!(text.contains("security.protocol") && !text.contains("tops3cret"), "{text}");
        let text = refused("linger.ms=5\ntops3cret\n");
        assert!(text.contains("line 2") && !text.contains("tops3cret"), "{text}");
    }
}
