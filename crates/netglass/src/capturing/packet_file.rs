//! Writing packets too, each with the processes at its ends.

use std::{
    fmt::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use netglass_model::{Owner, Timestamp, printable};
#[cfg(feature = "capture")]
use netglass_packet::file::InterfaceStatistics;
use netglass_packet::{
    Packet,
    file::{
        FileError, Interface, Notes, Rotation, RotationSettings, Section, Written, parse_file_size,
    },
};

use super::report::Reporter;
use crate::{host::this_host_id, time::parse_duration};

/// Where packets are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Packets to files")]
pub(crate) struct PacketFileArguments {
    /// Write the packets too, in pcapng format, with the processes of each as its comment; - is standard
    /// output
    #[arg(short = 'w', long = "write", env = "NETGLASS_WRITE", value_name = "FILE")]
    path: Option<PathBuf>,

    /// Begin the next file when one is larger than this: in millions of bytes, or with k, m or g in KiB,
    /// MiB or GiB
    #[arg(short = 'C', long = "file-size", env = "NETGLASS_FILE_SIZE", value_name = "SIZE")]
    #[arg(value_parser = parse_file_size, requires = "path")]
    size: Option<u64>,

    /// Begin the next file after so long, its name made by strftime: a duration, or a number of seconds
    #[arg(short = 'G', long = "file-interval", env = "NETGLASS_FILE_INTERVAL")]
    #[arg(value_name = "DURATION", value_parser = parse_seconds, requires = "path")]
    interval: Option<Duration>,

    /// How many files there are: with -C they are written over in turn, with -G alone nothing is written
    /// after the last
    #[arg(short = 'W', long = "file-count", env = "NETGLASS_FILE_COUNT", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), requires = "path")]
    count: Option<u32>,
}

/// As tcpdump does, or as everything else here.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.trim().parse() {
        Ok(0) => Err("a duration must be longer than nothing".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse_duration(text),
    }
}

impl PacketFileArguments {
    /// Whether packets go to standard output.
    pub(super) fn take_standard_output(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    /// Whether packets are to be written.
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    pub(super) fn is_given(&self) -> bool {
        self.path.is_some()
    }

    /// Gets ready to write, if that is asked for, from packets of `sources`.
    pub(super) fn open(&self, sources: &[PathBuf]) -> anyhow::Result<Option<PacketFile>> {
        let Some(path) = &self.path else { return Ok(None) };
        let standard = path.as_os_str() == "-";
        for source in sources.iter().filter(|_| !standard) {
            let same = source == path
                || matches!((source.canonicalize(), path.canonicalize()), (Ok(a), Ok(b)) if a == b);
            ensure!(!same, "{} is read: writing to it would destroy it", path.display());
        }
        let settings =
            RotationSettings { size: self.size, interval: self.interval, files: self.count };
        Ok(Some(PacketFile {
            path: path.clone(),
            settings,
            rotation: None,
            numbers: Vec::new(),
            comment: String::new(),
            failed: false,
            packets: 0,
            refused: 0,
            left_out: 0,
        }))
    }
}

/// Writes packets to files.
pub(super) struct PacketFile {
    path: PathBuf,
    settings: RotationSettings,
    /// None before the first packet, whose time is in the first file's name.
    rotation: Option<Rotation>,
    /// The numbers that interfaces have in the file, by those that they have where packets come from.
    numbers: Vec<Option<u32>>,
    comment: String,
    /// Whether what was written last could not be, which was told.
    failed: bool,
    /// How many packets were to be written.
    packets: u64,
    /// Those for which not even the first file could be made.
    refused: u64,
    /// Those that came after the last file (`-G` with `-W`).
    left_out: u64,
}

/// What became of the packets that were to be written: `packets = written + lost + left out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketFileLedger {
    /// All of them.
    pub(super) packets: u64,
    /// Those that came after the last file.
    pub(super) left_out: u64,
    /// Those that could not be written.
    pub(super) lost: u64,
}

impl PacketFileLedger {
    /// Those that are in files, or soon will be.
    pub(super) fn written(&self) -> u64 {
        self.packets.saturating_sub(self.left_out).saturating_sub(self.lost)
    }
}

/// `1200 packets = 1000 written + 200 lost`
impl fmt::Display for PacketFileLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = if self.packets == 1 { "packet" } else { "packets" };
        write!(f, "{} {packets} = {} written", self.packets, self.written())?;
        if self.left_out > 0 {
            write!(f, " + {} after the last file", self.left_out)?;
        }
        write!(f, " + {} lost", self.lost)
    }
}

impl PacketFile {
    /// Writes a packet; `interface` is what is known of the interface that it names.
    pub(super) fn write(
        &mut self,
        packet: &Packet<'_>,
        interface: impl FnOnce() -> Interface,
        owners: &[Option<Owner>; 2],
        reporter: &Reporter,
    ) {
        self.packets += 1;
        match self.try_write(packet, interface, owners) {
            // It may wait yet for being written.
            Ok(Written::Taken) => {}
            Ok(Written::Enough) => self.left_out += 1,
            Err(error) => {
                self.refused += u64::from(self.rotation.is_none());
                self.tell(&error, reporter);
            }
        }
    }

    /// Tells that something could not be written, unless that was told since it last could.
    fn tell(&mut self, error: &FileError, reporter: &Reporter) {
        if !std::mem::replace(&mut self.failed, true) {
            reporter.tell(&error.to_string());
        }
    }

    fn try_write(
        &mut self,
        packet: &Packet<'_>,
        interface: impl FnOnce() -> Interface,
        owners: &[Option<Owner>; 2],
    ) -> Result<Written, FileError> {
        let rotation = match &mut self.rotation {
            Some(rotation) => rotation,
            none => none.insert(Rotation::create(&self.path, self.settings, section(), packet.at)?),
        };
        let index = packet.interface as usize;
        if self.numbers.len() <= index {
            self.numbers.resize(index + 1, None);
        }
        let number =
            *self.numbers[index].get_or_insert_with(|| rotation.add_interface(&interface()));
        comment(owners, &mut self.comment);
        let [source, _] = owners;
        let notes = Notes {
            comment: &self.comment,
            sender: source.as_ref().map(|owner| owner.process.pid),
        };
        rotation.write(&Packet { interface: number, ..*packet }, notes)
    }

    /// Tells what an interface has seen.
    #[cfg(feature = "capture")]
    pub(super) fn set_statistics(&mut self, interface: usize, statistics: InterfaceStatistics) {
        let number = self.numbers.get(interface).copied().flatten();
        if let (Some(rotation), Some(number)) = (&mut self.rotation, number) {
            rotation.set_statistics(number, statistics);
        }
    }

    /// Has what was written be read by others.
    pub(super) fn flush(&mut self, reporter: &Reporter) {
        match self.rotation.as_mut().map(Rotation::flush) {
            Some(Ok(())) => self.failed = false,
            Some(Err(error)) => self.tell(&error, reporter),
            None => {}
        }
    }

    /// Where packets are written, for messages.
    pub(super) fn target(&self) -> String {
        if self.path.as_os_str() == "-" {
            return "standard output".to_owned();
        }
        self.path.display().to_string()
    }

    /// What became of the packets so far.
    pub(super) fn ledger(&self) -> PacketFileLedger {
        let Self { packets, refused, left_out, .. } = *self;
        let lost = refused + self.rotation.as_ref().map_or(0, Rotation::lost);
        PacketFileLedger { packets, left_out, lost }
    }

    /// Completes the file; one without packets is made if there was none.
    pub(super) fn finish(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let rotation = match &mut self.rotation {
            Some(rotation) => rotation,
            none => none.insert(Rotation::create(&self.path, self.settings, section(), now)?),
        };
        let finished = rotation.finish();
        let ledger = self.ledger();
        let lost = || format!("not all packets were written to {}: {ledger}", self.target());
        finished.with_context(lost)?;
        ensure!(ledger.lost == 0, lost());
        Ok(())
    }
}

fn section() -> Section {
    Section {
        hardware: std::env::consts::ARCH.to_owned(),
        system: format!("Linux on {}", this_host_id().hostname),
        application: format!("netglass {}", env!("CARGO_PKG_VERSION")),
    }
}

/// `pid=17 comm=curl container=… → pid=12 comm=nginx`: the source's, then the destination's.
fn comment(owners: &[Option<Owner>; 2], out: &mut String) {
    out.clear();
    for (owner, arrow) in owners.iter().zip(["", "→ "]) {
        let Some(Owner { process, .. }) = owner else { continue };
        let space = if out.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let comm = printable(&process.comm);
        let _ = write!(out, "{space}{arrow}pid={} comm={comm}", process.pid);
        if let Some(container) = &process.container {
            let _ = write!(out, " container={}", printable(container));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use netglass_model::{Attribution, Process};

    use super::*;
    use crate::fixtures::process;

    #[test]
    fn a_comment_is_of_characters_that_can_be_shown() {
        let owner = |comm: &str, container: Option<&str>| {
            let container = container.map(str::to_owned);
            let process = Process { container, ..process(comm, 7) };
            Some(Owner { process: Arc::new(process), attribution: Attribution::Socket })
        };
        let mut text = String::new();
        comment(&[owner("a\nb\u{1b}[31m", Some("c\u{7}d")), owner("nginx", None)], &mut text);
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(
            text.starts_with("pid=7 comm=a") && text.ends_with("→ pid=7 comm=nginx"),
            "{text:?}"
        );
    }
}
