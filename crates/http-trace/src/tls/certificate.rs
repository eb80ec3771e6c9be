//! Certificates in words.

use std::{fmt::Write, net::IpAddr};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::{CertificateError, Error as TlsError, pki_types::CertificateDer};
use x509_parser::{
    asn1_rs::Oid,
    certificate::X509Certificate,
    extensions::GeneralName,
    objects::{oid_registry, oid2abbrev, oid2sn},
    prelude::FromDer,
    time::ASN1Time,
    x509::X509Name,
};

use crate::record::Certificate;

/// How many names of a certificate are kept.
const MAXIMUM_NAMES: usize = 256;

/// Describes a certificate; also one that cannot be understood.
pub(crate) fn describe(der: &[u8]) -> Certificate {
    let sha256 = hexadecimal(&Sha256::digest(der));
    let size = u32::try_from(der.len()).unwrap_or(u32::MAX);
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Certificate {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            serial: hexadecimal(certificate.raw_serial()),
            not_before: time(certificate.validity().not_before),
            not_after: time(certificate.validity().not_after),
            is_ca: certificate.is_ca(),
            names: names(&certificate),
            signature_algorithm: algorithm(&certificate.signature_algorithm.algorithm),
            key_algorithm: algorithm(&certificate.public_key().algorithm.algorithm),
            key_bits: certificate
                .public_key()
                .parsed()
                .ok()
                .and_then(|key| u32::try_from(key.key_size()).ok())
                .filter(|&bits| bits > 0),
            sha256,
            size,
            malformed: None,
        },
        Err(error) => Certificate {
            subject: String::new(),
            issuer: String::new(),
            serial: String::new(),
            not_before: None,
            not_after: None,
            is_ca: false,
            names: Vec::new(),
            signature_algorithm: String::new(),
            key_algorithm: String::new(),
            key_bits: None,
            sha256,
            size,
            malformed: Some(error.to_string()),
        },
    }
}

fn algorithm(identifier: &Oid<'_>) -> String {
    match oid2sn(identifier, oid_registry()) {
        Ok(name) => name.to_owned(),
        Err(_) => identifier.to_id_string(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn time(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
}

/// As RFC 4514 writes it: the most specific part first.
fn name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes = part.iter().map(|attribute| {
                let number = attribute.attr_type().to_id_string();
                let kind = oid2abbrev(attribute.attr_type(), oid_registry()).unwrap_or(&number);
                format!("{kind}={}", escape(attribute.as_str().unwrap_or("?")))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (index, character) in value.char_indices() {
        let last = index + character.len_utf8() == value.len();
        let special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (character == ' ' && (index == 0 || last))
            || (character == '#' && index == 0);
        if special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    });
    names.take(MAXIMUM_NAMES).collect()
}

/// Which certificate of a chain an error is about: the one that is out of its time, or the last
/// one that could be reached on the way to somebody trusted; else the server's own.
pub(super) fn offending(chain: &[CertificateDer<'_>], error: &TlsError) -> Option<u32> {
    let TlsError::InvalidCertificate(error) = error else { return None };
    let parsed: Vec<X509Certificate<'_>> =
        chain.iter().map_while(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
    let index = match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            parsed.iter().position(|certificate| !certificate.validity().is_valid()).unwrap_or(0)
        }
        CertificateError::UnknownIssuer => {
            let mut last = 0;
            // Each step goes to another certificate, so it ends.
            for _ in 0..parsed.len() {
                let Some(current) = parsed.get(last) else { break };
                let signer = parsed.iter().enumerate().skip(1).find(|(index, other)| {
                    *index != last && other.subject().as_raw() == current.issuer().as_raw()
                });
                match signer {
                    Some((index, _)) => last = index,
                    None => break,
                }
            }
            last
        }
        _ => 0,
    };
    u32::try_from(index).ok().filter(|_| !chain.is_empty())
}
