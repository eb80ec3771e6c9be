//! The secrets of connections, in the format that Wireshark reads (`SSLKEYLOGFILE`).

use std::{
    fmt::{self, Write as _},
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_rustls::rustls::KeyLog;

use crate::{
    Error,
    recorder::Recorder,
    settings::{TlsSettings, invalid},
};

/// How many bytes of secrets are kept; those after them are counted.
const MAXIMUM: usize = 4 << 20;

/// Never shown by `Debug`.
pub(crate) struct Secrets {
    kept: Option<Mutex<Kept>>,
    file: Option<(PathBuf, File)>,
    recorder: Arc<Recorder>,
}

#[derive(Default)]
struct Kept {
    lines: String,
    dropped: u64,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Nothing where nobody wants them.
    pub(super) fn new(
        settings: &TlsSettings,
        recorder: &Arc<Recorder>,
    ) -> Result<Option<Self>, Error> {
        let file = match &settings.secrets_file {
            None => None,
            Some(path) => match OpenOptions::new().append(true).create(true).mode(0o600).open(path)
            {
                Ok(file) => Some((path.clone(), file)),
                Err(error) => {
                    let reason = format!("is {}, which cannot be written: {error}", path.display());
                    return invalid("tls.secrets_file", reason);
                }
            },
        };
        let kept = settings.keep_secrets.then(Mutex::default);
        let is_wanted = kept.is_some() || file.is_some();
        Ok(is_wanted.then(|| Self { kept, file, recorder: Arc::clone(recorder) }))
    }

    /// The lines that are kept, and how many more there were.
    pub(super) fn lines(&self) -> Option<(String, u64)> {
        let kept = self.kept.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some((kept.lines.clone(), kept.dropped))
    }
}

impl KeyLog for Secrets {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        for (index, bytes) in [client_random, secret].into_iter().enumerate() {
            if index > 0 {
                line.push(' ');
            }
            for byte in bytes {
                // Writing to a string never fails.
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        if let Some((path, file)) = &self.file {
            // In one go, so that lines of several programs do not mix.
            if let Err(error) = { file }.write_all(line.as_bytes()) {
                let what = format!("secrets of TLS in {}", path.display());
                self.recorder.missing(&what, &error.to_string());
            }
        }
        if let Some(kept) = &self.kept {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.lines.len() + line.len() > MAXIMUM {
                kept.dropped += 1;
            } else {
                kept.lines.push_str(&line);
            }
        }
    }
}
