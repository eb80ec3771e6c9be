//! A tree for people.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
};

use anstyle::{AnsiColor, Style};
use netglass_kernel::{HeldSocket, socket::SocketState};
use netglass_model::{NamespaceInode, printable};

use super::{
    super::socket_words,
    tree::{Entry, Tree},
};
use crate::{
    output::table::{Align, Cell, Table},
    users::UserNames,
};

const PROCESS: Style = Style::new().bold();
const LISTENING: Style = AnsiColor::Green.on_default();
const PLAIN: Style = Style::new();

/// Writes a line for each process and each socket, with the styles of a terminal.
pub(super) fn write(tree: &Tree<'_>, names: &UserNames, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new([
        ("PID", Align::Right),
        ("USER", Align::Left),
        ("GROUP", Align::Left),
        ("PROCESS", Align::Left),
    ]);
    let home = own_namespace();
    for entry in &tree.entries {
        let process = &entry.holder.process;
        let named = |name: Option<&str>, number: Option<u32>| {
            let text = name.map(str::to_owned).or(number.map(|number| number.to_string()));
            Cell::new(printable(&text.unwrap_or_else(|| "?".to_owned())).into_owned(), PLAIN)
        };
        table.push(vec![
            Cell::new(process.pid.to_string(), PLAIN),
            named(process.uid.and_then(|uid| names.user(uid)), process.uid),
            named(process.gid.and_then(|gid| names.group(gid)), process.gid),
            Cell::new(format!("{}{}", branch(entry), printable(&process.comm)), PROCESS),
        ]);
        for socket in &entry.holder.sockets {
            let state = socket.listed.as_ref().and_then(|(socket, _)| socket.state);
            let style = if state == Some(SocketState::Listen) { LISTENING } else { PLAIN };
            let line = format!("{}{}", below(entry), line(tree, socket, home));
            let nothing = || Cell::new(String::new(), PLAIN);
            table.push(vec![nothing(), nothing(), nothing(), Cell::new(line, style)]);
        }
    }
    table.write(out)
}

/// Where we run, whose namespace need not be named.
fn own_namespace() -> Option<NamespaceInode> {
    fs::metadata("/proc/self/ns/net").ok().map(|metadata| NamespaceInode(metadata.ino()))
}

/// The lines of the tree before a process.
fn branch(entry: &Entry<'_>) -> String {
    let Some((is_last, above)) = entry.is_last.split_last() else { return String::new() };
    let mut text = trunk(above);
    text.push_str(if *is_last { "└─ " } else { "├─ " });
    text
}

/// The same before what stands under it.
fn below(entry: &Entry<'_>) -> String {
    let mut text = trunk(&entry.is_last);
    text.push_str(if entry.has_children { "│  " } else { "   " });
    text
}

fn trunk(is_last: &[bool]) -> String {
    is_last.iter().map(|is_last| if *is_last { "   " } else { "│  " }).collect()
}

/// `fd 6  tcp  LISTEN  0.0.0.0:80`.
fn line(tree: &Tree<'_>, socket: &HeldSocket, home: Option<NamespaceInode>) -> String {
    let protocol = socket_words::protocol(socket).or(socket_words::family(socket));
    let protocol = protocol.unwrap_or_else(|| "?".to_owned());
    let mut text =
        format!("fd {:<4} {:<14} ", socket.fd, printable(&with_family(socket, protocol)));
    let Some((listed, _)) = &socket.listed else {
        text.truncate(text.trim_end().len());
        return text;
    };
    let state = listed.state.map_or("-", SocketState::name);
    let _ = write!(text, "{state:<12}");
    if let Some(subsystem) = socket_words::subsystem(listed) {
        let _ = write!(text, " {subsystem}");
    }
    let local = socket_words::end(&listed.local);
    let _ = write!(text, " {}", printable(local.as_deref().unwrap_or("*")));
    if let Some(remote) = socket_words::end(&listed.remote) {
        let _ = write!(text, " -> {}", printable(&remote));
    } else if let Some((holder, peer)) = tree.peer(socket) {
        let name = peer.listed.as_ref().and_then(|(peer, _)| socket_words::end(&peer.local));
        let name = name.unwrap_or_else(|| "*".to_owned());
        let process = &holder.process;
        let _ =
            write!(text, " -> {} ({} {})", printable(&name), printable(&process.comm), process.pid);
    }
    if let Some(queues) = listed.queues.filter(|it| it.receive > 0 || it.send > 0)
        && listed.state != Some(SocketState::Listen)
    {
        let _ = write!(text, "  receive queue {}, send queue {}", queues.receive, queues.send);
    }
    if let Some(namespace) = tree.namespace(socket).filter(|it| Some(it.inode) != home) {
        let _ = write!(text, "  in {}", printable(&namespace.to_string()));
    }
    text
}

/// `unix stream` rather than `stream` alone.
fn with_family(socket: &HeldSocket, protocol: String) -> String {
    match socket.family() {
        Some(1) if socket.listed.is_some() => format!("unix {protocol}"),
        Some(40) if socket.listed.is_some() => format!("vsock {protocol}"),
        _ => protocol,
    }
}
