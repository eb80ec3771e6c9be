//! Comma-separated values (RFC 4180) and tab-separated values: a header, then one call a line.

use netglass_model::{Call, CallPhase, CommandName, digits::append_integer};

use super::{
    errno,
    payload::{push_characters, push_hexadecimal},
    text::{plain_or_text, push_display, push_endpoint},
    words::{family_of, protocol_name},
};

/// As the keys of the JSON objects.
const COLUMNS: [&str; 24] = [
    "call",
    "phase",
    "return",
    "error",
    "time_ns",
    "duration_ns",
    "pid",
    "tid",
    "comm",
    "ppid",
    "pcomm",
    "uid",
    "fd",
    "family",
    "protocol",
    "local",
    "remote",
    "address",
    "netns",
    "cookie",
    "length",
    "bytes",
    "payload_hex",
    "payload_text",
];

/// What stands between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Comma,
    Tab,
}

impl Separator {
    const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Tab => b'\t',
        }
    }

    pub(super) fn write_heading(self, out: &mut Vec<u8>) {
        for (index, column) in COLUMNS.into_iter().enumerate() {
            if index > 0 {
                out.push(self.byte());
            }
            out.extend_from_slice(column.as_bytes());
        }
        out.extend_from_slice(self.line_end());
    }

    const fn line_end(self) -> &'static [u8] {
        match self {
            Self::Comma => b"\r\n",
            Self::Tab => b"\n",
        }
    }

    /// Writes a call; what is not known is empty.
    pub(super) fn write_call(self, call: &Call, payload: &[u8], out: &mut Vec<u8>) {
        let next = |out: &mut Vec<u8>| out.push(self.byte());
        let caller = &call.caller;
        let connection = call.connection.as_ref();
        out.extend_from_slice(call.name.name().as_bytes());
        next(out);
        out.extend_from_slice(match call.phase {
            CallPhase::Returned => b"return",
            CallPhase::Entered => b"enter",
            CallPhase::Pending => b"pending",
        });
        next(out);
        optional(out, (call.phase == CallPhase::Returned).then_some(call.result));
        next(out);
        match call.error().map(|number| errno::name(number).ok_or(number)) {
            None => {}
            Some(Ok(name)) => out.extend_from_slice(name.as_bytes()),
            Some(Err(number)) => push_display(out, format_args!("errno {number}")),
        }
        next(out);
        append_integer(call.at.as_nanoseconds(), out);
        next(out);
        optional(out, call.duration.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)));
        for id in [caller.pid, caller.tid] {
            next(out);
            append_integer(id, out);
        }
        next(out);
        self.name(out, &caller.comm);
        next(out);
        append_integer(caller.ppid, out);
        next(out);
        self.name(out, &caller.parent_comm);
        next(out);
        append_integer(caller.uid, out);
        next(out);
        optional(out, call.fd);
        next(out);
        match family_of(call) {
            None => {}
            Some(Ok(name)) => out.extend_from_slice(name.as_bytes()),
            Some(Err(number)) => append_integer(number, out),
        }
        next(out);
        let protocol = connection.and_then(protocol_name).unwrap_or_default();
        out.extend_from_slice(protocol.as_bytes());
        let ends = [connection.and_then(|it| it.local), connection.and_then(|it| it.remote)];
        for (endpoint, path) in ends.into_iter().zip(&call.paths) {
            next(out);
            match (path.text(), endpoint) {
                (Some(path), _) => self.text(out, &path),
                (None, Some(endpoint)) => push_endpoint(out, endpoint),
                (None, None) => {}
            }
        }
        next(out);
        if let Some(address) = call.address {
            push_endpoint(out, address);
        }
        next(out);
        optional(out, connection.map(|it| it.namespace.0));
        next(out);
        optional(out, connection.and_then(|it| it.cookie));
        next(out);
        optional(out, call.length);
        next(out);
        optional(out, call.transferred);
        next(out);
        push_hexadecimal(out, payload);
        next(out);
        if self == Self::Comma {
            out.push(b'"');
            push_characters(out, payload);
            out.push(b'"');
        } else {
            push_characters(out, payload);
        }
        out.extend_from_slice(self.line_end());
    }

    fn name(self, out: &mut Vec<u8>, name: &CommandName) {
        match plain_or_text(name) {
            Ok(plain) => out.extend_from_slice(plain),
            Err(text) => self.text(out, &text),
        }
    }

    fn text(self, out: &mut Vec<u8>, text: &str) {
        match self {
            Self::Comma => push_display(out, format_args!("\"{}\"", text.replace('"', "\"\""))),
            // There is no quoting in tab-separated values.
            Self::Tab => push_display(out, text.escape_default()),
        }
    }
}

fn optional(out: &mut Vec<u8>, number: Option<impl TryInto<i128>>) {
    if let Some(number) = number {
        append_integer(number, out);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::call, *};

    fn written(separator: Separator) -> String {
        let mut out = Vec::new();
        separator.write_heading(&mut out);
        separator.write_call(&call(), b"a,\t\"", &mut out);
        let mut strange = call();
        strange.caller.comm = CommandName::new(b"a,\t\"b\"\n");
        (strange.connection, strange.fd) = (None, None);
        separator.write_call(&strange, b"", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_call_is_one_record() {
        let records = netglass_testing::csv_records(&written(Separator::Comma));
        assert_eq!(records.len(), 3);
        assert!(records.iter().all(|record| record.len() == COLUMNS.len()), "{records:?}");
        assert_eq!(records[0], COLUMNS);
        assert_eq!((records[1][0].as_str(), records[1][15].as_str()), ("write", "127.0.0.1:57032"));
        assert_eq!(records[2][8], "a,\t\"b\"\n");
        assert_eq!((records[1][22].as_str(), records[1][23].as_str()), ("612c0922", "a,.."));
    }

    #[test]
    fn tabs_stand_between_values_alone() {
        let text = written(Separator::Tab);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.split('\t').count() == COLUMNS.len()), "{text}");
    }
}
