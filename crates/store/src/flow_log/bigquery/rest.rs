//! The REST API of BigQuery (version 2): tables, and `tabledata.insertAll`.

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH},
};
use serde::{Deserialize, Serialize};

use super::{
    fault::Fault,
    http::{Answer, Client},
    token::Tokens,
};

/// Where the project stands whose quota is used.
pub(super) const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// The REST API.
pub(super) struct Rest {
    client: Client,
    /// What stands before `/bigquery/v2`: mostly nothing.
    prefix: String,
}

/// A table, as far as it matters here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Table {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    /// `TABLE`, `VIEW` and so on.
    #[serde(rename = "type", skip_serializing)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) schema: Schema,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Schema {
    #[serde(default)]
    pub(super) fields: Vec<Field>,
}

/// A column. What we do not know of it is kept, for a change of the schema names all of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// `NULLABLE` where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<String>,
    #[serde(flatten)]
    pub(super) rest: serde_json::Map<String, serde_json::Value>,
}

/// What became of rows.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inserted {
    /// Those that were not taken.
    #[serde(default)]
    pub(super) insert_errors: Vec<InsertErrors>,
}

#[derive(Debug, Deserialize)]
pub(super) struct InsertErrors {
    pub(super) index: usize,
    #[serde(default)]
    pub(super) errors: Vec<ErrorProto>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct ErrorProto {
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) location: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<ErrorProto>,
}

impl Rest {
    pub(super) fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.trim_end_matches('/').to_owned() }
    }

    /// Asks for `path` below the version; what answers well is read as JSON. A token that is not
    /// accepted is replaced, once.
    pub(super) async fn ask<T: for<'de> Deserialize<'de>>(
        &mut self,
        tokens: &mut Tokens,
        method: &Method,
        path: &str,
        etag: Option<&str>,
        body: &Bytes,
    ) -> Result<T, Fault> {
        let path = format!("{}/bigquery/v2/{path}", self.prefix);
        let mut asked = self.ask_once(tokens, method, &path, etag, body).await;
        if let Err(Fault::Unauthenticated(_)) = asked {
            tokens.forget();
            asked = self.ask_once(tokens, method, &path, etag, body).await;
        }
        let answer = asked?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            Fault::Invalid(format!("the answer is not as documented ({error}); is it BigQuery's?"))
        })
    }

    async fn ask_once(
        &mut self,
        tokens: &mut Tokens,
        method: &Method,
        path: &str,
        etag: Option<&str>,
        body: &Bytes,
    ) -> Result<Answer, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, tokens.header().await?);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let value = |text: &str| {
            HeaderValue::try_from(text).map_err(|error| Fault::Invalid(error.to_string()))
        };
        if let Some(etag) = etag {
            headers.insert(IF_MATCH, value(etag)?);
        }
        if let Some(project) = tokens.quota_project() {
            headers.insert(QUOTA_PROJECT, value(project)?);
        }
        let answer = self.client.request(method, path, &headers, body).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(failure(&answer)) }
    }
}

/// What an answer other than a good one means.
fn failure(answer: &Answer) -> Fault {
    let (reason, message) = match serde_json::from_slice::<ErrorAnswer>(&answer.body) {
        Ok(ErrorAnswer { error }) => {
            let first = error.errors.into_iter().next().unwrap_or_default();
            (first.reason, error.message)
        }
        Err(_) => (String::new(), "there is no more to the answer".to_owned()),
    };
    let told = format!("{} {message}", answer.status.as_u16());
    match answer.status {
        StatusCode::UNAUTHORIZED => Fault::Unauthenticated(told),
        StatusCode::FORBIDDEN
            if matches!(&*reason, "rateLimitExceeded" | "quotaExceeded" | "backendError") =>
        {
            Fault::Busy(told)
        }
        StatusCode::FORBIDDEN => Fault::Denied(told),
        StatusCode::NOT_FOUND => Fault::Missing(told),
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Fault::Conflict(told),
        StatusCode::PAYLOAD_TOO_LARGE => Fault::TooLarge(told),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Fault::Busy(told),
        status if status.is_server_error() => Fault::Busy(told),
        _ => Fault::Invalid(told),
    }
}
