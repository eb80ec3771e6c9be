//! What our own datapath tells of a packet besides what Cilium's does: an extension behind the header of
//! a notification, whose version of extensions Cilium has not.
//!
//! The kernel writes numbers ([`KERNEL_FACTS_LENGTH`] bytes); whoever reads them puts names behind those,
//! so that a recording needs nothing of the host on which it was made. A name is the number of its kind
//! (8 bits), its length (16 bits), and its bytes. All numbers are little-endian.

use std::str;

use crate::{decode::bytes, event::MessageType};

/// The version of extensions that says that these facts are there.
const EXTENSION: u8 = 0x4e;

/// The length of the facts without names.
pub const KERNEL_FACTS_LENGTH: usize = 48;

/// The headers before which they stand, of `DropNotify` and `TraceNotify`.
const DROP_HEADER: usize = 48;
const TRACE_HEADER: usize = 56;
const EXTENSION_OFFSET: usize = 15;
const LOCATION_OFFSET: usize = 32;

/// A name's kind and length.
const NAME_HEADER: usize = 3;
/// The bytes of a name that are kept at most.
const MOST_NAME: usize = 4096;
/// A process before its texts.
const PROCESS_HEADER: usize = 17;
/// Stands for a user id that is not known.
const NO_USER: u32 = u32::MAX;

/// Which end of a packet a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketEnd {
    /// It sent the packet.
    Source,
    /// It would receive it.
    Destination,
}

/// What our own datapath tells of a packet besides what Cilium's does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelFacts<'a> {
    /// Which end of the packet the socket is.
    pub socket_end: Option<SocketEnd>,
    /// The inode of the network namespace; 0 if it is not known.
    pub network_namespace: u32,
    /// Nanoseconds since the start of the system.
    pub at: u64,
    /// The cookie of the packet's socket; 0 if there is none.
    pub socket_cookie: u64,
    /// The same number wherever the packet is seen, as long as it lives; then another one may have it.
    pub packet: u64,
    /// The address in the kernel at which it was dropped; 0 if it has a name.
    pub location: u64,
    /// The kernel's drop reason, its subsystem in the upper half; 0 of what was not dropped.
    pub reason: u32,
    names: &'a [u8],
}

/// The kinds of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Reason = 1,
    Function = 2,
    Interface = 3,
    NetworkNamespace = 4,
    Source = 5,
    Destination = 6,
}

/// A process at an end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketProcess<'a> {
    /// Its id.
    pub pid: u32,
    /// Whether it is only known to listen where the packet goes; else it holds the packet's socket.
    pub is_listener: bool,
    /// Its real user id.
    pub uid: Option<u32>,
    /// When it was started, in nanoseconds since 1970.
    pub start_time: i64,
    /// Its command name.
    pub comm: &'a str,
    /// The path of its executable; empty if that is not known.
    pub exe: &'a str,
    /// The container in which it runs; empty if it is in none.
    pub container: &'a str,
}

/// The names of what the kernel tells as numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelNames<'a> {
    /// Of the drop reason.
    pub reason: Option<&'a str>,
    /// Of the function in which it was dropped, with the offset in it: `tcp_v4_rcv+0x12`.
    pub function: Option<&'a str>,
    /// Of the interface.
    pub interface: Option<&'a str>,
    /// Of the network namespace.
    pub network_namespace: Option<&'a str>,
    /// The process that sent it.
    pub source: Option<PacketProcess<'a>>,
    /// The process that it is for.
    pub destination: Option<PacketProcess<'a>>,
}

impl<'a> KernelFacts<'a> {
    /// Whether a header says that they are behind it.
    pub(crate) fn are_said(data: &[u8]) -> bool {
        bytes::u8(data, EXTENSION_OFFSET) == EXTENSION
    }

    /// Takes the facts that begin there, with their length; `None` if they are not whole.
    pub(crate) fn decode(data: &'a [u8], header: usize) -> Option<(Self, usize)> {
        let extension = data.get(header..)?;
        let length = usize::from(bytes::u16(extension, 0));
        if length < KERNEL_FACTS_LENGTH {
            return None;
        }
        let extension = extension.get(..length)?;
        let facts = Self {
            socket_end: match bytes::u8(extension, 2) {
                1 => Some(SocketEnd::Source),
                2 => Some(SocketEnd::Destination),
                _ => None,
            },
            network_namespace: bytes::u32(extension, 4),
            at: bytes::u64(extension, 8),
            socket_cookie: bytes::u64(extension, 16),
            packet: bytes::u64(extension, 24),
            location: bytes::u64(extension, LOCATION_OFFSET),
            reason: bytes::u32(extension, 40),
            names: bytes::behind(extension, KERNEL_FACTS_LENGTH),
        };
        Some((facts, length))
    }

    /// The names that are there.
    #[must_use]
    pub fn names(&self) -> KernelNames<'a> {
        let mut names = KernelNames::default();
        let mut rest = self.names;
        while let Some((header, behind)) = rest.split_at_checked(NAME_HEADER) {
            let length = usize::from(bytes::u16(header, 1));
            let Some((value, behind)) = behind.split_at_checked(length) else { break };
            rest = behind;
            let text = str::from_utf8(value).ok();
            match bytes::u8(header, 0) {
                kind if kind == Kind::Reason as u8 => names.reason = text,
                kind if kind == Kind::Function as u8 => names.function = text,
                kind if kind == Kind::Interface as u8 => names.interface = text,
                kind if kind == Kind::NetworkNamespace as u8 => names.network_namespace = text,
                kind if kind == Kind::Source as u8 => names.source = process(value),
                kind if kind == Kind::Destination as u8 => names.destination = process(value),
                _ => {}
            }
        }
        names
    }
}

impl<'a> KernelNames<'a> {
    /// The function without the offset in it.
    #[must_use]
    pub fn function_name(&self) -> Option<&'a str> {
        self.function.map(|function| function.split_once('+').map_or(function, |(name, _)| name))
    }
}

/// Appends a notification of the kernel with names behind its facts, and without an address of the kernel
/// that has a name. What has no facts is appended as it is.
pub fn put_kernel_names(out: &mut Vec<u8>, data: &[u8], names: &KernelNames<'_>) {
    let header = match data.first().and_then(|first| MessageType::from_byte(*first)) {
        Some(MessageType::Drop) => DROP_HEADER,
        Some(MessageType::Trace) => TRACE_HEADER,
        _ => usize::MAX,
    };
    let known = KernelFacts::decode(data, header).filter(|_| KernelFacts::are_said(data));
    let end = known.map_or(0, |(_, length)| header + length);
    let Some((before, packet)) = data.split_at_checked(end).filter(|_| known.is_some()) else {
        out.extend_from_slice(data);
        return;
    };
    let start = out.len();
    out.extend_from_slice(before);
    for (kind, text) in [
        (Kind::Reason, names.reason),
        (Kind::Function, names.function),
        (Kind::Interface, names.interface),
        (Kind::NetworkNamespace, names.network_namespace),
    ] {
        if let Some(text) = text {
            put_name(out, kind, text.as_bytes());
        }
    }
    for (kind, process) in [(Kind::Source, names.source), (Kind::Destination, names.destination)] {
        if let Some(process) = process {
            put_process(out, kind, &process);
        }
    }
    // Each name is short, and there are six.
    let length = u16::try_from(out.len() - start - header).unwrap_or_default();
    overwrite(out, start + header, &length.to_le_bytes());
    if names.function.is_some() {
        overwrite(out, start + header + LOCATION_OFFSET, &[0; 8]);
    }
    out.extend_from_slice(packet);
}

fn overwrite(out: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = out.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn put_name(out: &mut Vec<u8>, kind: Kind, value: &[u8]) {
    let value = value.get(..MOST_NAME).unwrap_or(value);
    out.push(kind as u8);
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(value);
}

fn put_process(out: &mut Vec<u8>, kind: Kind, process: &PacketProcess<'_>) {
    let mut value = Vec::with_capacity(128);
    value.push(u8::from(process.is_listener));
    value.extend_from_slice(&process.pid.to_le_bytes());
    value.extend_from_slice(&process.uid.unwrap_or(NO_USER).to_le_bytes());
    value.extend_from_slice(&process.start_time.to_le_bytes());
    for text in [process.comm, "\0", process.exe, "\0", process.container] {
        value.extend_from_slice(text.as_bytes());
    }
    put_name(out, kind, &value);
}

fn process(value: &[u8]) -> Option<PacketProcess<'_>> {
    let (header, texts) = value.split_at_checked(PROCESS_HEADER)?;
    let mut texts = str::from_utf8(texts).ok()?.splitn(3, '\0');
    let uid = bytes::u32(header, 5);
    Some(PacketProcess {
        is_listener: bytes::u8(header, 0) != 0,
        pid: bytes::u32(header, 1),
        uid: (uid != NO_USER).then_some(uid),
        start_time: bytes::u64(header, 9).cast_signed(),
        comm: texts.next()?,
        exe: texts.next()?,
        container: texts.next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layouts, Notification, decode};
    use proptest::prelude::*;

    /// A drop of reason 12 with a packet of four bytes, and four with which a sample is filled up.
    fn dropped() -> Vec<u8> {
        let mut data = vec![0; DROP_HEADER + KERNEL_FACTS_LENGTH];
        (data[0], data[1], data[8], data[12], data[14], data[15]) = (1, 255, 60, 4, 3, EXTENSION);
        data[DROP_HEADER] = u8::try_from(KERNEL_FACTS_LENGTH).unwrap();
        data[DROP_HEADER + 2] = 1;
        data[DROP_HEADER + 4] = 7;
        data[DROP_HEADER + 16] = 99;
        data[DROP_HEADER + LOCATION_OFFSET] = 0x12;
        data[DROP_HEADER + 40] = 12;
        data.extend([0x45, 0, 0, 60, 9, 9, 9, 9]);
        data
    }

    fn facts(data: &[u8]) -> (KernelFacts<'_>, &[u8]) {
        let Ok(Notification::Drop(drop)) = decode(data, Layouts::Told) else { panic!("no drop") };
        (drop.kernel.unwrap(), drop.captured.packet())
    }

    const NAMES: KernelNames<'_> = KernelNames {
        reason: Some("NETFILTER_DROP"),
        function: Some("nf_hook_slow+0x9a"),
        interface: Some("veth0"),
        network_namespace: Some("blue"),
        source: Some(PacketProcess {
            pid: 812,
            is_listener: false,
            uid: None,
            start_time: -5,
            comm: "curl",
            exe: "/usr/bin/curl",
            container: "",
        }),
        destination: None,
    };

    #[test]
    fn numbers_are_as_the_kernel_wrote_them() {
        let data = dropped();
        let (facts, packet) = facts(&data);
        assert_eq!((facts.network_namespace, facts.socket_cookie), (7, 99));
        assert_eq!((facts.location, facts.reason), (0x12, 12));
        assert_eq!(facts.socket_end, Some(SocketEnd::Source));
        assert_eq!(facts.names(), KernelNames::default());
        assert_eq!(packet, [0x45, 0, 0, 60]);
    }

    #[test]
    fn names_are_put_before_the_packet_and_addresses_taken_out() {
        let mut data = Vec::new();
        put_kernel_names(&mut data, &dropped(), &NAMES);
        let (facts, packet) = facts(&data);
        assert_eq!(facts.names(), NAMES);
        assert_eq!(facts.names().function_name(), Some("nf_hook_slow"));
        assert_eq!((facts.location, facts.reason), (0, 12));
        assert_eq!(packet, [0x45, 0, 0, 60]);
    }

    #[test]
    fn what_is_not_of_the_kernel_stays_as_it_is() {
        let mut of_cilium = dropped();
        of_cilium[15] = 0;
        for data in [of_cilium, vec![1; 20], vec![130, 1, 2], Vec::new()] {
            let mut out = Vec::new();
            put_kernel_names(&mut out, &data, &NAMES);
            assert_eq!(out, data);
        }
    }

    #[test]
    fn facts_that_are_cut_are_an_error() {
        let data = dropped();
        for length in 0..DROP_HEADER + KERNEL_FACTS_LENGTH {
            assert!(decode(&data[..length], Layouts::Told).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_names_are_read_or_passed_over(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            length in 0_u16..300,
        ) {
            let mut data = dropped();
            data.truncate(DROP_HEADER + KERNEL_FACTS_LENGTH);
            data.extend(&bytes);
            data[DROP_HEADER..DROP_HEADER + 2].copy_from_slice(&length.to_le_bytes());
            if let Ok(Notification::Drop(drop)) = decode(&data, Layouts::Told) {
                let _ = drop.kernel.unwrap().names();
            }
            put_kernel_names(&mut Vec::new(), &data, &NAMES);
        }
    }
}
