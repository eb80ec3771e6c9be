//! Columns for people, with the words of what they know from elsewhere.

use anstyle::{AnsiColor, Style};
use netglass_model::{
    Call, CallName, CallPhase, CommandName, SocketPath, Timestamp, Transfer,
    digits::append_integer, printable,
};

use super::{
    errno,
    payload::push_dump,
    text::{plain_or_text, push_display, push_endpoint},
    words::family_name,
};
use crate::time::show_latency;

const FAILED: Style = AnsiColor::Red.on_default();
const DIMMED: Style = Style::new().dimmed();

const TITLES: [(&str, usize); 8] = [
    ("TIME(s)", 10),
    ("FUNC", 20),
    ("PID", 7),
    ("COMM", 15),
    ("PPID", 7),
    ("PCOMM", 15),
    ("SOCKFD", 6),
    ("LEN", 8),
];

/// Writes calls as lines of a table.
#[derive(Debug, Default)]
pub(super) struct Table {
    is_colored: bool,
    shows_phases: bool,
    /// The moment of the first call, from which time is counted.
    begin: Option<Timestamp>,
}

impl Table {
    pub(super) fn new(is_colored: bool, shows_phases: bool) -> Self {
        Self { is_colored, shows_phases, begin: None }
    }

    pub(super) fn write_heading(&self, out: &mut Vec<u8>) {
        self.begin_style(DIMMED, out);
        for (title, width) in TITLES {
            push_display(out, format_args!("{title:width$} "));
        }
        out.extend_from_slice(b"Notes");
        self.end_style(DIMMED, out);
        out.push(b'\n');
    }

    pub(super) fn write_call(&mut self, call: &Call, payload: &[u8], out: &mut Vec<u8>) {
        let begin = *self.begin.get_or_insert(call.at);
        let since = call.at.as_nanoseconds().saturating_sub(begin.as_nanoseconds());
        let mut line = Line { out, column: 0 };
        line.cell(|out| push_seconds(out, since));
        line.cell(|out| {
            out.extend_from_slice(call.name.name().as_bytes());
            if self.shows_phases && call.phase == CallPhase::Returned {
                out.extend_from_slice(b"_RETURN");
            }
        });
        line.cell(|out| append_integer(call.caller.pid, out));
        line.cell(|out| push_name(out, &call.caller.comm));
        line.cell(|out| append_integer(call.caller.ppid, out));
        line.cell(|out| push_name(out, &call.caller.parent_comm));
        line.cell(|out| {
            if let Some(fd) = call.fd {
                append_integer(fd, out);
            }
        });
        let error = call.error();
        if error.is_some() {
            self.begin_style(FAILED, line.out);
        }
        line.cell(|out| push_outcome(out, call));
        if error.is_some() {
            self.end_style(FAILED, line.out);
        }
        let Line { out, .. } = line;
        self.write_notes(call, out);
        while out.last() == Some(&b' ') {
            out.pop();
        }
        out.push(b'\n');
        push_dump(out, payload);
    }

    pub(super) fn write_loss(&self, reason: &str, count: u64, out: &mut Vec<u8>) {
        self.begin_style(FAILED, out);
        let calls = if count == 1 { "call was" } else { "calls were" };
        push_display(out, format_args!("-- {count} {calls} lost here: {reason}"));
        self.end_style(FAILED, out);
        out.push(b'\n');
    }

    fn write_notes(&self, call: &Call, out: &mut Vec<u8>) {
        push_ends(out, call);
        push_words(out, call);
        if call.phase == CallPhase::Entered {
            return;
        }
        let is_pending = call.phase == CallPhase::Pending;
        self.begin_style(DIMMED, out);
        match call.duration {
            Some(duration) if is_pending => {
                push_display(out, format_args!("pending for {}", show_latency(duration)));
            }
            Some(duration) => push_display(out, format_args!("{}", show_latency(duration))),
            None => out.extend_from_slice(b"began before"),
        }
        self.end_style(DIMMED, out);
    }

    fn begin_style(&self, style: Style, out: &mut Vec<u8>) {
        if self.is_colored {
            push_display(out, style.render());
        }
    }

    fn end_style(&self, style: Style, out: &mut Vec<u8>) {
        if self.is_colored {
            push_display(out, style.render_reset());
        }
    }
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
}

impl Line<'_> {
    /// Writes a cell, and spaces up to the next one.
    fn cell(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        write(self.out);
        let width = TITLES.get(self.column).map_or(0, |&(_, width)| width);
        let end = (start + width).max(self.out.len()) + 1;
        self.out.resize(end, b' ');
        self.column += 1;
    }
}

fn push_seconds(out: &mut Vec<u8>, nanoseconds: i64) {
    let tenths = nanoseconds.unsigned_abs() / 100_000;
    let sign = if nanoseconds < 0 && tenths > 0 { "-" } else { "" };
    push_display(out, format_args!("{sign}{}.{:04}", tenths / 10_000, tenths % 10_000));
}

fn push_name(out: &mut Vec<u8>, name: &CommandName) {
    match plain_or_text(name) {
        Ok(plain) => out.extend_from_slice(plain),
        Err(text) => out.extend_from_slice(printable(&text).as_bytes()),
    }
}

/// How many bytes went through, or the error's name.
fn push_outcome(out: &mut Vec<u8>, call: &Call) {
    match (call.error(), call.transferred) {
        (Some(number), _) => match errno::name(number) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => push_display(out, format_args!("errno {number}")),
        },
        (None, Some(bytes)) => append_integer(bytes, out),
        (None, None) => {}
    }
}

/// Between whom: as far as the socket, or the call, knows.
fn push_ends(out: &mut Vec<u8>, call: &Call) {
    let makes_none = matches!(call.name, CallName::Socket | CallName::Socketpair);
    let local = call.connection.and_then(|connection| connection.local);
    let begins = call.phase == CallPhase::Entered && call.name == CallName::Connect;
    let remote = if begins { call.address } else { call.remote() };
    if makes_none {
        return;
    }
    if push_paths(out, call) {
        return;
    }
    // Before it is bound, a socket has an address of nothing but zeros.
    let local = match call.name {
        CallName::Bind if call.phase == CallPhase::Entered => call.address,
        _ => local.filter(|it| it.port() != 0 || !it.ip().is_unspecified()),
    };
    let length = out.len();
    if let Some(local) = local {
        push_endpoint(out, local);
    }
    if let Some(remote) = remote {
        out.extend_from_slice(b" -> ");
        push_endpoint(out, remote);
    }
    if out.len() > length {
        out.extend_from_slice(b"  ");
    }
}

/// Between which paths; whether there is one.
fn push_paths(out: &mut Vec<u8>, call: &Call) -> bool {
    let [local, remote] = call.paths.each_ref().map(SocketPath::text);
    match (local, remote) {
        (None, None) => return false,
        (Some(local), None) => push_display(out, format_args!("{}  ", printable(&local))),
        (local, Some(remote)) => {
            let local = local.unwrap_or_default();
            push_display(out, format_args!("{} -> {}  ", printable(&local), printable(&remote)));
        }
    }
    true
}

/// What was done, in words.
fn push_words(out: &mut Vec<u8>, call: &Call) {
    let [first, second] = call.details;
    let length = out.len();
    match call.name {
        CallName::Socket | CallName::Socketpair => {
            out.extend_from_slice(b"family:");
            match call.family().map(|family| family_name(family).ok_or(family)) {
                Some(Ok(name)) => out.extend_from_slice(name.as_bytes()),
                Some(Err(number)) => append_integer(number, out),
                None => out.push(b'?'),
            }
            push_display(out, format_args!(", flags:{first:04x}"));
        }
        CallName::Listen => push_display(out, format_args!("backlog:{first}")),
        CallName::Shutdown => {
            let how = ["SHUT_RD", "SHUT_WR", "SHUT_RDWR"];
            let index = usize::try_from(first).unwrap_or(usize::MAX);
            match how.get(index) {
                Some(how) => out.extend_from_slice(how.as_bytes()),
                None => push_display(out, format_args!("how:{first}")),
            }
        }
        CallName::Getsockopt if has_succeeded(call) => {
            out.extend_from_slice(b"SO_ERROR:");
            match (first, errno::name(first)) {
                (0, _) => out.push(b'0'),
                (_, Some(name)) => out.extend_from_slice(name.as_bytes()),
                (number, None) => append_integer(number, out),
            }
        }
        name if name.makes_descriptor() && has_succeeded(call) => {
            push_display(out, format_args!("= {}", call.result));
        }
        CallName::Splice | CallName::Sendfile | CallName::Tee => {
            push_display(out, format_args!("{first} => "));
            match (call.name, call.fd) {
                (CallName::Sendfile, Some(fd)) => append_integer(fd, out),
                _ => append_integer(second, out),
            }
        }
        name if name.waits() && has_succeeded(call) => {
            push_display(out, format_args!("{} ready", call.result));
        }
        _ => {}
    }
    push_amount(out, call, length);
    if out.len() > length {
        out.extend_from_slice(b"  ");
    }
}

fn has_succeeded(call: &Call) -> bool {
    call.phase == CallPhase::Returned && call.result >= 0
}

fn push_amount(out: &mut Vec<u8>, call: &Call, begin: usize) {
    let Some(transfer) = call.transfer() else { return };
    if out.len() > begin {
        out.extend_from_slice(b", ");
    }
    let [count, _] = call.details;
    match (transfer, call.transferred, call.length) {
        (Transfer::Send, Some(bytes), _) | (Transfer::Send, None, Some(bytes)) => {
            push_display(out, format_args!("Sending {bytes} bytes"));
        }
        (Transfer::Receive, Some(bytes), _) => {
            push_display(out, format_args!("{bytes} bytes received"));
        }
        (Transfer::Receive, None, Some(length)) => {
            push_display(out, format_args!("Receiving <= {length} bytes..."));
        }
        (Transfer::Send, None, None) => {
            push_display(out, format_args!("Sending with iocnt={count}"));
        }
        (Transfer::Receive, None, None) => {
            push_display(out, format_args!("Receiving with iocnt={count}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::fixtures::call, *};

    #[test]
    fn each_kind_of_call_has_its_words() {
        let mut table = Table::new(false, false);
        let mut out = Vec::new();
        table.write_heading(&mut out);
        let mut write = |change: &dyn Fn(&mut Call)| {
            let mut call = call();
            change(&mut call);
            table.write_call(&call, b"", &mut out);
        };
        write(&|call| {
            (call.name, call.result, call.transferred) = (CallName::Socket, 3, None);
            (call.length, call.details) = (None, [1, 0]);
        });
        write(&|call| {
            (call.name, call.result) = (CallName::Connect, 0);
            (call.length, call.transferred) = (None, None);
        });
        write(&|call| {
            (call.name, call.result) = (CallName::Connect, -111);
            (call.length, call.transferred) = (None, None);
            call.address = Some(([127, 0, 0, 1], 80).into());
            if let Some(connection) = &mut call.connection {
                connection.remote = Some(([127, 0, 0, 1], 0).into());
            }
        });
        write(&|_| {});
        write(&|call| {
            (call.name, call.result) = (CallName::Recvfrom, -11);
            (call.length, call.transferred) = (Some(511), None);
        });
        write(&|call| (call.name, call.transferred) = (CallName::Read, Some(311)));
        write(&|call| {
            (call.name, call.phase, call.transferred) = (CallName::Read, CallPhase::Pending, None);
            call.duration = Some(Duration::from_millis(1_250));
            call.caller.comm = CommandName::new(b"e\x1b[2Jvil");
        });
        table.write_loss("the ring buffer was full", 12, &mut out);
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        TIME(s)    FUNC                 PID     COMM            PPID    PCOMM           SOCKFD LEN      Notes
        0.0000     socket               18423   wget            18422   sudo            3               family:AF_INET, flags:0001  12us
        0.0000     connect              18423   wget            18422   sudo            3               127.0.0.1:57032 -> 127.0.0.1:80  12us
        0.0000     connect              18423   wget            18422   sudo            3      ECONNREFUSED 127.0.0.1:57032 -> 127.0.0.1:80  12us
        0.0000     write                18423   wget            18422   sudo            3      146      127.0.0.1:57032 -> 127.0.0.1:80  Sending 146 bytes  12us
        0.0000     recvfrom             18423   wget            18422   sudo            3      EAGAIN   127.0.0.1:57032 -> 127.0.0.1:80  Receiving <= 511 bytes...  12us
        0.0000     read                 18423   wget            18422   sudo            3      311      127.0.0.1:57032 -> 127.0.0.1:80  311 bytes received  12us
        0.0000     read                 18423   e\u{1b}[2Jvil   18422   sudo            3               127.0.0.1:57032 -> 127.0.0.1:80  Receiving <= 146 bytes...  pending for 1.2s
        -- 12 calls were lost here: the ring buffer was full
        "#);
    }

    #[test]
    fn a_unix_socket_has_paths() {
        let mut out = Vec::new();
        let mut call = call();
        call.paths[1] = SocketPath::new(b"/run/a.sock");
        Table::new(false, false).write_call(&call, b"", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(" -> /run/a.sock  Sending"), "{text}");
    }

    #[test]
    fn phases_are_told_apart() {
        let mut table = Table::new(false, true);
        let mut out = Vec::new();
        let mut entered = call();
        (entered.phase, entered.transferred, entered.duration) = (CallPhase::Entered, None, None);
        table.write_call(&entered, b"", &mut out);
        table.write_call(&call(), b"", &mut out);
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        0.0000     write                18423   wget            18422   sudo            3               127.0.0.1:57032 -> 127.0.0.1:80  Sending 146 bytes
        0.0000     write_RETURN         18423   wget            18422   sudo            3      146      127.0.0.1:57032 -> 127.0.0.1:80  Sending 146 bytes  12us
        "#);
    }
}
