//! The secrets of connections, in the format that Wireshark reads (`SSLKEYLOGFILE`).

use std::{
    fmt::{self, Write},
    sync::{Mutex, PoisonError},
};

use tokio_rustls::rustls::KeyLog;

/// How many bytes of secrets are kept; those after them are counted.
const MAXIMUM: usize = 4 << 20;

/// Never shown by `Debug`.
#[derive(Default)]
pub(crate) struct Secrets {
    lines: Mutex<(String, u64)>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// The lines, and how many more there were.
    pub(crate) fn lines(&self) -> (String, u64) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.0.len() + line.len() > MAXIMUM {
            lines.1 += 1;
        } else {
            lines.0.push_str(&line);
        }
    }
}
