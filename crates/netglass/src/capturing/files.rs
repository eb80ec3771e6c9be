//! Packets from files.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context as _;
use netglass_kernel::MappedFile;
use netglass_model::Timestamp;
use netglass_packet::{
    Packet,
    file::{Batch, FileError, FileMemory, Reader},
};

use super::{
    Work,
    arguments::InputArguments,
    conversations::{Conversations, Nobody},
    filter::Filters,
    packet_file::PacketFile,
    progress::Progress,
    report::Reporter,
    stream::Stream,
};

/// Files from which packets come.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    filters: Filters,
    /// How many interfaces the files had that are read.
    interfaces: u32,
}

/// How many packets are taken by their heads before something else is looked at.
const HEADS: usize = 1024;

impl Files {
    /// Gets ready to read. A filter that means nothing is an error before anything is read.
    pub(super) fn new(input: &InputArguments) -> anyhow::Result<Self> {
        let filters = Filters::new(input.filter())?;
        Ok(Self { paths: input.files.clone(), filters, interfaces: 0 })
    }

    /// Reads one after the other, until the last one ends or it is told to end. One that cannot be
    /// read to its end does not stop the others.
    pub(super) fn run(&mut self, work: &mut Work) -> anyhow::Result<()> {
        let mut read = Ok(());
        for path in self.paths.clone() {
            match self.read(&path, work) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if read.is_ok() => read = Err(error),
                Err(error) => work.reporter.tell(&format!("{error:#}")),
            }
        }
        let read = read.and(work.conversations.finish(&Nobody));
        match &mut work.packets {
            Some(packets) => read.and(packets.finish(Timestamp::from(SystemTime::now()))),
            None => read,
        }
    }

    /// Returns whether it should go on after this file.
    fn read(&mut self, path: &Path, work: &mut Work) -> anyhow::Result<bool> {
        let Some(mut reader) = self.open(path, work)? else { return Ok(false) };
        let progress = Progress::of(path);
        let read = self.read_on(&mut reader, work, &progress);
        progress.end();
        read
    }

    /// Opens a file, or a stream once something has come of it. None if it is told to end before that.
    fn open(&self, path: &Path, work: &mut Work) -> anyhow::Result<Option<Reader>> {
        let Work { conversations, packets, reporter } = work;
        let name =
            if path.as_os_str() == "-" { "standard input".into() } else { path.to_string_lossy() };
        let stream = Stream::open(path).with_context(|| format!("opening {name}"))?;
        let Some(stream) = stream else {
            // Filters and packet files ask for whole packets.
            return Ok(Some(if packets.is_none() && self.filters.want_all() {
                Reader::open_heads(path, |file| {
                    MappedFile::new(file).map(|it| Box::new(it) as Box<dyn FileMemory>)
                })?
            } else {
                Reader::open(path)?
            }));
        };
        while !stream.is_ready().with_context(|| format!("waiting for {name}"))? {
            if !reporter.report(conversations, packets.as_ref()) {
                return Ok(None);
            }
        }
        Ok(Some(Reader::new(&name, stream)?))
    }

    /// Reads what comes. Returns whether it should go on after that.
    fn read_on(
        &mut self,
        reader: &mut Reader,
        work: &mut Work,
        progress: &Progress,
    ) -> anyhow::Result<bool> {
        let before = self.interfaces;
        while reader.give_heads(HEADS, &mut work.conversations)? {
            if !go_on(reader, work, progress) {
                return Ok(false);
            }
        }
        loop {
            let batch = match reader.next_batch() {
                Ok(batch) if batch.is_empty() => return Ok(true),
                Ok(batch) => batch,
                Err(FileError::Pending) => {
                    let Work { conversations, packets, reporter } = work;
                    if settle(conversations, packets.as_mut(), reporter) {
                        continue;
                    }
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            };
            let interfaces = u32::try_from(batch.interfaces().len()).unwrap_or(u32::MAX - before);
            self.take(&batch, before, work)?;
            self.interfaces = before + interfaces;
            if !go_on(reader, work, progress) {
                return Ok(false);
            }
        }
    }

    /// Takes packets whose interfaces are numbered from `before` on.
    fn take(&mut self, batch: &Batch<'_>, before: u32, work: &mut Work) -> anyhow::Result<()> {
        let Work { conversations, packets, reporter } = work;
        let interfaces = batch.interfaces();
        for packet in batch.packets() {
            if !self.filters.wants(&packet)? {
                conversations.filter_out(&packet);
                continue;
            }
            conversations.take(&packet, 0, &Nobody);
            let Some(packets) = packets else { continue };
            let Some(interface) = interfaces.get(packet.interface as usize) else { continue };
            let numbered = Packet { interface: before + packet.interface, ..packet };
            packets.write(&numbered, || interface.clone(), &[None, None], reporter);
        }
        Ok(())
    }
}

/// Does now and then what is not done for each packet. Returns whether it should go on.
fn go_on(reader: &Reader, work: &mut Work, progress: &Progress) -> bool {
    let Work { conversations, packets, reporter } = work;
    if !reporter.is_due() {
        return true;
    }
    progress.at(reader.offset().bytes);
    settle(conversations, packets.as_mut(), reporter)
}

/// Has what was read count and be written, and tells how that goes. Returns whether it should go on.
fn settle(
    conversations: &mut Conversations,
    mut packets: Option<&mut PacketFile>,
    reporter: &mut Reporter,
) -> bool {
    conversations.settle(None, &Nobody);
    if let Some(packets) = &mut packets {
        packets.flush(reporter);
    }
    reporter.report(conversations, packets.as_deref())
}
