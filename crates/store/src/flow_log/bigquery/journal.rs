//! A file that remembers how far batches have come, from one process to the next.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{fault::Fault, storage_write::Progress};

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    file: PathBuf,
    /// What it is about: of another table it says nothing.
    table: String,
}

#[derive(Serialize)]
struct Written<'a> {
    table: &'a str,
    batches: Vec<&'a Progress>,
}

#[derive(Deserialize)]
struct Read {
    table: String,
    batches: Vec<Progress>,
}

impl Journal {
    pub(super) fn new(file: PathBuf, table: String) -> Self {
        Self { file, table }
    }

    /// What an earlier process has left.
    pub(super) fn read(&self) -> Result<Vec<Progress>, Fault> {
        let text = match fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("read", &error.to_string())),
        };
        let read: Read = serde_json::from_slice(&text).map_err(|error| {
            self.failed(
                "read",
                &format!("{error}; without it rows may be stored twice; move it away"),
            )
        })?;
        Ok(if read.table == self.table { read.batches } else { Vec::new() })
    }

    /// Puts `batches` in the place of what is there, at once or not at all.
    pub(super) fn write<'a>(
        &self,
        batches: impl Iterator<Item = &'a Progress>,
    ) -> Result<(), Fault> {
        let written = Written { table: &self.table, batches: batches.collect() };
        let replace = || -> io::Result<()> {
            let text = serde_json::to_vec(&written)?;
            let mut name = self.file.clone().into_os_string();
            name.push(".new");
            let mut file = File::create(&name)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&name, &self.file)
        };
        replace().map_err(|error| self.failed("written", &error.to_string()))
    }

    fn failed(&self, what: &str, reason: &str) -> Fault {
        Fault::Setup(format!("the journal {} cannot be {what}: {reason}", self.file.display()))
    }
}
