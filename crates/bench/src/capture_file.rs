//! Files of packets to be read by the contestants, kept between runs.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{Advice, fadvise};

use crate::{capture_frames::Packet, netglass::netglass_program};

/// Of a classic pcap file in our byte order, with microseconds.
const MAGIC: u32 = 0xA1B2_C3D4;
const VERSION: u32 = 2 | 4 << 16;
const LONGEST: u32 = 65_535;
const ETHERNET: u32 = 1;
const FILE_HEADER: u64 = 24;
const RECORD_HEADER: usize = 16;

/// When all files begin, in seconds since 1970.
const EPOCH: u64 = 1_700_000_000;

/// A file of packets.
#[derive(Debug, Clone)]
pub(crate) struct CaptureFile {
    pub(crate) path: PathBuf,
    pub(crate) packets: u64,
}

impl CaptureFile {
    /// The file of this name, which is made when it is not there. A name says all that the content
    /// depends on.
    pub(crate) fn cached(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let path = folder()?.join(name);
        if !path.exists() {
            // Half a file never has the name of a whole one.
            let partial = path.with_extension("partial");
            make(&partial).with_context(|| format!("making {}", partial.display()))?;
            fs::rename(&partial, &path)
                .with_context(|| format!("renaming {} to its end", partial.display()))?;
        }
        let packets = count(&path).with_context(|| format!("counting {}", path.display()))?;
        Ok(Self { path, packets })
    }

    /// Has all of it be in memory as reading it in order leaves it there, whatever has become of it since
    /// it was written or read: systems take pages away and get them back in pieces, and who maps pieces
    /// waits for each.
    pub(crate) fn get_to_memory(&self) -> Result<()> {
        let path = self.path.display();
        leave_memory(&self.path).with_context(|| format!("writing {path} to the disk"))?;
        let mut file = File::open(&self.path)?;
        let read = io::copy(&mut file, &mut io::sink());
        read.map(|_| ()).with_context(|| format!("reading {path}"))
    }
}

/// Has the system forget what it has in memory of a file.
fn leave_memory(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

/// Where the files are, and what the contestants write: beside the programs that are measured.
pub(crate) fn folder() -> Result<PathBuf> {
    let program = netglass_program();
    let target = program.parent().and_then(Path::parent).context("finding the target folder")?;
    let folder = target.join("bench-captures");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// Writes packets to a file.
pub(crate) struct Writer {
    file: BufWriter<File>,
    frame: Vec<u8>,
    bytes: u64,
}

impl Writer {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        write_words(&mut file, [MAGIC, VERSION, 0, 0, LONGEST, ETHERNET])?;
        Ok(Self { file, frame: Vec::new(), bytes: FILE_HEADER })
    }

    /// Adds a packet, so long after the beginning of the file.
    pub(crate) fn write(&mut self, at: Duration, packet: &Packet<'_>) -> Result<()> {
        packet.write(&mut self.frame)?;
        let length = u32::try_from(self.frame.len())?;
        let seconds = u32::try_from(EPOCH + at.as_secs())?;
        write_words(&mut self.file, [seconds, at.subsec_micros(), length, length])?;
        self.file.write_all(&self.frame)?;
        self.bytes += RECORD_HEADER as u64 + u64::from(length);
        Ok(())
    }

    /// The size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }
}

fn write_words<const N: usize>(out: &mut impl Write, words: [u32; N]) -> io::Result<()> {
    words.into_iter().try_for_each(|word| out.write_all(&word.to_ne_bytes()))
}

/// How many packets a file has.
fn count(path: &Path) -> Result<u64> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut magic = [0; 4];
    file.read_exact(&mut magic)?;
    if u32::from_ne_bytes(magic) != MAGIC {
        bail!("it is not what was written");
    }
    file.seek_relative(FILE_HEADER.cast_signed() - 4)?;
    let (mut packets, mut header) = (0, [0; RECORD_HEADER]);
    loop {
        match file.read_exact(&mut header) {
            Ok(()) => packets += 1,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(packets),
            Err(error) => return Err(error.into()),
        }
        let [.., a, b, c, d, _, _, _, _] = header;
        file.seek_relative(u32::from_ne_bytes([a, b, c, d]).into())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture_frames::Transport;

    #[test]
    fn what_is_written_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("three.pcap");
        let mut writer = Writer::create(&path).unwrap();
        let [from, to] = ["10.0.0.1:1", "10.0.0.2:2"].map(|end| end.parse().unwrap());
        let packet = Packet { from, to, vlan: None, transport: Transport::Udp, payload: &[0; 100] };
        for second in 0..3 {
            writer.write(Duration::from_secs(second), &packet).unwrap();
        }
        let bytes = writer.bytes();
        writer.finish().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
        assert_eq!(count(&path).unwrap(), 3);
    }
}
