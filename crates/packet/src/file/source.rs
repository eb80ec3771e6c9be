//! Where the bytes of a capture come from: a file or standard input, compressed or not.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    os::unix::fs::FileExt as _,
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use super::FileError;

/// How much of a compressed file is read at once.
const COMPRESSED: usize = 128 << 10;

/// How much earlier what repeats itself may be, as a power of two: what `zstd` unpacks without being
/// asked to take more memory.
const ZSTD_WINDOW: u32 = 27;

/// Where the bytes of a capture come from.
pub(super) struct Source {
    /// The path, or what else it is called.
    pub(super) name: String,
    pub(super) bytes: Box<dyn Read + Send>,
    /// Whether they are unpacked on the way.
    pub(super) unpacked: bool,
}

impl Source {
    /// A file, or standard input if the path is `-`.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        if is_standard_input(path) {
            return Self::new("standard input", io::stdin());
        }
        Self::new(&path.display().to_string(), Self::file(path)?)
    }

    /// The file at `path`.
    pub(super) fn file(path: &Path) -> Result<File, FileError> {
        let failure = |reason| FileError::Open { file: path.display().to_string(), reason };
        File::open(path).map_err(failure)
    }

    /// Whatever can be read.
    pub(super) fn new(name: &str, read: impl Read + Send + 'static) -> Result<Self, FileError> {
        let name = name.to_owned();
        match unpack(read) {
            Ok((bytes, unpacked)) => Ok(Self { name, bytes, unpacked }),
            Err(reason) => Err(FileError::Open { file: name, reason }),
        }
    }
}

/// Whether a path stands for standard input.
pub(super) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A file from any place on, whoever else reads it.
pub(super) struct FileFrom {
    pub(super) file: File,
    pub(super) offset: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

fn unpack(mut read: impl Read + Send + 'static) -> io::Result<(Box<dyn Read + Send>, bool)> {
    let mut magic = Vec::with_capacity(4);
    while let Err(error) = read.by_ref().take(4 - magic.len() as u64).read_to_end(&mut magic) {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
    }
    let kind = Compression::of(&magic);
    let whole = Cursor::new(magic).chain(read);
    Ok(match kind {
        None => (Box::new(whole), false),
        Some(Compression::Gzip) => {
            let compressed = BufReader::with_capacity(COMPRESSED, whole);
            (Box::new(MultiGzDecoder::new(compressed)), true)
        }
        Some(Compression::Zstd) => {
            let compressed = BufReader::with_capacity(COMPRESSED, whole);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            (Box::new(decoder), true)
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    fn of(magic: &[u8]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // What is compressed in parallel begins with a frame to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What to do about a file that begins so, and is no capture.
pub(super) fn advice(beginning: &[u8]) -> &'static str {
    match beginning {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "; it is compressed with xz: unpack it first",
        [b'B', b'Z', b'h', ..] => "; it is compressed with bzip2: unpack it first",
        [0x04, 0x22, 0x4d, 0x18, ..] => "; it is compressed with lz4: unpack it first",
        [b'P', b'K', 3, 4, ..] => "; it is a zip archive: unpack it first",
        _ => "; convert it with editcap of Wireshark, if that knows its format",
    }
}
