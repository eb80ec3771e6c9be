//! One JSON object a line, written by hand: at a few hundred thousand calls a second everything else
//! costs the programs that are watched more than the watching does.

use std::net::SocketAddr;

use netglass_kernel::calls::{Subject, ToldCall};
use netglass_model::{
    Call, CallConnection, CallName, CallPhase, Caller, CommandName, SocketPath, Timestamp,
    digits::append_integer,
};

use super::{
    errno,
    payload::{push_characters, push_hexadecimal},
    text::{plain_or_text, push_display, push_endpoint},
    words::{family_of, protocol_name},
};

/// How many callers and connections are remembered as they were written.
const REMEMBERED: usize = 256;

/// Writes calls.
#[derive(Debug)]
pub(super) struct Json {
    /// How a call's object begins, by its name, with the version of the objects' schema
    /// (docs/stream.md).
    beginnings: Vec<String>,
    /// Who called on what, where there is no more to it.
    subjects: Box<[Remembered<Subject>]>,
    callers: Box<[Remembered<Caller>]>,
    connections: Box<[Remembered<CallConnection>]>,
}

/// What was written of the last one that had this place: one thread makes many calls, most of them
/// on a few connections.
#[derive(Debug, Clone)]
struct Remembered<T> {
    of: Option<T>,
    text: Vec<u8>,
}

impl<T: Copy + Eq> Remembered<T> {
    fn many() -> Box<[Self]> {
        vec![Self { of: None, text: Vec::new() }; REMEMBERED].into()
    }

    fn write(&mut self, what: &T, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.of.as_ref() != Some(what) {
            self.text.clear();
            write(&mut self.text);
            self.of = Some(*what);
        }
        out.extend_from_slice(&self.text);
    }
}

/// What each call has for itself, as it is told.
struct Head {
    name: CallName,
    phase: CallPhase,
    result: i64,
    at: Timestamp,
    duration_ns: Option<u64>,
}

impl Json {
    pub(super) fn new() -> Self {
        let beginning =
            |name: &CallName| format!("{{\"version\":1,\"call\":\"{name}\",\"return\":");
        Self {
            beginnings: CallName::ALL.iter().map(beginning).collect(),
            subjects: Remembered::many(),
            callers: Remembered::many(),
            connections: Remembered::many(),
        }
    }

    /// Writes a call that was told of.
    pub(super) fn write_told(&mut self, told: &ToldCall<'_>, out: &mut Vec<u8>) {
        let Some(subject) = told.subject() else {
            return self.write_call(&told.call(), told.payload(), out);
        };
        self.write_head(
            &Head {
                name: told.name(),
                phase: told.phase(),
                result: told.result(),
                at: told.at(),
                duration_ns: told.duration_ns(),
            },
            out,
        );
        match place(&mut self.subjects, number_of(subject)) {
            Some(remembered) if remembered.of.as_ref() == Some(subject) => {
                out.extend_from_slice(&remembered.text);
            }
            _ => self.write_subject(&told.call(), Some(subject), out),
        }
        out.extend_from_slice(b",\"length\":");
        integer_or_null(out, told.length());
        out.extend_from_slice(b"}\n");
    }

    /// Writes a call.
    pub(super) fn write_call(&mut self, call: &Call, payload: &[u8], out: &mut Vec<u8>) {
        let duration_ns = call.duration.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
        let Call { name, phase, result, at, .. } = *call;
        self.write_head(&Head { name, phase, result, at, duration_ns }, out);
        self.write_subject(call, None, out);
        out.extend_from_slice(b",\"length\":");
        integer_or_null(out, call.length);
        if let Some(address) = call.address {
            endpoint(b",\"address\":", Some(address), out);
        }
        if let Some(bytes) = call.transferred
            && i64::try_from(bytes) != Ok(call.result)
        {
            out.extend_from_slice(b",\"bytes\":");
            append_integer(bytes, out);
        }
        if !payload.is_empty() {
            out.extend_from_slice(b",\"payload_hex\":\"");
            push_hexadecimal(out, payload);
            out.extend_from_slice(b"\",\"payload_text\":\"");
            push_characters(out, payload);
            out.push(b'"');
        }
        out.extend_from_slice(b"}\n");
    }

    fn write_head(&self, head: &Head, out: &mut Vec<u8>) {
        let beginning = self.beginnings.get(head.name as usize);
        out.extend_from_slice(beginning.map_or(&[], |it| it.as_bytes()));
        match head.phase {
            CallPhase::Returned => append_integer(head.result, out),
            CallPhase::Entered => out.extend_from_slice(b"null,\"phase\":\"enter\""),
            CallPhase::Pending => out.extend_from_slice(b"null,\"phase\":\"pending\""),
        }
        match head.phase.error(head.result).map(|number| errno::name(number).ok_or(number)) {
            None => {}
            Some(Ok(name)) => {
                out.extend_from_slice(b",\"error\":");
                quoted(out, name);
            }
            Some(Err(number)) => push_display(out, format_args!(",\"error\":\"errno {number}\"")),
        }
        out.extend_from_slice(b",\"time_ns\":");
        append_integer(head.at.as_nanoseconds(), out);
        out.extend_from_slice(b",\"duration_ns\":");
        integer_or_null(out, head.duration_ns);
    }

    /// Writes who called on what, and remembers it where that is all there is.
    fn write_subject(&mut self, call: &Call, subject: Option<&Subject>, out: &mut Vec<u8>) {
        let begin = out.len();
        let caller = &call.caller;
        match place(&mut self.callers, caller.tid) {
            Some(remembered) => remembered.write(caller, out, |out| write_caller(caller, out)),
            None => write_caller(caller, out),
        }
        out.extend_from_slice(b",\"fd\":");
        integer_or_null(out, call.fd);
        self.write_connection(call, out);
        let Some(subject) = subject else { return };
        if let Some(remembered) = place(&mut self.subjects, number_of(subject)) {
            remembered.of = Some(*subject);
            remembered.text.clear();
            remembered.text.extend_from_slice(out.get(begin..).unwrap_or_default());
        }
    }

    fn write_connection(&mut self, call: &Call, out: &mut Vec<u8>) {
        let connection = match &call.connection {
            Some(connection) if call.paths == [SocketPath::NONE; 2] => connection,
            connection => return write_connection(call, connection.as_ref(), out),
        };
        let port = |endpoint: Option<SocketAddr>| {
            endpoint.map_or(0, |endpoint| u32::from(endpoint.port()))
        };
        let number = port(connection.local) ^ port(connection.remote).rotate_left(7);
        // What is not written makes no difference to what is.
        let written = CallConnection { state: 0, ..*connection };
        match place(&mut self.connections, number) {
            Some(remembered) => {
                remembered
                    .write(&written, out, |out| write_connection(call, Some(connection), out));
            }
            None => write_connection(call, Some(connection), out),
        }
    }
}

fn place<T>(places: &mut [Remembered<T>], number: u32) -> Option<&mut Remembered<T>> {
    places.get_mut(usize::try_from(number).unwrap_or_default() % REMEMBERED)
}

/// A number for a subject, of what differs most: thread, descriptor, ports.
fn number_of(subject: &Subject) -> u32 {
    let word = |at: usize| {
        subject.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |it| u32::from_ne_bytes(*it))
    };
    let [thread, descriptor, ports] = [6, 18, 34].map(word);
    let mixed = (thread ^ ports.rotate_left(13)).wrapping_add(descriptor.rotate_left(7));
    mixed.wrapping_mul(0x9e37_79b1) >> 16
}

fn write_caller(caller: &Caller, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"pid\":");
    append_integer(caller.pid, out);
    out.extend_from_slice(b",\"tid\":");
    append_integer(caller.tid, out);
    out.extend_from_slice(b",\"comm\":");
    name(out, &caller.comm);
    out.extend_from_slice(b",\"ppid\":");
    append_integer(caller.ppid, out);
    out.extend_from_slice(b",\"pcomm\":");
    name(out, &caller.parent_comm);
    out.extend_from_slice(b",\"uid\":");
    append_integer(caller.uid, out);
}

fn write_connection(call: &Call, connection: Option<&CallConnection>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"family\":");
    match family_of(call) {
        None => null(out),
        Some(Ok(name)) => quoted(out, name),
        Some(Err(number)) => push_display(out, format_args!("\"{number}\"")),
    }
    out.extend_from_slice(b",\"protocol\":");
    match connection.map(protocol_name) {
        Some(Some(name)) => quoted(out, name),
        Some(None) | None => null(out),
    }
    let [local, remote] = &call.paths;
    end(b",\"local\":", connection.and_then(|it| it.local), local, out);
    end(b",\"remote\":", connection.and_then(|it| it.remote), remote, out);
    if let Some(connection) = connection {
        out.extend_from_slice(b",\"netns\":");
        append_integer(connection.namespace.0, out);
        if let Some(cookie) = connection.cookie {
            out.extend_from_slice(b",\"cookie\":");
            append_integer(cookie, out);
        }
    }
}

/// An end of a connection: a path, or an endpoint.
fn end(key: &[u8], address: Option<SocketAddr>, path: &SocketPath, out: &mut Vec<u8>) {
    match path.text() {
        None => endpoint(key, address, out),
        Some(path) => {
            out.extend_from_slice(key);
            // Text is always JSON, and a Vec always takes it.
            drop(serde_json::to_writer(out, &path));
        }
    }
}

fn endpoint(key: &[u8], endpoint: Option<SocketAddr>, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    match endpoint {
        None => null(out),
        Some(endpoint) => {
            out.push(b'"');
            push_endpoint(out, endpoint);
            out.push(b'"');
        }
    }
}

/// Says that calls were lost.
pub(super) fn write_loss(reason: &str, count: u64, out: &mut Vec<u8>) {
    push_display(out, format_args!("{{\"version\":1,\"lost\":{count},\"reason\":\"{reason}\"}}\n"));
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

fn quoted(out: &mut Vec<u8>, plain: &str) {
    out.push(b'"');
    out.extend_from_slice(plain.as_bytes());
    out.push(b'"');
}

fn integer_or_null(out: &mut Vec<u8>, number: Option<impl TryInto<i128>>) {
    match number {
        Some(number) => append_integer(number, out),
        None => null(out),
    }
}

fn name(out: &mut Vec<u8>, name: &CommandName) {
    match plain_or_text(name) {
        Ok(plain) => {
            out.push(b'"');
            out.extend_from_slice(plain);
            out.push(b'"');
        }
        // Text is always JSON, and a Vec always takes it.
        Err(text) => drop(serde_json::to_writer(out, &text)),
    }
}

#[cfg(test)]
mod tests {
    use netglass_model::CallName;

    use super::{super::fixtures::call, *};

    fn written(call: &Call) -> String {
        let (mut json, mut out) = (Json::new(), Vec::new());
        json.write_call(call, b"", &mut out);
        let text = String::from_utf8(out).unwrap();
        // As it is remembered.
        let mut again = Vec::new();
        json.write_call(call, b"", &mut again);
        assert_eq!(text.as_bytes(), again);
        let _: serde_json::Value = serde_json::from_str(&text).unwrap();
        text.trim_end().to_owned()
    }

    #[test]
    fn a_call_is_one_line() {
        insta::assert_snapshot!(written(&call()), @r#"{"version":1,"call":"write","return":146,"time_ns":1700000000000700000,"duration_ns":12345,"pid":18423,"tid":18424,"comm":"wget","ppid":18422,"pcomm":"sudo","uid":1000,"fd":3,"family":"AF_INET","protocol":"tcp","local":"127.0.0.1:57032","remote":"127.0.0.1:80","netns":4026531840,"cookie":77,"length":146}"#);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let mut call = call();
        call.name = CallName::Socket;
        call.result = -97;
        (call.connection, call.fd, call.duration) = (None, None, None);
        (call.length, call.transferred, call.family) = (None, None, Some(99));
        call.caller.comm = CommandName::new(b"a\"\x1b\xff");
        insta::assert_snapshot!(written(&call), @r#"{"version":1,"call":"socket","return":-97,"error":"EAFNOSUPPORT","time_ns":1700000000000700000,"duration_ns":null,"pid":18423,"tid":18424,"comm":"a\"\u001b\\xff","ppid":18422,"pcomm":"sudo","uid":1000,"fd":null,"family":"99","protocol":null,"local":null,"remote":null,"length":null}"#);
    }

    #[test]
    fn what_was_sent_is_digits_and_text() {
        let mut out = Vec::new();
        Json::new().write_call(&call(), b"GET \"\\\n\xff", &mut out);
        let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(object["payload_hex"], "47455420225c0aff");
        assert_eq!(object["payload_text"], "GET ....");
    }

    #[test]
    fn a_unix_socket_has_paths() {
        let mut call = call();
        call.paths = [SocketPath::new(b"/run/\"a\"\0"), SocketPath::new(b"\0b")];
        let text = written(&call);
        assert!(text.contains(r#","local":"/run/\"a\"","remote":"@b","#), "{text}");
    }

    #[test]
    fn a_loss_is_one_line() {
        let mut out = Vec::new();
        write_loss("ring_full", 7, &mut out);
        assert_eq!(out, b"{\"version\":1,\"lost\":7,\"reason\":\"ring_full\"}\n");
    }
}
