//! Sends the smallest frames as fast as one thread can, or as fast as is asked for.

use std::{
    io::IoSlice,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket,
    },
};

use crate::capture_frames::{Packet, SHORTEST, Transport};

/// How many frames the kernel is given at a time.
const BATCH: usize = 64;
/// What fills a UDP datagram up to the shortest frame.
const PAYLOAD: [u8; 18] = [0; 18];
const FIRST_PORT: u16 = 20_000;
const RECEIVER: &str = "10.9.0.2:9";

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) took: Duration,
}

/// Sends frames of so many flows in turn from a device of this thread's namespace, so many a second or as
/// many as it can.
pub(crate) fn send(
    device: &str,
    flows: u16,
    lasts: Duration,
    per_second: Option<u32>,
) -> Result<Sent> {
    let socket = open(device).with_context(|| format!("opening {device} to send"))?;
    let frames = frames(flows)?;
    let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
    let nobody = [None::<LinkAddr>; BATCH];
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let (mut packets, mut next) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < lasts {
        if let Some(per_second) = per_second {
            let due = Duration::from_secs_f64(packets as f64 / f64::from(per_second));
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let batch = slices.iter().skip(next).take(BATCH);
        let result =
            sendmmsg(socket.as_raw_fd(), &mut headers, batch, nobody, [], MsgFlags::empty());
        match result {
            Ok(sent) => {
                let count = sent.count();
                packets += count as u64;
                next = if next + count < slices.len() { next + count } else { 0 };
            }
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error).with_context(|| format!("sending on {device}")),
        }
    }
    Ok(Sent { packets, took: start.elapsed() })
}

/// A socket for whole frames that takes none.
fn open(device: &str) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let address = getifaddrs()?
        .filter(|entry| entry.interface_name == device)
        .find_map(|entry| entry.address.and_then(|address| address.as_link_addr().copied()));
    bind(socket.as_raw_fd(), &address.context("there is no such device")?)?;
    Ok(socket)
}

fn frames(flows: u16) -> Result<Vec<Vec<u8>>> {
    let to = RECEIVER.parse()?;
    let frame = |flow| {
        let [a, b] = u16::to_be_bytes(flow);
        let from = SocketAddr::from(([10, 100, a, b], FIRST_PORT + flow % 1000));
        let packet = Packet { from, to, vlan: None, transport: Transport::Udp, payload: &PAYLOAD };
        let mut frame = Vec::new();
        packet.write(&mut frame)?;
        ensure!(frame.len() == SHORTEST, "a frame of {} bytes", frame.len());
        Ok(frame)
    };
    (0..flows).map(frame).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use netglass_testing::{Namespace, link, require};

    use super::*;

    #[test]
    fn each_flow_has_a_frame_of_its_own() {
        let frames = frames(10_000).unwrap();
        assert_eq!(frames.iter().collect::<HashSet<_>>().len(), 10_000);
    }

    #[test]
    fn what_is_sent_arrives() {
        require!(root);
        let (near, far) = (Namespace::new("near"), Namespace::new("far"));
        let link = link(&near, "10.9.0.1/24", &far, "10.9.0.2/24");
        let received = || {
            let file = format!("cat /sys/class/net/{}/statistics/rx_packets", link.second);
            let script = format!("mount -t sysfs sysfs /sys && {file}");
            let mut command = far.command("unshare");
            let output = command.args(["--mount", "sh", "-c", &script]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap()
        };
        let before = received();
        let sent =
            near.inside(|| send(&link.first, 1_000, Duration::from_millis(50), None)).unwrap();
        assert!(sent.packets > 100, "{sent:?}");
        let arrived = received() - before;
        // The kernel may say something to its neighbours meanwhile.
        assert!((sent.packets..sent.packets + 20).contains(&arrived), "{arrived} of {sent:?}");
    }
}
