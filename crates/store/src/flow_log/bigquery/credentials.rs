//! As whom we come to BigQuery: the files in which Google's tools keep credentials.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use tokio_rustls::rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
    sign::SigningKey,
};

use super::{config::BigQueryCredentials, fault::Fault, transport::Origin};
use crate::Password;

/// Where a virtual machine of Google asks about itself.
const METADATA_SERVER: &str = "http://metadata.google.internal";

/// As whom we come, and how that is proved.
#[derive(Debug, Clone)]
pub(super) enum Credentials {
    /// A key signs what we claim.
    ServiceAccount {
        email: String,
        key_id: String,
        key: Arc<dyn SigningKey>,
        token_server: Origin,
        token_path: String,
        /// As it stands in the key: whom the claim is for.
        audience: String,
    },
    /// A user allowed it once.
    User {
        client_id: String,
        client_secret: Password,
        refresh_token: Password,
        token_server: Origin,
        token_path: String,
        /// The project whose quota is used.
        quota_project: Option<String>,
    },
    /// The virtual machine vouches for us.
    Machine { server: Origin },
}

/// What application default credentials depend on.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// `GOOGLE_APPLICATION_CREDENTIALS`.
    pub(super) named: Option<PathBuf>,
    /// Where gcloud keeps its configuration.
    pub(super) gcloud: Option<PathBuf>,
    /// `GCE_METADATA_HOST`.
    pub(super) metadata_host: Option<String>,
}

impl Surroundings {
    /// As the environment of this process has them.
    pub(super) fn of_process() -> Self {
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            named: path("GOOGLE_APPLICATION_CREDENTIALS"),
            gcloud: path("CLOUDSDK_CONFIG").or_else(|| Some(path("HOME")?.join(".config/gcloud"))),
            metadata_host: env::var("GCE_METADATA_HOST").ok().filter(|host| !host.is_empty()),
        }
    }
}

impl Credentials {
    /// Those that `wanted` says.
    pub(super) fn find(
        wanted: &BigQueryCredentials,
        surroundings: &Surroundings,
    ) -> Result<Self, Fault> {
        match wanted {
            BigQueryCredentials::KeyFile(file) => Self::read(file),
            BigQueryCredentials::KeyData(data) => Self::parse(data.reveal(), "--bq-sa-key-data"),
            BigQueryCredentials::ApplicationDefault => Self::application_default(surroundings),
        }
    }

    fn application_default(surroundings: &Surroundings) -> Result<Self, Fault> {
        if let Some(file) = &surroundings.named {
            return Self::read(file);
        }
        let of_gcloud = surroundings.gcloud.as_ref();
        let of_gcloud = of_gcloud.map(|folder| folder.join("application_default_credentials.json"));
        if let Some(file) = of_gcloud.filter(|file| file.exists()) {
            return Self::read(&file);
        }
        let named = surroundings.metadata_host.as_ref().map(|host| format!("http://{host}"));
        let (server, _) =
            Origin::parse_any(named.as_deref().unwrap_or(METADATA_SERVER)).map_err(|reason| {
                Fault::Setup(format!("GCE_METADATA_HOST cannot be used: {reason}"))
            })?;
        Ok(Self::Machine { server })
    }

    fn read(file: &Path) -> Result<Self, Fault> {
        let text = fs::read_to_string(file).map_err(|error| {
            Fault::Setup(format!(
                "the credentials in {} cannot be read: {error}; check --bq-sa-key-file and \
                 GOOGLE_APPLICATION_CREDENTIALS",
                file.display()
            ))
        })?;
        Self::parse(&text, &file.display().to_string())
    }

    /// Nothing of `text` goes into an error: it is a secret as a whole.
    fn parse(text: &str, source: &str) -> Result<Self, Fault> {
        let invalid = |reason: &str| {
            Fault::Setup(format!("the credentials in {source} cannot be used: {reason}"))
        };
        let file: File = serde_json::from_str(text).map_err(|error| {
            invalid(&format!(
                "line {}, column {} is not as in a JSON key of Google",
                error.line(),
                error.column()
            ))
        })?;
        let token_url =
            file.token_uri.unwrap_or_else(|| "https://oauth2.googleapis.com/token".into());
        let (token_server, token_path) = Origin::parse(&token_url)?;
        let missing = |field| invalid(&format!("it holds no {field}"));
        match file.credentials_type.as_deref() {
            Some("service_account") => {
                let pem = file.private_key.ok_or_else(|| missing("private_key"))?;
                let key = PrivateKeyDer::from_pem_slice(pem.reveal().as_bytes())
                    .map_err(|_| invalid("its private_key is no key in PEM"))?;
                let key = any_supported_type(&key)
                    .map_err(|_| invalid("its private_key is no key that we can sign with"))?;
                Ok(Self::ServiceAccount {
                    email: file.client_email.ok_or_else(|| missing("client_email"))?,
                    key_id: file.private_key_id.unwrap_or_default(),
                    key,
                    token_server,
                    token_path,
                    audience: token_url,
                })
            }
            Some("authorized_user") => Ok(Self::User {
                client_id: file.client_id.ok_or_else(|| missing("client_id"))?,
                client_secret: file.client_secret.ok_or_else(|| missing("client_secret"))?,
                refresh_token: file.refresh_token.ok_or_else(|| missing("refresh_token"))?,
                token_server,
                token_path,
                quota_project: file.quota_project_id,
            }),
            _ => Err(invalid(
                "its type is neither service_account nor authorized_user; make a key of a service \
                 account, and name it with --bq-sa-key-file",
            )),
        }
    }

    /// The project whose quota is used, where that is not the account's own.
    pub(super) fn quota_project(&self) -> Option<&str> {
        match self {
            Self::User { quota_project, .. } => quota_project.as_deref(),
            Self::ServiceAccount { .. } | Self::Machine { .. } => None,
        }
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    credentials_type: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    #[serde(default, deserialize_with = "password")]
    private_key: Option<Password>,
    token_uri: Option<String>,
    client_id: Option<String>,
    #[serde(default, deserialize_with = "password")]
    client_secret: Option<Password>,
    #[serde(default, deserialize_with = "password")]
    refresh_token: Option<Password>,
    quota_project_id: Option<String>,
}

fn password<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Password>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Password::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        match Credentials::parse(text, "key.json") {
            Err(Fault::Setup(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_without_the_key() {
        for (text, expected) in [
            ("{\"private_key\": \"SECRET\"", "line 1, column 24"),
            ("SECRET", "line 1, column 1"),
            ("{\"private_key\": [\"SECRET\"]}", "is not as in a JSON key"),
            ("{\"type\": \"external_account\"}", "neither service_account nor authorized_user"),
            ("{\"type\": \"service_account\"}", "holds no private_key"),
            ("{\"type\": \"service_account\", \"private_key\": \"SECRET\"}", "no key in PEM"),
            ("{\"type\": \"authorized_user\", \"client_id\": \"x\"}", "holds no client_secret"),
            ("{\"type\": \"service_account\", \"token_uri\": \"http://evil/\"}", "write https://"),
        ] {
            let reason = reason(text);
            assert!(reason.contains(expected), "{text}: {reason}");
            assert!(!reason.contains("SECRET"), "{reason}");
        }
    }

    #[test]
    fn the_default_is_looked_for_where_googles_tools_do() {
        let folder = tempfile::tempdir().unwrap();
        let user =
            "{\"type\": \"authorized_user\", \"client_id\": \"c\", \"client_secret\": \"SECRET\",
            \"refresh_token\": \"SECRET\", \"quota_project_id\": \"q\"}";
        fs::write(folder.path().join("application_default_credentials.json"), user).unwrap();
        let gcloud = Some(folder.path().to_owned());
        let find = |surroundings: Surroundings| {
            Credentials::find(&BigQueryCredentials::ApplicationDefault, &surroundings)
        };
        let found =
            find(Surroundings { gcloud: gcloud.clone(), ..Surroundings::default() }).unwrap();
        assert_eq!(found.quota_project(), Some("q"));
        assert!(!format!("{found:?}").contains("SECRET"));

        // What is named has to be there: another account than the one that was meant is no help.
        let named = Some(folder.path().join("missing"));
        assert!(find(Surroundings { named, gcloud, ..Surroundings::default() }).is_err());

        let found = find(Surroundings::default()).unwrap();
        assert!(matches!(found, Credentials::Machine { .. }), "{found:?}");
    }
}
