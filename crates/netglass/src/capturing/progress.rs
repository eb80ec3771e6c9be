//! How far a file is read, for whoever watches.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::Path,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how far a file is read, if standard error is a terminal.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Of this file.
    pub(super) fn of(path: &Path) -> Self {
        if !io::stderr().is_terminal() || path.as_os_str() == "-" {
            return Self(None);
        }
        let length = fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|it| it.len());
        let template = match length {
            Some(_) => "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {bytes} {bytes_per_sec}",
        };
        let bar = ProgressBar::new(length.unwrap_or_default());
        // The one that it has otherwise is as good.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// So many bytes are read.
    pub(super) fn at(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
        }
    }

    /// Nothing more is shown.
    pub(super) fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
