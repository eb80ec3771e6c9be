//! Messages of DNS (RFC 1035), as far as they can be read: what is wrong with one is said beside
//! what was understood of it.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns as EdnsMessage, Header, Message, MessageType, OpCode, Query},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::opt::{EdnsCode, EdnsOption as OptionData},
    },
    serialize::binary::{BinDecodable, BinDecoder},
};

use crate::{
    clock::Moment,
    record::{
        DnsAnswer, DnsExtendedError, DnsQuery, DnsQuestion, DnsReply, DnsSection, Edns, EdnsOption,
    },
};

/// The longest datagram that an answer may be: it passes through any network of today in one
/// packet (DNS flag day 2020).
pub(crate) const UDP_PAYLOAD_SIZE: u16 = 1232;
/// How many records of a reply are kept.
const MAXIMUM_RECORDS: usize = 1000;
/// For how many records of a section there is room from the beginning.
const FEW_RECORDS: usize = 4;
/// How many bytes of a record's text are kept.
const MAXIMUM_VALUE: usize = 1024;

/// `Extended DNS Error`, RFC 8914.
const EXTENDED_ERROR: u16 = 15;

/// A question, and the message that asks it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: u16,
    pub(crate) name: Name,
    pub(crate) record_type: RecordType,
    pub(crate) bytes: Vec<u8>,
}

impl Request {
    /// Asks for the records of a name; nothing where it is no name of DNS.
    pub(crate) fn new(name: &Name, record_type: RecordType, authentic_data: bool) -> Option<Self> {
        let mut message = Message::query();
        message.metadata.message_type = MessageType::Query;
        message.metadata.op_code = OpCode::Query;
        message.metadata.recursion_desired = true;
        message.metadata.authentic_data = authentic_data;
        let mut query = Query::query(name.clone(), record_type);
        query.set_query_class(DNSClass::IN);
        message.add_query(query);
        let mut edns = EdnsMessage::new();
        edns.set_max_payload(UDP_PAYLOAD_SIZE).set_version(0);
        message.set_edns(edns);
        let bytes = message.to_vec().ok()?;
        Some(Self { id: message.metadata.id, name: name.clone(), record_type, bytes })
    }

    pub(crate) fn record(&self, sent_at: Moment) -> DnsQuery {
        DnsQuery {
            sent_at,
            id: self.id,
            recursion_desired: true,
            truncated: false,
            size: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            questions: vec![DnsQuestion {
                name: self.name.to_ascii(),
                record_type: self.record_type.into(),
                record_type_name: self.record_type.to_string(),
                class: DNSClass::IN.into(),
            }],
            udp_payload_size: Some(UDP_PAYLOAD_SIZE),
        }
    }
}

/// What can be learned of a reply.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) header: Option<Header>,
    pub(crate) question: Option<Query>,
    /// Whether all questions could be read.
    pub(crate) has_questions: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
    /// Whether the reading of the answers ended at a fault.
    pub(crate) answers_malformed: bool,
    /// What is wrong.
    pub(crate) malformed: Option<String>,
}

impl Reply {
    /// Reads as much of it as can be. It ends with the first fault, or with the message.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut reply = Self::default();
        if let Err(error) = reply.read(bytes) {
            reply.malformed = Some(error);
        }
        reply
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder).map_err(|error| format!("the header: {error}"))?;
        self.header = Some(header);
        for _ in 0..header.counts.queries {
            let query =
                Query::read(&mut decoder).map_err(|error| format!("a question: {error}"))?;
            self.question.get_or_insert(query);
        }
        self.has_questions = true;
        let sections = [
            (header.counts.answers, &mut self.answers, "an answer"),
            (header.counts.authorities, &mut self.authorities, "an authority"),
            (header.counts.additionals, &mut self.additionals, "an additional record"),
        ];
        for (index, (count, records, what)) in sections.into_iter().enumerate() {
            // What is announced need not come.
            records.reserve_exact(usize::from(count).min(FEW_RECORDS));
            for _ in 0..count {
                match Record::read(&mut decoder) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        self.answers_malformed = index == 0;
                        return Err(format!("{what}: {error}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether it answers the question.
    pub(crate) fn answers(&self, request: &Request) -> bool {
        let Some(header) = self.header else { return false };
        let Some(question) = &self.question else { return false };
        header.metadata.message_type == MessageType::Response
            && header.metadata.id == request.id
            && question.query_type() == request.record_type
            && question.query_class() == DNSClass::IN
            && same_name(question.name(), &request.name)
    }

    /// The addresses among the answers, and the last name of a chain of aliases.
    pub(crate) fn addresses(&self) -> (Vec<IpAddr>, Option<String>) {
        let mut addresses = Vec::new();
        let mut canonical = None;
        for record in &self.answers {
            match &record.data {
                RData::A(address) => addresses.push(IpAddr::V4(address.0)),
                RData::AAAA(address) => addresses.push(IpAddr::V6(address.0)),
                _ => continue,
            }
            canonical.get_or_insert_with(|| record.name.to_ascii());
        }
        (addresses, canonical)
    }

    /// How many seconds the answers hold.
    pub(crate) fn ttl(&self) -> u32 {
        self.answers.iter().map(|record| record.ttl).min().unwrap_or(0)
    }

    fn edns(&self) -> Option<&Record> {
        self.additionals.iter().find(|record| record.record_type() == RecordType::OPT)
    }

    /// Whether there is something among the additional records that is not about DNS itself.
    pub(crate) fn has_additionals(&self) -> bool {
        self.additionals.iter().any(|record| record.record_type() != RecordType::OPT)
    }

    /// The code with its extension.
    pub(crate) fn response_code(&self) -> Option<u16> {
        let header = self.header?;
        let low = u16::from(header.metadata.response_code) & 0xf;
        let high = self.edns().map_or(0, |record| (record.ttl >> 24) & 0xff);
        Some(u16::try_from(high).unwrap_or(0) << 4 | low)
    }

    pub(crate) fn record(&self, received_at: Moment, size: usize, accepted: bool) -> DnsReply {
        let metadata = self.header.map(|header| header.metadata);
        let sections = [
            (DnsSection::Answer, &self.answers),
            (DnsSection::Authority, &self.authorities),
            (DnsSection::Additional, &self.additionals),
        ];
        let answers = sections.into_iter().flat_map(|(section, records)| {
            let records = records.iter().filter(|record| record.record_type() != RecordType::OPT);
            records.map(move |record| answer(section, record))
        });
        DnsReply {
            received_at,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            id: metadata.map(|metadata| metadata.id),
            accepted,
            malformed: self.malformed.clone(),
            authoritative: metadata.is_some_and(|metadata| metadata.authoritative),
            recursion_available: metadata.is_some_and(|metadata| metadata.recursion_available),
            truncated: metadata.is_some_and(|metadata| metadata.truncation),
            authentic_data: metadata.is_some_and(|metadata| metadata.authentic_data),
            response_code: self.response_code(),
            answers: answers.take(MAXIMUM_RECORDS).collect(),
            edns: self.edns().map(edns_record),
        }
    }
}

/// In whatever case, with or without the final dot.
fn same_name(one: &Name, other: &Name) -> bool {
    let (one, other) = (one.iter(), other.iter());
    one.len() == other.len() && one.zip(other).all(|(one, other)| one.eq_ignore_ascii_case(other))
}

fn answer(section: DnsSection, record: &Record) -> DnsAnswer {
    let record_type = record.record_type();
    let mut value = record.data.to_string();
    if value.len() > MAXIMUM_VALUE {
        let end = (0..=MAXIMUM_VALUE).rev().find(|&end| value.is_char_boundary(end));
        value.truncate(end.unwrap_or(0));
    }
    DnsAnswer {
        section,
        name: record.name.to_ascii(),
        record_type: record_type.into(),
        record_type_name: record_type.to_string(),
        class: record.dns_class.into(),
        ttl: record.ttl,
        value,
    }
}

fn edns_record(record: &Record) -> Edns {
    let mut options = Vec::new();
    let mut extended_errors = Vec::new();
    if let RData::OPT(data) = &record.data {
        for (code, option) in &data.options {
            let code = number_of(*code, option);
            options.push(EdnsOption { code, length: u32::from(option.len()) });
            if let (EXTENDED_ERROR, OptionData::Unknown(_, bytes)) = (code, option)
                && let Some((number, text)) = bytes.split_first_chunk()
            {
                let text = text.get(..MAXIMUM_VALUE).unwrap_or(text);
                extended_errors.push(DnsExtendedError {
                    code: u16::from_be_bytes(*number),
                    text: String::from_utf8_lossy(text).trim_end_matches('\0').to_owned(),
                });
            }
        }
    }
    Edns {
        udp_payload_size: record.dns_class.into(),
        version: u8::try_from((record.ttl >> 16) & 0xff).unwrap_or(0),
        dnssec_ok: record.ttl & 0x8000 != 0,
        options,
        extended_errors,
    }
}

fn number_of(code: EdnsCode, option: &OptionData) -> u16 {
    match option {
        OptionData::Unknown(code, _) => *code,
        _ => code.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> Request {
        Request::new(&Name::from_ascii("www.test.").unwrap(), RecordType::A, false).unwrap()
    }

    /// An answer to the request with some records.
    fn reply(count: u16, records: &[u8]) -> Vec<u8> {
        let request = request();
        let mut bytes = request.id.to_be_bytes().to_vec();
        bytes.extend([0x81, 0x80, 0, 1]);
        bytes.extend(count.to_be_bytes());
        bytes.extend([0, 0, 0, 0]);
        bytes.extend(b"\x03www\x04test\0\0\x01\0\x01");
        bytes.extend(records);
        bytes
    }

    const A: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";

    #[test]
    fn a_query_asks_with_an_extension_for_datagrams_of_1232_bytes() {
        let query = Message::from_vec(&request().bytes).unwrap();
        assert!(query.metadata.recursion_desired);
        assert_eq!(query.edns.map(|edns| edns.max_payload()), Some(UDP_PAYLOAD_SIZE));
    }

    #[test]
    fn what_precedes_a_fault_is_kept() {
        let reply = Reply::parse(&reply(2, &[A, b"\x40\0"].concat()));
        assert_eq!(reply.addresses().0, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(reply.answers_malformed && reply.malformed.is_some());
    }

    #[test]
    fn a_record_that_is_cut_short_and_a_name_that_points_at_itself_end() {
        for records in [&A[..A.len() - 2], b"\xc0\x1a\0\x01\0\x01\0\0\0\0\0\0"] {
            let reply = Reply::parse(&reply(1, records));
            assert!(reply.answers.is_empty() && reply.answers_malformed);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let reply = Reply::parse(&bytes);
            reply.answers(&request());
            reply.record(Moment(0), bytes.len(), false);
        }

        #[test]
        fn any_records_are_read(count: u16, records in proptest::collection::vec(any::<u8>(), 0..600)) {
            let bytes = reply(count, &records);
            Reply::parse(&bytes).record(Moment(0), bytes.len(), true);
        }
    }
}
