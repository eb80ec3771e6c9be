//! Tokens: for a signed claim (RFC 7523), for a refresh token (RFC 6749), for the machine itself.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};

use super::state::State;

pub(super) const ACCOUNT: &str = "netglass@test-project.iam.gserviceaccount.com";
pub(super) const KEY_ID: &str = "key-1";
pub(super) const CLIENT_ID: &str = "client.apps.googleusercontent.com";
pub(super) const CLIENT_SECRET: &str = "the secret/of=the client";
pub(super) const REFRESH_TOKEN: &str = "1//refresh+token";

/// Any of these will do.
const SCOPES: [&str; 3] = [
    "https://www.googleapis.com/auth/bigquery",
    "https://www.googleapis.com/auth/bigquery.insertdata",
    "https://www.googleapis.com/auth/cloud-platform",
];

/// Knows what the account signed.
#[derive(Debug)]
pub(super) struct Signer(UnparsedPublicKey<Vec<u8>>);

impl Signer {
    pub(super) fn read(key: &str) -> Self {
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).expect("a key in PEM");
        let key = KeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("a key of RSA");
        Self(UnparsedPublicKey::new(
            &RSA_PKCS1_2048_8192_SHA256,
            key.public_key().as_ref().to_vec(),
        ))
    }
}

/// The answer to a form that was sent to the token endpoint.
pub(super) fn grant(state: &mut State, form: &[u8]) -> (u16, Value) {
    let fields = match fields(form) {
        Ok(fields) => fields,
        Err(reason) => return refused("invalid_request", &reason),
    };
    let get = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    match get("grant_type") {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            match claim(state, get("assertion"), SystemTime::now()) {
                Ok(()) => granted(state),
                Err(reason) => refused("invalid_grant", &reason),
            }
        }
        "refresh_token" => {
            let given = [get("client_id"), get("client_secret"), get("refresh_token")];
            if given == [CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN] {
                granted(state)
            } else {
                refused("invalid_grant", "Bad Request")
            }
        }
        other => refused("unsupported_grant_type", &format!("Invalid grant_type: {other}")),
    }
}

fn refused(error: &str, description: &str) -> (u16, Value) {
    (400, json!({ "error": error, "error_description": description }))
}

/// A new token.
pub(super) fn granted(state: &mut State) -> (u16, Value) {
    let token = format!("ya29.token-{}", state.next());
    let lifetime = state.token_lifetime;
    state.tokens.insert(token.clone(), Instant::now() + Duration::from_secs(lifetime));
    let answer = json!({ "access_token": token, "expires_in": lifetime, "token_type": "Bearer" });
    (200, answer)
}

/// What is wrong with an assertion, if anything is.
fn claim(state: &State, assertion: &str, now: SystemTime) -> Result<(), String> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or("Invalid JWT")?;
    let (header, claims) = signed.split_once('.').ok_or("Invalid JWT")?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "Invalid JWT".to_owned());
    let json = |part: &str| {
        serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| "Invalid JWT".to_owned())
    };
    let (header, claims) = (json(header)?, json(claims)?);
    if header["alg"] != "RS256" || header["typ"] != "JWT" || header["kid"] != KEY_ID {
        return Err(format!("Invalid JWT header: {header}"));
    }
    let Signer(key) = &state.signer;
    key.verify(signed.as_bytes(), &decode(signature)?)
        .map_err(|_| "Invalid JWT Signature.".to_owned())?;
    if claims["iss"] != ACCOUNT {
        return Err("Invalid grant: account not found".to_owned());
    }
    if claims["aud"] != format!("{}/token", state.endpoint) {
        return Err(format!("Invalid JWT: audience {}", claims["aud"]));
    }
    let scopes = claims["scope"].as_str().unwrap_or_default();
    if !scopes.split(' ').any(|scope| SCOPES.contains(&scope)) {
        return Err(format!("Invalid OAuth scope: {scopes}"));
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (Some(issued), Some(ends)) = (claims["iat"].as_u64(), claims["exp"].as_u64()) else {
        return Err("Invalid JWT: iat and exp are required".to_owned());
    };
    if issued > now + 60 || ends <= now || ends > issued + 3600 {
        return Err("Invalid JWT: Token must be a short-lived token (60 minutes)".to_owned());
    }
    Ok(())
}

/// The fields of `application/x-www-form-urlencoded`.
fn fields(form: &[u8]) -> Result<HashMap<String, String>, String> {
    let form = std::str::from_utf8(form).map_err(|error| error.to_string())?;
    form.split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or("a field has no value")?;
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// Without percent-encoding (RFC 3986, section 2.1).
pub(super) fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2).ok_or("a % without digits")?;
                let digits = std::str::from_utf8(digits).map_err(|error| error.to_string())?;
                bytes.push(u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?);
                rest = after;
            }
            b'+' => bytes.push(b' '),
            byte if byte.is_ascii_alphanumeric() || b"-._~*".contains(byte) => bytes.push(*byte),
            byte => return Err(format!("the byte {byte} is not encoded")),
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
