//! The columns of a flow log: the one definition from which every format and every store derives.
//! `docs/flow-schema.md` tells users of them.

use std::{fmt, net::IpAddr};

use netglass_model::{
    Attribution, FlowRecord, IpProtocol, Owner, Process, TcpConnection, Timestamp,
};
use uuid::Uuid;

/// The version of the schema; it grows when a column changes its meaning or goes away, and not when
/// one is added behind the others.
pub const SCHEMA_VERSION: u32 = 1;

/// One column of a flow log.
#[derive(Debug)]
pub struct Column {
    /// Its name, everywhere.
    pub name: &'static str,
    /// What its values are.
    pub column_type: ColumnType,
    /// Whether there may be no value.
    pub is_nullable: bool,
    /// What it tells, in one line.
    pub description: &'static str,
    value: fn(&FlowRecord) -> Option<Value<'_>>,
}

impl Column {
    /// What the record has in this column. Nothing is allocated.
    #[must_use]
    pub fn value<'a>(&self, record: &'a FlowRecord) -> Option<Value<'a>> {
        (self.value)(record)
    }
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text in UTF-8; names that come from outside may hold any character.
    String,
    /// A signed integer of 64 bits; none of those that are here is negative.
    Integer,
    /// A moment in UTC, to the nanosecond where the store can hold that.
    Timestamp,
}

impl ColumnType {
    /// The name in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Timestamp => "timestamp",
        }
    }
}

/// One value. `Display` gives the text of all that are of type string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text, which may hold any character.
    Text(&'a str),
    /// Text: one of ours, which holds letters, digits and underscores only.
    Name(&'static str),
    /// Text: the hyphenated form (RFC 9562, section 4).
    Id(Uuid),
    /// Text: a name or a number.
    Protocol(IpProtocol),
    /// Text: the usual form (RFC 5952 for IPv6).
    Address(IpAddr),
    /// Text: letters.
    TcpFlags(TcpFlags),
    /// An integer.
    Integer(i64),
    /// A moment.
    Timestamp(Timestamp),
}

impl Value<'_> {
    /// Of which type it is.
    #[must_use]
    pub const fn column_type(&self) -> ColumnType {
        match self {
            Self::Integer(_) => ColumnType::Integer,
            Self::Timestamp(_) => ColumnType::Timestamp,
            Self::Text(_)
            | Self::Name(_)
            | Self::Id(_)
            | Self::Protocol(_)
            | Self::Address(_)
            | Self::TcpFlags(_) => ColumnType::String,
        }
    }
}

/// Integers are decimal; moments are nanoseconds since 1970.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => id.fmt(f),
            Self::Protocol(protocol) => protocol.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::TcpFlags(flags) => flags.fmt(f),
            Self::Integer(integer) => integer.fmt(f),
            Self::Timestamp(moment) => moment.as_nanoseconds().fmt(f),
        }
    }
}

/// Flags of TCP as letters in the order of the header (RFC 9293, section 3.1), those alone that
/// were seen: `APSF` for ACK, PSH, SYN and FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The letters.
    pub(super) fn letters(self) -> impl Iterator<Item = u8> {
        let (letters, count) = TCP_FLAGS[usize::from(self.0)];
        letters.into_iter().take(count.into())
    }

    /// The letters, and behind them what fills them up; how many they are.
    pub(super) const fn padded_letters(self) -> ([u8; 8], u8) {
        TCP_FLAGS[self.0 as usize]
    }
}

/// The letters of all combinations of flags, and how many they are.
static TCP_FLAGS: [([u8; 8], u8); 256] = {
    const LETTERS: [u8; 8] = *b"CEUAPRSF";
    let mut all = [([0; 8], 0); 256];
    let mut flags = 0;
    while flags < all.len() {
        let mut place = 0;
        while place < LETTERS.len() {
            if flags >> (LETTERS.len() - 1 - place) & 1 == 1 {
                let (letters, count) = &mut all[flags];
                letters[*count as usize] = LETTERS[place];
                *count += 1;
            }
            place += 1;
        }
        flags += 1;
    }
    all
};

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().try_for_each(|letter| fmt::Write::write_char(f, letter.into()))
    }
}

/// Who is shown each value of a record. What is known of a column when this is compiled does not have
/// to be looked up for each record.
pub(super) trait Visitor {
    /// `key` is the name as JSON has it between one value and another: with a comma before it, and with the
    /// quote behind it that begins a text.
    fn visit(
        &mut self,
        name: &'static str,
        key: &'static str,
        column_type: ColumnType,
        value: Option<Value<'_>>,
    );
}

/// Defines the columns, in the order in which they stand everywhere. What is `nullable` gives an
/// `Option` of a value, what is `required` a value.
macro_rules! columns {
    ($record:ident: $($name:literal $column_type:ident $nullable:ident $description:literal
        => $value:expr,)*) => {
        /// All columns, in the order in which they stand everywhere.
        pub static COLUMNS: [Column; [$($name),*].len()] = [$(
            Column {
                name: $name,
                column_type: ColumnType::$column_type,
                is_nullable: columns!(@is_nullable $nullable),
                description: $description,
                value: |$record| columns!(@value $nullable $value),
            },
        )*];

        /// Shows a visitor what the record has in each column, in order.
        pub(super) fn visit($record: &FlowRecord, visitor: &mut impl Visitor) {
            $(visitor.visit(
                $name,
                columns!(@key $column_type $name),
                ColumnType::$column_type,
                columns!(@value $nullable $value),
            );)*
        }
    };
    (@key Integer $name:literal) => { concat!(",\"", $name, "\":") };
    (@key $text:ident $name:literal) => { concat!(",\"", $name, "\":\"") };
    (@is_nullable required) => { false };
    (@is_nullable nullable) => { true };
    (@value required $value:expr) => { Some($value) };
    (@value nullable $value:expr) => { $value };
}

// What is added goes behind the others: columns do not change their places.
columns! { record:
    "id" String required "Unique id of the flow (UUID version 7)." => Value::Id(record.id),
    "protocol" String required "`tcp`, `udp`, `icmp4`, `icmp6`, `sctp`, or the number of another one."
        => Value::Protocol(record.protocol),
    "src_addr" String required "Address of who sent the first packet; for TCP of who sent the SYN, where one was seen."
        => Value::Address(record.source),
    "dst_addr" String required "Address of the other end." => Value::Address(record.destination),
    "src_port" Integer required "Port of the source; 0 where the protocol has none."
        => Value::Integer(record.source_port.into()),
    "dst_port" Integer required "Port of the destination; of ICMP the first packet's type times 256 plus its code; 0 where the protocol has none."
        => Value::Integer(record.destination_port.into()),
    "first_seen_at" Timestamp required "When the first packet was seen."
        => Value::Timestamp(record.first_seen),
    "last_seen_at" Timestamp required "When the last packet was seen."
        => Value::Timestamp(record.last_seen),
    "src_bytes" Integer required "Bytes on the wire that the source sent, link headers included."
        => count(record.source_bytes),
    "dst_bytes" Integer required "Bytes on the wire that the destination sent, link headers included."
        => count(record.destination_bytes),
    "src_packets" Integer required "Packets that the source sent." => count(record.source_packets),
    "dst_packets" Integer required "Packets that the destination sent."
        => count(record.destination_packets),
    "status" String required "`init` until an answer is seen, `established` then."
        => Value::Name(record.status.name()),
    "end_reason" String required "Why the record was written: `idle`, `active`, `closed`, `evicted` or `capture_end`."
        => Value::Name(record.end_reason.name()),
    "interface" String nullable "The interface on which the flow was seen; null for files."
        => record.interface.as_deref().map(Value::Text),
    "tcp_state" String nullable "How the connection of TCP went, in Zeek's terms: `S0`, `SF`, `REJ` and so on; null for other protocols."
        => record.tcp.as_ref().map(|tcp| Value::Name(tcp.state.name())),
    "src_tcp_flags" String nullable "All flags that the source sent, of `CEUAPRSF`; null for other protocols than TCP."
        => record.tcp.as_ref().map(|tcp| Value::TcpFlags(TcpFlags(tcp.source_flags))),
    "dst_tcp_flags" String nullable "All flags that the destination sent, of `CEUAPRSF`; null for other protocols than TCP."
        => record.tcp.as_ref().map(|tcp| Value::TcpFlags(TcpFlags(tcp.destination_flags))),
    "tcp_handshake_rtt_us" Integer nullable "Microseconds from the source's SYN to its acknowledgment of the destination's SYN; null where not all three were seen."
        => record.tcp.as_ref().and_then(handshake_rtt),
    "src_retransmissions" Integer nullable "Segments of the source that began with bytes which it had sent before; null for other protocols than TCP, and where packets were counted in the kernel."
        => record.tcp.as_ref().and_then(|tcp| tcp.source_retransmissions).map(count),
    "dst_retransmissions" Integer nullable "Segments of the destination that began with bytes which it had sent before; null for other protocols than TCP, and where packets were counted in the kernel."
        => record.tcp.as_ref().and_then(|tcp| tcp.destination_retransmissions).map(count),
    "src_process_pid" Integer nullable "Process id of the process at the source; null where that is not on this host, or not known."
        => source(record).map(pid),
    "src_process_start_time" Timestamp nullable "When the process at the source was started, to the hundredth of a second."
        => source(record).map(start_time),
    "src_process_comm" String nullable "Its command name." => source(record).map(comm),
    "src_process_exe" String nullable "The path of its executable; null where it could not be read."
        => source(record).and_then(exe),
    "src_process_uid" Integer nullable "Its real user id; null where it could not be read."
        => source(record).and_then(uid),
    "src_process_container" String nullable "The id of the container in which it runs; null outside of one."
        => source(record).and_then(container),
    "src_process_attribution" String nullable "How well it is known: `socket`, `listener` or `namespace`."
        => record.source_owner.as_ref().map(attribution),
    "dst_process_pid" Integer nullable "Process id of the process at the destination; null where that is not on this host, or not known."
        => destination(record).map(pid),
    "dst_process_start_time" Timestamp nullable "When the process at the destination was started, to the hundredth of a second."
        => destination(record).map(start_time),
    "dst_process_comm" String nullable "Its command name." => destination(record).map(comm),
    "dst_process_exe" String nullable "The path of its executable; null where it could not be read."
        => destination(record).and_then(exe),
    "dst_process_uid" Integer nullable "Its real user id; null where it could not be read."
        => destination(record).and_then(uid),
    "dst_process_container" String nullable "The id of the container in which it runs; null outside of one."
        => destination(record).and_then(container),
    "dst_process_attribution" String nullable "How well it is known: `socket`, `listener` or `namespace`."
        => record.destination_owner.as_ref().map(attribution),
}

fn source(record: &FlowRecord) -> Option<&Process> {
    record.source_owner.as_ref().map(|owner| &*owner.process)
}

fn destination(record: &FlowRecord) -> Option<&Process> {
    record.destination_owner.as_ref().map(|owner| &*owner.process)
}

/// The greatest integer where there are more.
fn count(count: u64) -> Value<'static> {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn handshake_rtt(tcp: &TcpConnection) -> Option<Value<'static>> {
    tcp.handshake_rtt.map(|rtt| Value::Integer(i64::try_from(rtt.as_micros()).unwrap_or(i64::MAX)))
}

fn pid(process: &Process) -> Value<'_> {
    Value::Integer(process.pid.into())
}

fn start_time(process: &Process) -> Value<'_> {
    Value::Timestamp(process.start_time)
}

fn comm(process: &Process) -> Value<'_> {
    Value::Text(&process.comm)
}

fn exe(process: &Process) -> Option<Value<'_>> {
    process.exe.as_deref().map(Value::Text)
}

fn uid(process: &Process) -> Option<Value<'_>> {
    process.uid.map(|uid| Value::Integer(uid.into()))
}

fn container(process: &Process) -> Option<Value<'_>> {
    process.container.as_deref().map(Value::Text)
}

fn attribution(owner: &Owner) -> Value<'_> {
    Value::Name(match owner.attribution {
        Attribution::Socket => "socket",
        Attribution::Listener => "listener",
        Attribution::Namespace => "namespace",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::flow_log::fixtures;

    #[test]
    fn the_first_thirteen_are_those_that_logs_of_flows_always_had() {
        let first: Vec<_> = COLUMNS[..13].iter().map(|it| (it.name, it.column_type)).collect();
        assert_eq!(
            first,
            [
                ("id", ColumnType::String),
                ("protocol", ColumnType::String),
                ("src_addr", ColumnType::String),
                ("dst_addr", ColumnType::String),
                ("src_port", ColumnType::Integer),
                ("dst_port", ColumnType::Integer),
                ("first_seen_at", ColumnType::Timestamp),
                ("last_seen_at", ColumnType::Timestamp),
                ("src_bytes", ColumnType::Integer),
                ("dst_bytes", ColumnType::Integer),
                ("src_packets", ColumnType::Integer),
                ("dst_packets", ColumnType::Integer),
                ("status", ColumnType::String),
            ]
        );
        let names: HashSet<_> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), COLUMNS.len());
    }

    #[test]
    fn the_document_tells_of_each_column() {
        let document = include_str!("../../../../docs/flow-schema.md");
        let told = document.lines().skip_while(|line| !line.starts_with("| column |")).skip(2);
        let told: Vec<_> = told.take_while(|line| line.starts_with('|')).collect();
        let row = |column: &Column| {
            let Column { name, column_type, is_nullable, description, .. } = column;
            let null = if *is_nullable { " or null" } else { "" };
            format!("| `{name}` | {}{null} | {description} |", column_type.name())
        };
        let rows: Vec<_> = COLUMNS.iter().map(row).collect();
        assert!(told == rows, "docs/flow-schema.md should say:\n{}", rows.join("\n"));
        assert!(document.contains(&format!("version of this schema: {SCHEMA_VERSION}")));
    }

    #[test]
    fn flags_are_letters_in_the_order_of_the_header() {
        let shown = |flags| TcpFlags(flags).to_string();
        assert_eq!(shown(0), "");
        assert_eq!(shown(0x1b), "APSF");
        assert_eq!(shown(0xff), "CEUAPRSF");
    }

    proptest! {
        #[test]
        fn values_are_of_the_type_of_their_column(record in fixtures::any_record()) {
            for column in &COLUMNS {
                match column.value(&record) {
                    Some(value) => prop_assert_eq!(value.column_type(), column.column_type),
                    None => prop_assert!(column.is_nullable, "{}", column.name),
                }
            }
        }
    }
}
