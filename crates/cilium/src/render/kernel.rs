//! What our own datapath tells of a packet: where in the kernel, in which namespace, of which process.

use netglass_model::Timestamp;

use super::{
    clock::Clock,
    l7::{number, text, truth},
};
use crate::{
    kernel_facts::{KernelFacts, KernelNames, PacketProcess, SocketEnd},
    text::{put, put_json_text, put_number},
};

/// Appends the kernel's drop reason: its name, or its number.
pub(super) fn put_reason(out: &mut Vec<u8>, facts: &KernelFacts<'_>) {
    match facts.names().reason {
        Some(reason) => put_plain(out, reason),
        None => put_number(out, facts.reason),
    }
}

/// Appends where it was seen, and between which processes.
pub(super) fn put_place(out: &mut Vec<u8>, facts: &KernelFacts<'_>, interface: u32) {
    let names = facts.names();
    if facts.reason > 0 {
        put(out, " in ");
        match names.function_name() {
            Some(function) => put_plain(out, function),
            None => put(out, "unknown"),
        }
    }
    put(out, " ifindex ");
    match names.interface {
        Some(name) => put_plain(out, name),
        None => put_number(out, interface),
    }
    put(out, " netns ");
    put_namespace(out, facts, &names);
    put(out, " process ");
    put_process(out, names.source);
    put(out, "->");
    put_process(out, names.destination);
}

fn put_namespace(out: &mut Vec<u8>, facts: &KernelFacts<'_>, names: &KernelNames<'_>) {
    match names.network_namespace {
        Some(name) => put_plain(out, name),
        None => put_number(out, facts.network_namespace),
    }
}

/// Appends a name. Those of processes are what they call themselves, and a recording may hold anything: what
/// could end or colour a line is shown as `?`.
fn put_plain(out: &mut Vec<u8>, name: &str) {
    for character in name.chars() {
        let shown = if character.is_control() { '?' } else { character };
        put(out, shown.encode_utf8(&mut [0; 4]));
    }
}

/// Appends `curl[812]`.
fn put_process(out: &mut Vec<u8>, process: Option<PacketProcess<'_>>) {
    let Some(process) = process else {
        put(out, "unknown");
        return;
    };
    put_plain(out, process.comm);
    out.push(b'[');
    put_number(out, process.pid);
    out.push(b']');
}

/// Appends the object of JSON, with its key.
pub(super) fn ours_kernel(out: &mut Vec<u8>, facts: Option<&KernelFacts<'_>>) {
    put(out, ",\"kernel\":");
    let Some(facts) = facts else {
        put(out, "null");
        return;
    };
    let names = facts.names();
    number(out, "{\"network_namespace\":{\"inode\":", facts.network_namespace);
    put(out, ",\"name\":");
    optional_text(out, names.network_namespace);
    put(out, "},\"function\":");
    optional_text(out, names.function_name());
    put(out, ",\"location\":");
    optional_text(out, names.function);
    put(out, ",\"socket_cookie\":");
    match facts.socket_cookie {
        0 => put(out, "null"),
        cookie => put_number(out, cookie),
    }
    put(out, ",\"socket_end\":");
    put(
        out,
        match facts.socket_end {
            Some(SocketEnd::Source) => "\"source\"",
            Some(SocketEnd::Destination) => "\"destination\"",
            None => "null",
        },
    );
    number(out, ",\"packet\":", facts.packet);
    put(out, ",\"process\":{\"source\":");
    ours_process(out, names.source);
    put(out, ",\"destination\":");
    ours_process(out, names.destination);
    put(out, "}}");
}

fn ours_process(out: &mut Vec<u8>, process: Option<PacketProcess<'_>>) {
    let Some(it) = process else {
        put(out, "null");
        return;
    };
    number(out, "{\"pid\":", it.pid);
    put(out, ",\"start_time\":\"");
    Clock::default().put(out, Timestamp::from_nanoseconds(it.start_time));
    text(out, "\",\"comm\":", it.comm);
    put(out, ",\"exe\":");
    optional_text(out, Some(it.exe).filter(|exe| !exe.is_empty()));
    put(out, ",\"uid\":");
    match it.uid {
        Some(uid) => put_number(out, uid),
        None => put(out, "null"),
    }
    put(out, ",\"container\":");
    optional_text(out, Some(it.container).filter(|container| !container.is_empty()));
    truth(out, ",\"listener\":", it.is_listener);
    out.push(b'}');
}

fn optional_text(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => put_json_text(out, value),
        None => put(out, "null"),
    }
}
