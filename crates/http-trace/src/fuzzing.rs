//! What is read from the network, for those who feed it made-up bytes. Not for other use.

use crate::{
    alternative_services,
    clock::Moment,
    http2_frames,
    record::{AlternativeServices, Certificate, DnsReply},
    resolver::message::Reply,
    tls,
};

/// A message of DNS.
#[must_use]
pub fn dns_reply(bytes: &[u8]) -> DnsReply {
    Reply::parse(bytes).record(Moment::default(), bytes.len(), false)
}

/// A certificate.
#[must_use]
pub fn certificate(bytes: &[u8]) -> Certificate {
    tls::describe_certificate(bytes)
}

/// The status of a proxy's answer and its length, once it is whole.
pub fn proxy_answer(bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let answer = crate::proxy::parse_answer(bytes)?;
    Ok(answer.map(|(answer, length)| (answer.status, length)))
}

/// How many frames of HTTP/2 begin in what comes in pieces.
#[must_use]
pub fn http2_frames(pieces: &[&[u8]]) -> usize {
    http2_frames::count(pieces)
}

/// How many frames of HTTP/3 end in what comes in pieces, and how many bytes of them go on.
#[cfg(feature = "http3")]
#[must_use]
pub fn http3_frames(pieces: &[&[u8]]) -> (usize, usize) {
    crate::http3::frames::count(pieces)
}

/// What is seen of a packet of QUIC without its keys.
#[cfg(feature = "http3")]
#[must_use]
pub fn quic_packet(datagram: &[u8]) -> bool {
    crate::quic::packet::parse(datagram).is_some()
}

/// The header `Alt-Svc`.
#[must_use]
pub fn alternative_services(text: &str) -> AlternativeServices {
    alternative_services::parse(text)
}
