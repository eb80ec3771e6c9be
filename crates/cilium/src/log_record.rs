//! What a proxy saw of requests and answers: HTTP, Kafka, DNS, or a protocol that names itself.

mod url;

use std::collections::BTreeMap;

pub use self::url::Url;
use crate::gob::{GobError, Value, decode_single};

/// A request or an answer (`LogRecord`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRecord {
    /// `Request`, `Response` or `Sample`.
    pub kind: String,
    /// When it was seen, as the proxy writes it.
    pub time: String,
    /// `Ingress` or `Egress`.
    pub observation_point: String,
    /// Who sent the request.
    pub source: Endpoint,
    /// Who was asked.
    pub destination: Endpoint,
    /// What became of it, like `Forwarded`.
    pub verdict: String,
    /// The IP protocol that carried it, if that is known.
    pub transport_protocol: Option<u8>,
    /// HTTP.
    pub http: Option<Http>,
    /// Kafka; until 1.18.
    pub kafka: Option<Kafka>,
    /// DNS.
    pub dns: Option<Dns>,
    /// Another protocol.
    pub generic: Option<Generic>,
}

/// An end of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Its number on its node; 0 if it has none.
    pub id: u64,
    /// Its address of IPv4, if it has one.
    pub ipv4: String,
    /// Its address of IPv6, if it has one.
    pub ipv6: String,
    /// Its port.
    pub port: u64,
    /// Its security identity.
    pub identity: u64,
    /// Its labels, each as `source:key=value`.
    pub labels: Vec<String>,
}

/// What is told of HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http {
    /// The status; 0 in a request.
    pub code: i64,
    /// The method.
    pub method: String,
    /// The URL, with what it holds of user and password.
    pub url: Option<String>,
    /// The version, like `HTTP/1.1`.
    pub protocol: String,
    /// The headers.
    pub headers: Option<Headers>,
    /// Headers that were missing and were added; since 1.7.
    pub missing_headers: Option<Headers>,
    /// Headers that were not allowed; since 1.7.
    pub rejected_headers: Option<Headers>,
}

/// Headers: values by name.
pub type Headers = BTreeMap<String, Vec<String>>;

/// What is told of Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kafka {
    /// The error; 0 if there is none.
    pub error_code: i64,
    /// The version of the request.
    pub api_version: i64,
    /// The request, like `fetch`.
    pub api_key: String,
    /// What joins request and answer.
    pub correlation_id: i64,
    /// The topic.
    pub topic: String,
}

/// What is told of DNS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// The name that was asked for.
    pub query: String,
    /// The addresses of the answer: 4 or 16 bytes, and a zone behind them.
    pub addresses: Vec<Vec<u8>>,
    /// For how many seconds the answer holds.
    pub ttl: u64,
    /// The names on the way.
    pub cnames: Vec<String>,
    /// Who saw it, like `proxy`.
    pub observation_source: String,
    /// The response code.
    pub response_code: i64,
    /// The types that were asked for.
    pub query_types: Vec<u16>,
    /// The types of the answer.
    pub answer_types: Vec<u16>,
}

/// What is told of another protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generic {
    /// Its name.
    pub protocol: String,
    /// What it tells.
    pub fields: Option<BTreeMap<String, String>>,
}

impl LogRecord {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, GobError> {
        let value = decode_single(bytes, "monitor.LogRecordNotify")?;
        let record = value.field("LogRecord").unwrap_or(&value);
        Ok(Self {
            kind: text(record, "Type"),
            time: text(record, "Timestamp"),
            observation_point: text(record, "ObservationPoint"),
            source: record.field("SourceEndpoint").map(Endpoint::read).unwrap_or_default(),
            destination: record
                .field("DestinationEndpoint")
                .map(Endpoint::read)
                .unwrap_or_default(),
            verdict: text(record, "Verdict"),
            transport_protocol: record
                .field("TransportProtocol")
                .and_then(Value::unsigned)
                .and_then(|number| u8::try_from(number).ok()),
            http: record.field("HTTP").map(Http::read),
            kafka: record.field("Kafka").map(Kafka::read),
            dns: record.field("DNS").map(Dns::read),
            generic: record.field("L7").map(Generic::read),
        })
    }

    /// What it is about.
    #[must_use]
    pub fn protocol(&self) -> &str {
        match self {
            Self { http: Some(_), .. } => "http",
            Self { kafka: Some(_), .. } => "kafka",
            Self { dns: Some(_), .. } => "dns",
            Self { generic: Some(generic), .. } => &generic.protocol,
            _ => "unknown-l7",
        }
    }
}

impl Endpoint {
    fn read(value: &Value<'_>) -> Self {
        let labels = value.field("Labels").and_then(Value::list).unwrap_or_default();
        Self {
            id: unsigned(value, "ID"),
            ipv4: text(value, "IPv4"),
            ipv6: text(value, "IPv6"),
            port: unsigned(value, "Port"),
            identity: unsigned(value, "Identity"),
            labels: labels.iter().map(label).collect(),
        }
    }
}

/// A label: a text in old releases, and three since 1.16.
fn label(value: &Value<'_>) -> String {
    if let Some(text) = value.text() {
        return text;
    }
    let [source, key, content] = ["Source", "Key", "Value"].map(|name| text(value, name));
    if content.is_empty() { format!("{source}:{key}") } else { format!("{source}:{key}={content}") }
}

impl Http {
    fn read(value: &Value<'_>) -> Self {
        Self {
            code: signed(value, "Code"),
            method: text(value, "Method"),
            url: value.field("URL").and_then(Value::text),
            protocol: text(value, "Protocol"),
            headers: headers(value, "Headers"),
            missing_headers: headers(value, "MissingHeaders"),
            rejected_headers: headers(value, "RejectedHeaders"),
        }
    }
}

fn headers(value: &Value<'_>, name: &str) -> Option<Headers> {
    let Value::Map(entries) = value.field(name)? else { return None };
    let texts = |value: &Value<'_>| texts(value.list().unwrap_or_default());
    Some(
        entries.iter().map(|(key, value)| (key.text().unwrap_or_default(), texts(value))).collect(),
    )
}

impl Kafka {
    fn read(value: &Value<'_>) -> Self {
        Self {
            error_code: signed(value, "ErrorCode"),
            api_version: signed(value, "APIVersion"),
            api_key: text(value, "APIKey"),
            correlation_id: signed(value, "CorrelationID"),
            topic: value.field("Topic").map(|topic| text(topic, "Topic")).unwrap_or_default(),
        }
    }
}

impl Dns {
    fn read(value: &Value<'_>) -> Self {
        let list = |name| value.field(name).and_then(Value::list).unwrap_or_default();
        let numbers = |name| {
            let number = |value: &Value<'_>| value.unsigned().and_then(|it| u16::try_from(it).ok());
            list(name).iter().filter_map(number).collect()
        };
        Self {
            query: text(value, "Query"),
            addresses: list("IPs").iter().filter_map(Value::bytes).map(<[u8]>::to_vec).collect(),
            ttl: unsigned(value, "TTL"),
            cnames: texts(list("CNAMEs")),
            observation_source: text(value, "ObservationSource"),
            response_code: signed(value, "RCode"),
            query_types: numbers("QTypes"),
            answer_types: numbers("AnswerTypes"),
        }
    }
}

impl Generic {
    fn read(value: &Value<'_>) -> Self {
        let fields = match value.field("Fields") {
            Some(Value::Map(entries)) => Some(
                entries
                    .iter()
                    .map(|(key, value)| {
                        (key.text().unwrap_or_default(), value.text().unwrap_or_default())
                    })
                    .collect(),
            ),
            _ => None,
        };
        Self { protocol: text(value, "Proto"), fields }
    }
}

fn text(value: &Value<'_>, name: &str) -> String {
    value.field(name).and_then(Value::text).unwrap_or_default()
}

fn texts(values: &[Value<'_>]) -> Vec<String> {
    values.iter().map(|value| value.text().unwrap_or_default()).collect()
}

fn unsigned(value: &Value<'_>, name: &str) -> u64 {
    value.field(name).and_then(Value::unsigned).unwrap_or_default()
}

fn signed(value: &Value<'_>, name: &str) -> i64 {
    value.field(name).and_then(Value::signed).unwrap_or_default()
}
