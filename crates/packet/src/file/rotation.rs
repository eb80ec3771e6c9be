//! Files one after another, as `tcpdump` makes them by `-C`, `-G` and `-W`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{fmt::strtime, tz::TimeZone};
use netglass_model::Timestamp;

use super::{FileError, Interface, InterfaceStatistics, Notes, Section, Writer};
use crate::Packet;

/// When the next file begins, and how many there are.
///
/// Names are those of `tcpdump`: by size, a number follows the name from the second file on; where
/// the number of files is limited, the first has one too, all of the same width, and after the last
/// comes the first again. By time, the name is made of the local time by `strftime`. By both, the
/// number follows the time, and begins anew with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RotationSettings {
    /// `-C`: the next file begins with the packet that finds its file larger than so many bytes.
    pub size: Option<u64>,
    /// `-G`: the next file begins with the packet that comes so long after its file's beginning.
    pub interval: Option<Duration>,
    /// `-W`: how many files there are. By size, they are written over in turn; by time alone, nothing
    /// is written after the last one.
    pub files: Option<u32>,
}

/// What became of a packet that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was taken.
    Taken,
    /// There are as many files as were asked for, and they are whole.
    Enough,
}

/// Understands a size as `tcpdump -C` does, in bytes: in millions of bytes, or with `k`, `m` or `g`
/// behind it in KiB, MiB or GiB.
pub fn parse_file_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1 << 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 1 << 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 1 << 30),
        _ => (Some(text), 1_000_000),
    };
    let size = number.and_then(|number| number.parse::<u64>().ok()?.checked_mul(unit));
    size.filter(|size| *size > 0).ok_or_else(|| {
        "not a size: give millions of bytes, or KiB, MiB or GiB as in 500k, 100m, 2g".to_owned()
    })
}

/// Writes packets to files one after another. Each one is a capture of its own.
pub struct Rotation {
    pattern: PathBuf,
    settings: RotationSettings,
    zone: TimeZone,
    section: Section,
    interfaces: Vec<Interface>,
    /// That of the present file. None is there if it could not be made; then it is tried again.
    writer: Option<Writer>,
    /// When the present file, or the first of those of the present time, began.
    began: Timestamp,
    /// How many times began before.
    earlier: u32,
    /// The number of the present file among those of its time.
    number: u32,
    /// Packets lost with files that are closed, or were never made.
    lost: u64,
    enough: bool,
}

impl Rotation {
    /// Makes the first file, which begins at `began`. `path` may be `-`, for standard output, on which
    /// there is but one.
    pub fn create(
        path: &Path,
        settings: RotationSettings,
        section: Section,
        began: Timestamp,
    ) -> Result<Self, FileError> {
        if path.as_os_str() == "-" && settings != RotationSettings::default() {
            return Err(FileError::NotRotatable);
        }
        let mut rotation = Self {
            pattern: path.to_owned(),
            settings,
            zone: TimeZone::system(),
            section,
            interfaces: Vec::new(),
            writer: None,
            began,
            earlier: 0,
            number: 0,
            lost: 0,
            enough: false,
        };
        rotation.open()?;
        Ok(rotation)
    }

    /// Describes another interface, in this file and all later ones, and says which number its
    /// packets have.
    pub fn add_interface(&mut self, interface: &Interface) -> u32 {
        if let Some(writer) = &mut self.writer {
            writer.add_interface(interface);
        }
        self.interfaces.push(interface.clone());
        u32::try_from(self.interfaces.len() - 1).unwrap_or(u32::MAX)
    }

    /// Tells what an interface has seen since the beginning. It is written at the end of each file.
    pub fn set_statistics(&mut self, interface: u32, statistics: InterfaceStatistics) {
        if let Some(writer) = &mut self.writer {
            writer.set_statistics(interface, statistics);
        }
        if let Some(interface) = self.interfaces.get_mut(interface as usize) {
            interface.statistics = statistics;
        }
    }

    /// Writes a packet, to the next file if it is time. That is the packet's time: one that is
    /// earlier than the present file's beginning goes to this file too.
    ///
    /// After an error packets may be lost, which [`Self::lost`] counts; the next ones are tried again.
    pub fn write(&mut self, packet: &Packet<'_>, notes: Notes<'_>) -> Result<Written, FileError> {
        let closed = self.rotate(packet.at);
        if self.enough {
            return closed.map(|()| Written::Enough);
        }
        if self.writer.is_none()
            && let Err(error) = self.open()
        {
            self.lost += 1;
            return Err(error);
        }
        if let Some(writer) = &mut self.writer {
            writer.write(packet, notes)?;
        }
        closed.map(|()| Written::Taken)
    }

    /// Writes what was collected.
    pub fn flush(&mut self) -> Result<(), FileError> {
        self.writer.as_mut().map_or(Ok(()), Writer::flush)
    }

    /// How many packets could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost + self.writer.as_ref().map_or(0, Writer::lost)
    }

    /// Ends the last file. Losses can still be asked for.
    pub fn finish(&mut self) -> Result<(), FileError> {
        self.enough = true;
        self.close()
    }

    /// Ends the present file if it is time or if it is large enough.
    fn rotate(&mut self, at: Timestamp) -> Result<(), FileError> {
        if self.enough {
            return Ok(());
        }
        let RotationSettings { size, interval, files } = self.settings;
        if interval.is_some_and(|interval| at.since(self.began) >= interval) {
            self.began = at;
            self.earlier = self.earlier.saturating_add(1);
            self.number = 0;
            self.enough = size.is_none() && files.is_some_and(|files| self.earlier >= files);
            return self.close();
        }
        let Some(writer) = &self.writer else { return Ok(()) };
        if size.is_some_and(|size| writer.length() > size) {
            let next = self.number.saturating_add(1);
            self.number = if files.is_some_and(|files| next >= files) { 0 } else { next };
            return self.close();
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), FileError> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let ended = writer.end();
        self.lost += writer.lost();
        ended
    }

    fn open(&mut self) -> Result<(), FileError> {
        let mut writer = Writer::create(&self.path()?, &self.section)?;
        for interface in &self.interfaces {
            writer.add_interface(interface);
        }
        writer.flush()?;
        self.writer = Some(writer);
        Ok(())
    }

    fn path(&self) -> Result<PathBuf, FileError> {
        let mut path = match self.settings.interval {
            Some(_) => self.name_by_time()?,
            None => self.pattern.clone(),
        };
        if let Some(number) = self.file_number() {
            path.as_mut_os_string().push(number);
        }
        Ok(path)
    }

    /// The number in the name of the present file, if it has one.
    fn file_number(&self) -> Option<String> {
        self.settings.size?;
        let last = self.settings.files.unwrap_or(0).saturating_sub(1);
        let width = if last == 0 { 0 } else { last.ilog10() as usize + 1 };
        (self.number > 0 || width > 0).then(|| format!("{:0width$}", self.number))
    }

    fn name_by_time(&self) -> Result<PathBuf, FileError> {
        let failed = |reason: String| FileError::Name {
            pattern: self.pattern.display().to_string(),
            reason,
        };
        let pattern =
            self.pattern.to_str().ok_or_else(|| failed("it is not in UTF-8".to_owned()))?;
        let nanoseconds = self.began.as_nanoseconds().into();
        let time = jiff::Timestamp::from_nanosecond(nanoseconds)
            .map_err(|error| failed(error.to_string()))?
            .to_zoned(self.zone.clone());
        strtime::format(pattern, &time)
            .map(PathBuf::from)
            .map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_millions_of_bytes_or_have_a_unit() {
        assert_eq!(parse_file_size("10"), Ok(10_000_000));
        assert_eq!(parse_file_size("10k"), Ok(10_240));
        assert_eq!(parse_file_size("2M"), Ok(2 << 20));
        assert_eq!(parse_file_size("1g"), Ok(1 << 30));
        for wrong in ["", "0", "k", "-1", "1.5", "1t", "99999999999999999999", "99999999999999g"] {
            assert!(parse_file_size(wrong).is_err(), "{wrong}");
        }
    }
}
