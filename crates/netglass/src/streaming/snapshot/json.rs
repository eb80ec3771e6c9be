//! One JSON object for each process (docs/stream.md).

use std::io::{self, Write};

use netglass_kernel::{HeldSocket, socket::SocketName, socket::SocketState};
use netglass_model::NamespaceInode;
use serde::Serialize;

use super::{super::socket_words, tree::Tree};
use crate::{output::json::write_line, users::UserNames};

/// The version of the objects' schema.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct ProcessObject<'a> {
    version: u32,
    pid: u32,
    ppid: u32,
    comm: &'a str,
    exe: Option<&'a str>,
    uid: Option<u32>,
    user: Option<&'a str>,
    gid: Option<u32>,
    group: Option<&'a str>,
    start_ns: i64,
    cgroup: Option<&'a str>,
    container: Option<&'a str>,
    sockets: Vec<SocketObject<'a>>,
}

#[derive(Serialize)]
struct SocketObject<'a> {
    fd: u32,
    inode: u32,
    family: Option<String>,
    protocol: Option<String>,
    state: Option<&'static str>,
    local: Option<String>,
    remote: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<PeerObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<NamespaceInode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_queue: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_queue: Option<u32>,
    #[serde(flatten)]
    traffic: Option<TrafficObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subsystem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ethertype: Option<u16>,
}

#[derive(Serialize)]
struct PeerObject<'a> {
    inode: u32,
    pid: Option<u32>,
    comm: Option<&'a str>,
}

#[derive(Serialize)]
struct TrafficObject {
    rtt_us: u32,
    retransmits: u32,
    bytes_sent: u64,
    bytes_received: u64,
}

/// Writes an object for each process.
pub(super) fn write(tree: &Tree<'_>, names: &UserNames, out: &mut impl Write) -> io::Result<()> {
    for entry in &tree.entries {
        let process = &entry.holder.process;
        let object = ProcessObject {
            version: VERSION,
            pid: process.pid,
            ppid: process.ppid,
            comm: &process.comm,
            exe: process.exe.as_deref(),
            uid: process.uid,
            user: process.uid.and_then(|uid| names.user(uid)),
            gid: process.gid,
            group: process.gid.and_then(|gid| names.group(gid)),
            start_ns: process.start_time.as_nanoseconds(),
            cgroup: process.cgroup.as_deref(),
            container: process.container.as_deref(),
            sockets: entry.holder.sockets.iter().map(|it| socket_object(tree, it)).collect(),
        };
        write_line(&object, out)?;
    }
    Ok(())
}

fn socket_object<'a>(tree: &Tree<'a>, socket: &HeldSocket) -> SocketObject<'a> {
    let namespace = tree.namespace(socket);
    let listed = socket.listed.as_ref().map(|(listed, _)| &**listed);
    let peer = listed.and_then(|listed| listed.peer_inode).map(|inode| {
        let process = tree.peer(socket).map(|(holder, _)| &holder.process);
        PeerObject {
            inode,
            pid: process.map(|process| process.pid),
            comm: process.map(|process| process.comm.as_str()),
        }
    });
    let peer_name = || {
        let (listed, _) = tree.peer(socket)?.1.listed.as_ref()?;
        socket_words::end(&listed.local)
    };
    let queues = listed.and_then(|listed| listed.queues);
    SocketObject {
        fd: socket.fd,
        inode: socket.inode,
        family: socket_words::family(socket),
        protocol: socket_words::protocol(socket),
        state: listed.and_then(|listed| listed.state).map(SocketState::name),
        local: listed.and_then(|listed| socket_words::end(&listed.local)),
        remote: listed.and_then(|listed| socket_words::end(&listed.remote)).or_else(peer_name),
        peer,
        netns: namespace.map(|namespace| namespace.inode),
        netns_name: namespace.and_then(|namespace| namespace.name.as_deref()),
        cookie: listed.and_then(|listed| listed.cookie),
        receive_queue: queues.map(|queues| queues.receive),
        send_queue: queues.map(|queues| queues.send),
        traffic: listed.and_then(|listed| listed.traffic).map(|traffic| TrafficObject {
            rtt_us: traffic.rtt_us,
            retransmits: traffic.retransmits,
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
        }),
        subsystem: listed.and_then(socket_words::subsystem),
        groups: listed.and_then(|listed| match listed.local {
            SocketName::Netlink { groups, .. } => Some(groups),
            _ => None,
        }),
        ethertype: listed.and_then(|listed| match listed.local {
            SocketName::Packet { .. } => Some(listed.protocol),
            _ => None,
        }),
    }
}
