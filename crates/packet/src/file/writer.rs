//! Writing packets in pcapng format.

mod blocks;
mod output;

use std::{io, io::Write as _, path::Path};

use netglass_model::Timestamp;

use self::{
    blocks::{ByBlock, append_interface, append_packet, append_section, append_statistics},
    output::Output,
};
use super::{FileError, Interface, InterfaceStatistics};
use crate::Packet;

/// How much is written at once.
const BUFFER: usize = 256 << 10;

/// Where the packets of a file come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The hardware that captured (`shb_hardware`).
    pub hardware: String,
    /// The operating system that captured (`shb_os`).
    pub system: String,
    /// The program that wrote the file, with its version (`shb_userappl`).
    pub application: String,
}

/// What is known of a packet beside itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes<'a> {
    /// What readers show beside it (`opt_comment`); nothing if empty.
    pub comment: &'a str,
    /// The process that sent it, by its id (`epb_processid_threadid`, whose thread is not known).
    pub sender: Option<u32>,
}

/// Writes a file of packets in pcapng format.
///
/// Packets are collected, and written together. What cannot be written is lost and counted, and the
/// file ends with the last block that is whole; the next packets are tried again.
pub struct Writer {
    name: String,
    output: Output,
    /// Whole blocks, which are not written yet.
    buffer: Vec<u8>,
    /// How long the file is.
    written: u64,
    interfaces: Vec<Interface>,
    /// The time of the latest packet.
    latest: Timestamp,
    lost: u64,
}

impl Writer {
    /// Makes the file at `path`, which only its owner may read, or empties the one that is there; or
    /// writes to standard output, if that is `-`. Its beginning is written at once.
    pub fn create(path: &Path, section: &Section) -> Result<Self, FileError> {
        if path.as_os_str() == "-" {
            return Self::new("standard output", Output::stream(io::stdout()), section);
        }
        let name = path.display().to_string();
        match Output::file(path) {
            Ok(output) => Self::new(&name, output, section),
            Err(reason) => Err(FileError::Create { file: name, reason }),
        }
    }

    /// Writes to anything; `name` is what errors call it.
    pub fn to(
        name: &str,
        write: impl io::Write + Send + 'static,
        section: &Section,
    ) -> Result<Self, FileError> {
        Self::new(name, Output::stream(write), section)
    }

    fn new(name: &str, output: Output, section: &Section) -> Result<Self, FileError> {
        let mut writer = Self {
            name: name.to_owned(),
            output,
            buffer: Vec::with_capacity(BUFFER),
            written: 0,
            interfaces: Vec::new(),
            latest: Timestamp::default(),
            lost: 0,
        };
        append_section(&mut writer.buffer, section);
        writer.flush()?;
        Ok(writer)
    }

    /// Describes another interface, and says which number its packets have.
    pub fn add_interface(&mut self, interface: &Interface) -> u32 {
        append_interface(&mut self.buffer, interface);
        self.interfaces.push(interface.clone());
        u32::try_from(self.interfaces.len() - 1).unwrap_or(u32::MAX)
    }

    /// Tells what an interface has seen so far. It is written at the end.
    pub fn set_statistics(&mut self, interface: u32, statistics: InterfaceStatistics) {
        if let Some(interface) = self.interfaces.get_mut(interface as usize) {
            interface.statistics = statistics;
        }
    }

    /// Writes a packet of an interface that was described. A moment before 1970 becomes 1970: the
    /// format has none before.
    ///
    /// After an error it may be lost; [`Self::lost`] counts it then.
    pub fn write(&mut self, packet: &Packet<'_>, notes: Notes<'_>) -> Result<(), FileError> {
        append_packet(&mut self.buffer, packet, notes);
        self.latest = self.latest.max(packet.at);
        if self.buffer.len() < BUFFER { Ok(()) } else { self.flush() }
    }

    /// How long the file will be when everything is written.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// How many packets could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes what was collected.
    pub fn flush(&mut self) -> Result<(), FileError> {
        let (mut written, mut failure) = (0, None);
        while let Some(rest) = self.buffer.get(written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => failure = Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => failure = Some(error),
            }
            if failure.is_some() {
                break;
            }
        }
        match failure.or_else(|| self.output.flush().err()) {
            None => {
                self.written += written as u64;
                self.buffer.clear();
                Ok(())
            }
            Some(reason) => Err(self.fail(written, reason)),
        }
    }

    /// Leaves the file with the last block that was written whole. Of the others the packets are
    /// lost; what describes interfaces is kept for the next time, since later packets need it.
    fn fail(&mut self, written: usize, reason: io::Error) -> FileError {
        let mut whole = 0;
        let mut lost = 0;
        let mut kept = Vec::new();
        for block in ByBlock::new(&self.buffer) {
            if whole + block.bytes.len() <= written && kept.is_empty() && lost == 0 {
                whole += block.bytes.len();
            } else if block.is_packet() {
                lost += 1;
            } else {
                kept.extend_from_slice(block.bytes);
            }
        }
        self.written += whole as u64;
        if written > whole {
            self.output.cut(self.written);
        }
        self.buffer = kept;
        self.lost += lost;
        FileError::Write { file: self.name.clone(), end: self.written, lost, reason }
    }

    /// Writes what was collected and what the interfaces have seen. Returns how many packets could
    /// not be written since the beginning, if there is nothing wrong now.
    pub fn finish(mut self) -> Result<u64, FileError> {
        self.end()?;
        Ok(self.lost)
    }

    /// As [`Self::finish`], for one whose losses are still to be asked for.
    pub(super) fn end(&mut self) -> Result<(), FileError> {
        for (number, interface) in (0..).zip(&self.interfaces) {
            append_statistics(&mut self.buffer, number, self.latest, interface.statistics);
        }
        self.flush()
    }
}

/// What was collected is written even if nobody finishes the file.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}
