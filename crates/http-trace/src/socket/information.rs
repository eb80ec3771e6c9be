//! `TCP_INFO` of any kernel. Each release appended something; a kernel gives as much as is asked
//! for and it has, so that it is only asked for what its release has.

use std::{fs, os::fd::AsFd, sync::LazyLock};

use nix::sys::socket::{GetSockOpt, getsockopt};

use crate::{
    clock::Moment,
    record::{TcpAccurateEcn, TcpInformation, TcpReceiveWindow, TcpTimeouts, TcpTransfer},
};

mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    sockopt_impl!(
        /// As of Linux 6.18.
        AccurateEcn, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; 280]
    );
    sockopt_impl!(
        /// As of Linux 6.7.
        Timeouts, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; 248]
    );
    sockopt_impl!(
        /// As of Linux 6.2.
        ReceiveWindow, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; 240]
    );
    sockopt_impl!(
        /// As of Linux 5.4.
        Transfer, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; 232]
    );
    sockopt_impl!(
        /// As of any Linux that there is.
        Least, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; 104]
    );
}

static RELEASE: LazyLock<(u32, u32)> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release(&text)
});

fn release(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    (next(), next())
}

/// What the kernel knows of a connection.
pub(crate) fn tcp_information(socket: &impl AsFd, at: Moment) -> Option<TcpInformation> {
    match *RELEASE {
        (6, 18..) | (7.., _) => ask(socket, option::AccurateEcn, at),
        (6, 7..) => ask(socket, option::Timeouts, at),
        (6, 2..) => ask(socket, option::ReceiveWindow, at),
        (5, 4..) | (6, _) => ask(socket, option::Transfer, at),
        _ => ask(socket, option::Least, at),
    }
}

fn ask<const LENGTH: usize>(
    socket: &impl AsFd,
    option: impl GetSockOpt<Val = [u8; LENGTH]>,
    at: Moment,
) -> Option<TcpInformation> {
    read(&getsockopt(socket, option).ok()?, at)
}

/// The numbers of the struct, one after the other.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }

    fn u8(&mut self) -> Option<u8> {
        self.next().map(u8::from_ne_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.next().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.next().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.next().map(u64::from_ne_bytes)
    }
}

fn read(bytes: &[u8], at: Moment) -> Option<TcpInformation> {
    let mut numbers = Numbers(bytes);
    let mut information = TcpInformation {
        at,
        state: numbers.u8()?,
        congestion_state: numbers.u8()?,
        consecutive_retransmits: numbers.u8()?,
        unanswered_probes: numbers.u8()?,
        backoff: numbers.u8()?,
        options: numbers.u8()?,
        ..TcpInformation::default()
    };
    let (scales, flags) = (numbers.u8()?, numbers.u8()?);
    (information.send_window_scale, information.receive_window_scale) = bit_fields(scales, 4);
    let (limited, fast_open) = bit_fields(flags, 1);
    information.delivery_rate_application_limited = limited != 0;
    information.fast_open_failure = fast_open & 0b11;
    information.retransmission_timeout_us = numbers.u32()?;
    information.acknowledgment_timeout_us = numbers.u32()?;
    information.send_mss = numbers.u32()?;
    information.receive_mss = numbers.u32()?;
    information.unacknowledged = numbers.u32()?;
    information.selectively_acknowledged = numbers.u32()?;
    information.lost = numbers.u32()?;
    information.retransmits_in_flight = numbers.u32()?;
    let _forward_acknowledged_which_is_gone = numbers.u32()?;
    information.last_data_sent_ms = numbers.u32()?;
    let _last_acknowledgment_sent_which_never_was = numbers.u32()?;
    information.last_data_received_ms = numbers.u32()?;
    information.last_acknowledgment_received_ms = numbers.u32()?;
    information.path_mtu = numbers.u32()?;
    information.receive_slow_start_threshold = numbers.u32()?;
    information.rtt_us = numbers.u32()?;
    information.rtt_variance_us = numbers.u32()?;
    information.send_slow_start_threshold = numbers.u32()?;
    information.congestion_window = numbers.u32()?;
    information.advertised_mss = numbers.u32()?;
    information.reordering = numbers.u32()?;
    information.receive_rtt_us = numbers.u32()?;
    information.receive_space = numbers.u32()?;
    information.retransmits = numbers.u32()?;
    information.transfer = transfer(&mut numbers);
    information.receive_window = receive_window(&mut numbers);
    information.timeouts = timeouts(&mut numbers);
    information.accurate_ecn = accurate_ecn(&mut numbers);
    Some(information)
}

/// The first field of so many bits and the rest, as the compilers of the architecture lay them out.
fn bit_fields(byte: u8, bits: u32) -> (u8, u8) {
    if cfg!(target_endian = "little") {
        (byte & ((1 << bits) - 1), byte >> bits)
    } else {
        (byte >> (8 - bits), (byte << bits) >> bits)
    }
}

fn transfer(numbers: &mut Numbers<'_>) -> Option<TcpTransfer> {
    Some(TcpTransfer {
        pacing_rate: numbers.u64()?,
        maximum_pacing_rate: numbers.u64()?,
        bytes_acknowledged: numbers.u64()?,
        bytes_received: numbers.u64()?,
        segments_sent: numbers.u32()?,
        segments_received: numbers.u32()?,
        bytes_not_sent: numbers.u32()?,
        minimum_rtt_us: numbers.u32()?,
        data_segments_received: numbers.u32()?,
        data_segments_sent: numbers.u32()?,
        delivery_rate: numbers.u64()?,
        busy_us: numbers.u64()?,
        receive_window_limited_us: numbers.u64()?,
        send_buffer_limited_us: numbers.u64()?,
        delivered: numbers.u32()?,
        delivered_marked: numbers.u32()?,
        bytes_sent: numbers.u64()?,
        bytes_retransmitted: numbers.u64()?,
        duplicates_told: numbers.u32()?,
        reorderings: numbers.u32()?,
        out_of_order_received: numbers.u32()?,
        send_window: numbers.u32()?,
    })
}

fn receive_window(numbers: &mut Numbers<'_>) -> Option<TcpReceiveWindow> {
    Some(TcpReceiveWindow { receive_window: numbers.u32()?, rehashes: numbers.u32()? })
}

fn timeouts(numbers: &mut Numbers<'_>) -> Option<TcpTimeouts> {
    Some(TcpTimeouts {
        timeouts: numbers.u16()?,
        timeout_recoveries: numbers.u16()?,
        timeout_ms: numbers.u32()?,
    })
}

fn accurate_ecn(numbers: &mut Numbers<'_>) -> Option<TcpAccurateEcn> {
    Some(TcpAccurateEcn {
        received_marked: numbers.u32()?,
        delivered_ect1_bytes: numbers.u32()?,
        delivered_ect0_bytes: numbers.u32()?,
        delivered_marked_bytes: numbers.u32()?,
        received_ect1_bytes: numbers.u32()?,
        received_ect0_bytes: numbers.u32()?,
        received_marked_bytes: numbers.u32()?,
        accurate_ecn_failure: numbers.u16()?,
        accurate_ecn_option: numbers.u16()?,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Two ends of a connection on this host, after 1000 bytes went from the first to the second.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        (client, server)
    }

    #[test]
    fn the_kernel_tells_what_was_sent_and_received() {
        const ESTABLISHED: u8 = 1;
        let (client, server) = connection();
        let sent = tcp_information(&client, Moment(5)).unwrap();
        let received = tcp_information(&server, Moment(5)).unwrap();
        assert_eq!((sent.at, sent.state, received.state), (Moment(5), ESTABLISHED, ESTABLISHED));
        assert!(sent.rtt_us > 0 && sent.congestion_window > 0 && sent.path_mtu > 1500);
        if let (Some(sent), Some(received)) = (sent.transfer, received.transfer) {
            assert_eq!((sent.bytes_sent, received.bytes_received), (1000, 1000));
            assert_eq!((sent.data_segments_sent, received.data_segments_received), (1, 1));
            assert!(sent.send_window > 0);
        }
    }

    #[test]
    fn what_an_older_kernel_does_not_tell_is_not_there() {
        let (client, _server) = connection();
        let told = |information: Option<TcpInformation>| {
            let information = information.unwrap();
            assert!(information.rtt_us > 0);
            [
                information.transfer.is_some(),
                information.receive_window.is_some(),
                information.timeouts.is_some(),
            ]
        };
        assert_eq!(told(ask(&client, option::Least, Moment(0))), [false, false, false]);
        if *RELEASE >= (5, 4) {
            assert_eq!(told(ask(&client, option::Transfer, Moment(0))), [true, false, false]);
        }
        if *RELEASE >= (6, 7) {
            assert_eq!(told(ask(&client, option::ReceiveWindow, Moment(0))), [true, true, false]);
            assert_eq!(told(ask(&client, option::Timeouts, Moment(0))), [true, true, true]);
        }
    }

    #[test]
    fn releases_are_read() {
        assert_eq!(release("6.18.44-fc-v669\n"), (6, 18));
        assert_eq!(release("5.10.0-23-amd64"), (5, 10));
        assert_eq!(release("6.1-rc2"), (6, 1));
        assert_eq!(release(""), (0, 0));
    }

    #[test]
    fn in_json_it_is_flat_and_reads_back() {
        let (client, _server) = connection();
        for information in [
            tcp_information(&client, Moment(5)).unwrap(),
            ask(&client, option::Least, Moment(5)).unwrap(),
        ] {
            let json = serde_json::to_value(information).unwrap();
            assert_eq!(json.get("bytes_sent").is_some(), information.transfer.is_some());
            assert_eq!(serde_json::from_value::<TcpInformation>(json).unwrap(), information);
        }
    }
}
