//! Tokens of OAuth 2.0, which every request carries, and what is given for them: a signed claim
//! (RFC 7523), the consent of a user (RFC 6749, section 6), or the word of the virtual machine.

use std::{
    fmt::Write as _,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use serde_json::json;
use tokio_rustls::rustls::SignatureScheme;

use super::{
    credentials::Credentials,
    fault::Fault,
    http::{Answer, Client},
    transport::{Origin, Transport},
};
use crate::Password;

/// What we ask leave for.
const SCOPE: &str = "https://www.googleapis.com/auth/bigquery";

/// How long a claim may be used; Google takes no longer ones.
const CLAIM_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// A token that ends sooner is replaced before it is used.
const LEAST_REMAINING: Duration = Duration::from_secs(3 * 60);

/// Gets tokens, and keeps the one that is good.
pub(super) struct Tokens {
    credentials: Credentials,
    client: Client,
    token: Option<Token>,
}

struct Token {
    /// `Bearer …`.
    header: HeaderValue,
    replaced_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct NotGranted {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Tokens {
    pub(super) fn new(credentials: Credentials, transport: Transport, timeout: Duration) -> Self {
        let origin: Origin = match &credentials {
            Credentials::ServiceAccount { token_server, .. }
            | Credentials::User { token_server, .. } => token_server.clone(),
            Credentials::Machine { server } => server.clone(),
        };
        Self { credentials, client: Client::new(transport, origin, timeout), token: None }
    }

    /// The value of `Authorization`.
    pub(super) async fn header(&mut self) -> Result<HeaderValue, Fault> {
        match &self.token {
            Some(token) if Instant::now() < token.replaced_at => Ok(token.header.clone()),
            _ => {
                let token = self.ask().await?;
                Ok(self.token.insert(token).header.clone())
            }
        }
    }

    /// The token was not accepted: the next one is another.
    pub(super) fn forget(&mut self) {
        self.token = None;
    }

    /// The project whose quota is used, where that is not the account's own.
    pub(super) fn quota_project(&self) -> Option<&str> {
        self.credentials.quota_project()
    }

    async fn ask(&mut self) -> Result<Token, Fault> {
        let asked_at = Instant::now();
        let answer = match &self.credentials {
            Credentials::ServiceAccount { token_path, .. } => {
                let claim = self.claim(SystemTime::now())?;
                let form = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", claim.reveal()),
                ];
                post(&mut self.client, token_path, &form).await?
            }
            Credentials::User { client_id, client_secret, refresh_token, token_path, .. } => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.reveal()),
                    ("refresh_token", refresh_token.reveal()),
                ];
                post(&mut self.client, token_path, &form).await?
            }
            Credentials::Machine { .. } => {
                let path = format!(
                    "/computeMetadata/v1/instance/service-accounts/default/token?scopes={}",
                    encoded(SCOPE)
                );
                let mut headers = HeaderMap::new();
                headers.insert("metadata-flavor", HeaderValue::from_static("Google"));
                let asked = self.client.request(&Method::GET, &path, &headers, &Bytes::new()).await;
                asked.map_err(no_machine)?
            }
        };
        granted(&answer, asked_at)
    }

    /// What a service account claims, signed (RFC 7515, RFC 7519).
    fn claim(&self, now: SystemTime) -> Result<Password, Fault> {
        let Credentials::ServiceAccount { email, key_id, key, audience, .. } = &self.credentials
        else {
            return Err(Fault::Setup("only a service account signs claims".to_owned()));
        };
        let issued_at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = encode(json!({ "alg": "RS256", "typ": "JWT", "kid": key_id }));
        let claims = encode(json!({
            "iss": email,
            "scope": SCOPE,
            "aud": audience,
            "iat": issued_at,
            "exp": issued_at + CLAIM_LIFETIME.as_secs(),
        }));
        let signed = format!("{header}.{claims}");
        let signature = key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .and_then(|signer| signer.sign(signed.as_bytes()).ok())
            .ok_or_else(|| {
                Fault::Setup("the private_key of the account is none of RSA".to_owned())
            })?;
        Ok(Password::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

async fn post(client: &mut Client, path: &str, form: &[(&str, &str)]) -> Result<Answer, Fault> {
    let pairs: Vec<_> =
        form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let mut headers = HeaderMap::new();
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form_type);
    let path = if path.is_empty() { "/" } else { path };
    client.request(&Method::POST, path, &headers, &Bytes::from(pairs.join("&"))).await
}

/// Where there is no metadata server, there are no credentials at all.
fn no_machine(fault: Fault) -> Fault {
    match fault {
        Fault::Lost(reason) => Fault::Lost(format!(
            "no credentials were found, and this is no virtual machine of Google ({reason}); name a \
             key with --bq-sa-key-file, or run `gcloud auth application-default login`"
        )),
        fault => fault,
    }
}

fn granted(answer: &Answer, asked_at: Instant) -> Result<Token, Fault> {
    if answer.status != StatusCode::OK {
        let reason = match serde_json::from_slice::<NotGranted>(&answer.body) {
            Ok(NotGranted { error, error_description }) => {
                format!("{} {error} {error_description}", answer.status.as_u16())
            }
            Err(_) => format!("the token server answers {}", answer.status),
        };
        return Err(match answer.status {
            StatusCode::TOO_MANY_REQUESTS => Fault::Busy(reason),
            status if status.is_server_error() => Fault::Busy(reason),
            _ => Fault::Unauthenticated(reason),
        });
    }
    // What was granted stays out of the error.
    let unknown = || Fault::Lost("the token server's answer is not understood".to_owned());
    let Granted { access_token, expires_in } =
        serde_json::from_slice(&answer.body).map_err(|_| unknown())?;
    let mut header =
        HeaderValue::try_from(format!("Bearer {access_token}")).map_err(|_| unknown())?;
    header.set_sensitive(true);
    let lifetime = Duration::from_secs(expires_in.min(CLAIM_LIFETIME.as_secs() * 24));
    Ok(Token { header, replaced_at: asked_at + lifetime.saturating_sub(LEAST_REMAINING) })
}

/// Percent-encoded (RFC 3986, section 2.1), but for what is unreserved.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
