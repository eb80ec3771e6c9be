//! JSON Lines: one record a line. What has no value is left out.

use std::io::Write as _;

use netglass_model::FlowRecord;

use super::{
    columns::{self, ColumnType, SCHEMA_VERSION, Value, Visitor},
    text::Text,
};

/// Behind which column the version of the schema stands: it is the last one that has to come first.
const BEFORE_VERSION: &str = "status";

/// Appends a record.
pub(super) fn append(record: &FlowRecord, text: &mut Text<'_>) {
    let start = text.out.len();
    columns::visit(record, &mut Object(text));
    // Each value has a comma before it, the first one too.
    if let Some(first) = text.out.get_mut(start) {
        *first = b'{';
    }
    text.bytes(b"}\n");
}

/// Values of an object, each with a comma before it.
struct Object<'a, 'b>(&'a mut Text<'b>);

impl Visitor for Object<'_, '_> {
    #[expect(clippy::inline_always, reason = "so that each column has code of its own")]
    #[inline(always)]
    fn visit(
        &mut self,
        name: &'static str,
        key: &'static str,
        column_type: ColumnType,
        value: Option<Value<'_>>,
    ) {
        let Some(value) = value else { return };
        self.0.bytes(key.as_bytes());
        if let Some(text) = self.0.append(value) {
            append_escaped(text, self.0.out);
        }
        if column_type != ColumnType::Integer {
            self.0.out.push(b'"');
        }
        if name == BEFORE_VERSION {
            append_version(self.0);
        }
    }
}

fn append_version(text: &mut Text<'_>) {
    text.bytes(b",\"version\":");
    text.append(Value::Integer(SCHEMA_VERSION.into()));
}

/// What stands between the quotes. DEL and the C1 control characters are escaped too, which JSON
/// allows in a string, but which some terminals obey.
fn append_escaped(text: &str, out: &mut Vec<u8>) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            control if control.is_control() => {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;
    use crate::flow_log::{COLUMNS, fixtures};

    fn line(record: &FlowRecord) -> String {
        let mut out = Vec::new();
        append(record, &mut Text::new(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_one_line() {
        insta::assert_snapshot!(line(&fixtures::record()), @r#"
{"id":"0190b4e0-0000-7000-8000-000000000001","protocol":"tcp","src_addr":"10.0.0.11","dst_addr":"fe80::1","src_port":40312,"dst_port":443,"first_seen_at":"2023-11-14T22:13:20.123456789Z","last_seen_at":"2023-11-14T22:13:21.000000000Z","src_bytes":1258,"dst_bytes":56623,"src_packets":12,"dst_packets":44,"status":"established","version":1,"end_reason":"closed","interface":"eth0","tcp_state":"SF","src_tcp_flags":"APSF","dst_tcp_flags":"ASF","tcp_handshake_rtt_us":120,"src_retransmissions":1,"dst_retransmissions":0,"src_process_pid":5982,"src_process_start_time":"2023-11-14T22:13:10.120000000Z","src_process_comm":"wrk","src_process_exe":"/usr/bin/wrk","src_process_uid":1000,"src_process_attribution":"socket"}
"#);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        insta::assert_snapshot!(line(&fixtures::bare_record()), @r#"
{"id":"0190b4e0-0000-7000-8000-000000000002","protocol":"47","src_addr":"10.0.0.11","dst_addr":"fe80::1","src_port":0,"dst_port":0,"first_seen_at":"2023-11-14T22:13:20.123456789Z","last_seen_at":"2023-11-14T22:13:21.000000000Z","src_bytes":1258,"dst_bytes":56623,"src_packets":12,"dst_packets":44,"status":"init","version":1,"end_reason":"capture_end"}
"#);
    }

    #[test]
    fn names_are_escaped() {
        insta::assert_snapshot!(line(&fixtures::nasty_record()), @r#"
{"id":"0190b4e0-0000-7000-8000-000000000001","protocol":"tcp","src_addr":"10.0.0.11","dst_addr":"fe80::1","src_port":40312,"dst_port":443,"first_seen_at":"2023-11-14T22:13:20.123456789Z","last_seen_at":"2023-11-14T22:13:21.000000000Z","src_bytes":1258,"dst_bytes":56623,"src_packets":12,"dst_packets":44,"status":"established","version":1,"end_reason":"closed","interface":"a\"b\\c,d\r\ne\tf\u001b[31m\u007f\u009b\u0000é =1+1","tcp_state":"SF","src_tcp_flags":"APSF","dst_tcp_flags":"ASF","tcp_handshake_rtt_us":120,"src_retransmissions":1,"dst_retransmissions":0,"src_process_pid":5982,"src_process_start_time":"2023-11-14T22:13:10.120000000Z","src_process_comm":"wrk","src_process_exe":"/usr/bin/wrk","src_process_uid":1000,"src_process_attribution":"socket","dst_process_pid":5982,"dst_process_start_time":"2023-11-14T22:13:10.120000000Z","dst_process_comm":"a\"b\\c,d\r\ne\tf\u001b[31m\u007f\u009b\u0000é =1+1","dst_process_exe":"/usr/bin/a\"b\\c,d\r\ne\tf\u001b[31m\u007f\u009b\u0000é =1+1","dst_process_uid":1000,"dst_process_attribution":"socket"}
"#);
    }

    #[test]
    fn the_version_follows_what_comes_first() {
        let line = line(&fixtures::record());
        let keys: Vec<_> = line.split("\":").filter_map(|it| it.rsplit('"').next()).collect();
        let first: Vec<_> = COLUMNS[..13].iter().map(|column| column.name).collect();
        assert_eq!(keys[..13], first);
        assert_eq!(keys[13..15], ["version", COLUMNS[13].name]);
    }

    proptest! {
        #[test]
        fn any_record_comes_back(record in fixtures::any_record()) {
            let line = line(&record);
            prop_assert!(line.ends_with('\n') && !line.trim_end().contains(char::is_control));
            let read: Json = serde_json::from_str(&line).unwrap();
            let mut keys = 1;
            prop_assert_eq!(&read["version"], SCHEMA_VERSION);
            for column in &COLUMNS {
                let Some(value) = column.value(&record) else {
                    prop_assert_eq!(read.get(column.name), None);
                    continue;
                };
                keys += 1;
                let read = &read[column.name];
                match value {
                    Value::Integer(integer) => prop_assert_eq!(read.as_i64(), Some(integer)),
                    Value::Timestamp(moment) => {
                        let read: jiff::Timestamp = read.as_str().unwrap().parse().unwrap();
                        let nanoseconds = i128::from(moment.as_nanoseconds());
                        prop_assert_eq!(read.as_nanosecond(), nanoseconds);
                    }
                    text => prop_assert_eq!(read.as_str().unwrap(), text.to_string()),
                }
            }
            prop_assert_eq!(read.as_object().unwrap().len(), keys);
        }
    }
}
