//! CSV after RFC 4180: a header, then one record for each flow. What has no value is empty.

use netglass_model::{FlowRecord, printable};

use super::{
    columns::{self, COLUMNS, ColumnType, Value, Visitor},
    text::Text,
};

/// Appends the names of the columns.
pub(super) fn append_header(out: &mut Vec<u8>) {
    for (index, column) in COLUMNS.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(column.name.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a record. What a name should not do to a terminal is escaped where `escapes` says so.
pub(super) fn append(record: &FlowRecord, escapes: bool, text: &mut Text<'_>) {
    columns::visit(record, &mut Fields { escapes, text });
    // The comma behind the last field.
    text.out.pop();
    text.bytes(b"\r\n");
}

/// Fields of a record, each with a comma behind it.
struct Fields<'a, 'b> {
    escapes: bool,
    text: &'a mut Text<'b>,
}

impl Visitor for Fields<'_, '_> {
    #[expect(clippy::inline_always, reason = "so that each column has code of its own")]
    #[inline(always)]
    fn visit(&mut self, _: &'static str, _: &'static str, _: ColumnType, value: Option<Value<'_>>) {
        if let Some(field) = value.and_then(|value| self.text.append(value)) {
            if self.escapes {
                append_field(&printable(field), self.text.out);
            } else {
                append_field(field, self.text.out);
            }
        }
        self.text.out.push(b',');
    }
}

fn append_field(field: &str, out: &mut Vec<u8>) {
    if !field.contains([',', '"', '\r', '\n']) {
        out.extend_from_slice(field.as_bytes());
        return;
    }
    out.push(b'"');
    for part in field.split_inclusive('"') {
        out.extend_from_slice(part.as_bytes());
        if part.ends_with('"') {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use netglass_testing::csv_records;
    use proptest::prelude::*;

    use super::*;
    use crate::flow_log::fixtures;

    fn written(records: &[FlowRecord], escapes: bool) -> String {
        let mut out = Vec::new();
        append_header(&mut out);
        for record in records {
            append(record, escapes, &mut Text::new(&mut out));
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_flow_is_one_record() {
        let records = [fixtures::record(), fixtures::bare_record()];
        insta::assert_snapshot!(written(&records, false).replace('\r', ""), @r#"
id,protocol,src_addr,dst_addr,src_port,dst_port,first_seen_at,last_seen_at,src_bytes,dst_bytes,src_packets,dst_packets,status,end_reason,interface,tcp_state,src_tcp_flags,dst_tcp_flags,tcp_handshake_rtt_us,src_retransmissions,dst_retransmissions,src_process_pid,src_process_start_time,src_process_comm,src_process_exe,src_process_uid,src_process_container,src_process_attribution,dst_process_pid,dst_process_start_time,dst_process_comm,dst_process_exe,dst_process_uid,dst_process_container,dst_process_attribution
0190b4e0-0000-7000-8000-000000000001,tcp,10.0.0.11,fe80::1,40312,443,2023-11-14T22:13:20.123456789Z,2023-11-14T22:13:21.000000000Z,1258,56623,12,44,established,closed,eth0,SF,APSF,ASF,120,1,0,5982,2023-11-14T22:13:10.120000000Z,wrk,/usr/bin/wrk,1000,,socket,,,,,,,
0190b4e0-0000-7000-8000-000000000002,47,10.0.0.11,fe80::1,0,0,2023-11-14T22:13:20.123456789Z,2023-11-14T22:13:21.000000000Z,1258,56623,12,44,init,capture_end,,,,,,,,,,,,,,,,,,,,,
"#);
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let text = written(&[fixtures::nasty_record()], true);
        assert!(!text.replace("\r\n", "").contains(char::is_control), "{text}");
        assert!(text.contains(r#""a""b\c,d\r\ne\tf\u{1b}[31m\u{7f}\u{9b}\u{0}"#), "{text}");
    }

    proptest! {
        #[test]
        fn any_record_comes_back(record in fixtures::any_record()) {
            let read = csv_records(&written(std::slice::from_ref(&record), false));
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!(read[1].len(), COLUMNS.len());
            for ((column, name), field) in COLUMNS.iter().zip(&read[0]).zip(&read[1]) {
                prop_assert_eq!(column.name, name);
                match column.value(&record) {
                    None => prop_assert_eq!(field, ""),
                    Some(Value::Timestamp(moment)) => {
                        let read: jiff::Timestamp = field.parse().unwrap();
                        let nanoseconds = i128::from(moment.as_nanoseconds());
                        prop_assert_eq!(read.as_nanosecond(), nanoseconds);
                    }
                    Some(value) => prop_assert_eq!(field, &value.to_string()),
                }
            }
        }
    }
}
