//! Captured packets, and the files that other programs read them from (pcapng,
//! draft-ietf-opsawg-pcapng).

use std::io::{self, Write};

use crate::record::{Packet, PacketDirection};

/// The packets of one interface that belong to a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketCapture {
    /// The interface.
    pub interface: String,
    /// What packets begin with, as a number of the registry of link types.
    pub link_type: u16,
    /// The most bytes that are kept of a packet.
    pub snapshot_length: u32,
    /// The packets, in the order of their times.
    pub packets: Vec<Packet>,
    /// Whether there were more than the limit allows.
    pub truncated: bool,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;

/// `TLSK`: the lines of `SSLKEYLOGFILE`.
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// Writes packets as pcapng: each interface with its name, each packet with its time to the
/// nanosecond and its direction, and, where they are given, the secrets of TLS by which Wireshark
/// decrypts it.
pub fn write_pcapng(
    output: &mut impl Write,
    captures: &[PacketCapture],
    tls_secrets: Option<&str>,
) -> io::Result<()> {
    let mut section = Vec::new();
    section.extend(BYTE_ORDER.to_ne_bytes());
    section.extend([1_u16, 0].map(u16::to_ne_bytes).as_flattened());
    // How long the section is, is not said.
    section.extend(u64::MAX.to_ne_bytes());
    option(&mut section, SHB_USERAPPL, concat!("netglass ", env!("CARGO_PKG_VERSION")).as_bytes());
    end_of_options(&mut section);
    block(output, SECTION_HEADER, &section)?;
    for capture in captures {
        interface(output, capture)?;
    }
    // Before the packets that are to be decrypted with them.
    if let Some(secrets) = tls_secrets.filter(|secrets| !secrets.is_empty()) {
        let mut body = Vec::new();
        body.extend(TLS_KEY_LOG.to_ne_bytes());
        body.extend(u32::try_from(secrets.len()).unwrap_or(u32::MAX).to_ne_bytes());
        body.extend(secrets.as_bytes());
        pad(&mut body);
        block(output, DECRYPTION_SECRETS, &body)?;
    }
    let mut packets: Vec<(u32, &Packet)> = (0..)
        .zip(captures)
        .flat_map(|(number, capture)| capture.packets.iter().map(move |packet| (number, packet)))
        .collect();
    packets.sort_by_key(|(_, packet)| packet.time);
    packets.into_iter().try_for_each(|(number, packet)| enhanced_packet(output, number, packet))
}

fn interface(output: &mut impl Write, capture: &PacketCapture) -> io::Result<()> {
    const NANOSECONDS: u8 = 9;
    let mut body = Vec::new();
    body.extend(capture.link_type.to_ne_bytes());
    body.extend([0, 0]);
    body.extend(capture.snapshot_length.to_ne_bytes());
    option(&mut body, IF_NAME, capture.interface.as_bytes());
    option(&mut body, IF_TSRESOL, &[NANOSECONDS]);
    if capture.truncated {
        option(&mut body, OPT_COMMENT, b"there were more packets than the limit allows");
    }
    end_of_options(&mut body);
    block(output, INTERFACE_DESCRIPTION, &body)
}

fn enhanced_packet(output: &mut impl Write, number: u32, packet: &Packet) -> io::Result<()> {
    let time = u64::try_from(packet.time).unwrap_or(0);
    let mut body = Vec::new();
    body.extend(number.to_ne_bytes());
    body.extend(u32::try_from(time >> 32).unwrap_or(0).to_ne_bytes());
    body.extend(u32::try_from(time & 0xffff_ffff).unwrap_or(0).to_ne_bytes());
    body.extend(u32::try_from(packet.data.len()).unwrap_or(u32::MAX).to_ne_bytes());
    body.extend(packet.original_length.to_ne_bytes());
    body.extend(&packet.data);
    pad(&mut body);
    let direction: u32 = match packet.direction {
        PacketDirection::Unknown => 0,
        PacketDirection::Inbound => 1,
        PacketDirection::Outbound => 2,
    };
    option(&mut body, EPB_FLAGS, &direction.to_ne_bytes());
    end_of_options(&mut body);
    block(output, ENHANCED_PACKET, &body)
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    body.extend(code.to_ne_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_ne_bytes());
    body.extend(value);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn block(output: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?.to_ne_bytes();
    output.write_all(&kind.to_ne_bytes())?;
    output.write_all(&length)?;
    output.write_all(body)?;
    output.write_all(&length)
}

#[cfg(all(test, feature = "kernel"))]
mod tests {
    use netglass_packet::file::Reader;

    use super::*;

    #[test]
    fn what_is_written_is_read_with_its_interface_its_time_and_its_length() {
        let packet =
            |time, direction| Packet { time, original_length: 100, data: vec![7; 61], direction };
        let capture = |interface: &str, packets| PacketCapture {
            interface: interface.to_owned(),
            link_type: 1,
            snapshot_length: 64,
            packets,
            truncated: true,
        };
        let later = 1_700_000_000_000_000_002;
        let captures = [
            capture("eth0", vec![packet(later, PacketDirection::Inbound)]),
            capture("lo", vec![packet(later - 1, PacketDirection::Outbound)]),
        ];
        let mut file = Vec::new();
        write_pcapng(&mut file, &captures, Some("CLIENT_RANDOM 00 11\n")).unwrap();
        let mut reader = Reader::new("test", io::Cursor::new(file)).unwrap();
        let mut read = Vec::new();
        loop {
            let batch = reader.next_batch().unwrap();
            if batch.is_empty() {
                break;
            }
            for packet in batch.packets() {
                let name = batch.interfaces()[packet.interface as usize].name.clone();
                let time = packet.at.as_nanoseconds();
                read.push((name, time, packet.wire_length, packet.bytes.len()));
            }
        }
        let expected = [("lo".to_owned(), later - 1, 100, 61), ("eth0".to_owned(), later, 100, 61)];
        assert_eq!(read, expected);
    }
}
