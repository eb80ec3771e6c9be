//! Lines of `/proc/net/{tcp,udp}{,6}`: a cut line is refused or the same socket, and a socket that
//! was read can be written and read again.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::{prefixes, splice};
use netglass_kernel::socket::{Socket, proc_net::parse_line};
use netglass_model::Protocol;

const V4: &[u8] = b"   1: 0100007F:0050 0200007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 20 4 30 10 -1\n";
const V6: &[u8] = b"   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 88 1 0000000000000000 100 0 0 10 0\n";

fuzz_target!(|data: &[u8]| {
    for line in [data, &splice(V4, data), &splice(V6, data)] {
        check(line);
    }
});

fn check(line: &[u8]) {
    for protocol in Protocol::ALL {
        let whole = parse_line(line, protocol);
        for prefix in prefixes(line) {
            let Some(socket) = parse_line(prefix, protocol) else { continue };
            if prefix.last().is_some_and(u8::is_ascii_whitespace) {
                assert_eq!(Some(socket), whole, "no field was cut");
            } else if let Some(whole) = whole {
                let of_whole = Socket { inode: socket.inode, cookie: socket.cookie, ..whole };
                assert_eq!(socket, of_whole, "only the last field can have been cut");
            }
        }
        let Some(socket) = whole else { continue };
        assert_eq!(socket.protocol, protocol);
        assert_eq!((socket.traffic, socket.only_v6), (None, false));
        assert_eq!(parse_line(write(&socket).as_bytes(), protocol), Some(socket));
    }
}

fn write(socket: &Socket) -> String {
    format!(
        "7: {}:{:04X} {}:{:04X} {:02X} 0:0 0:0 0 0 0 {} 1\n",
        hexadecimal(socket.local_address),
        socket.local_port,
        hexadecimal(socket.peer_address),
        socket.peer_port,
        socket.state as u8,
        socket.inode,
    )
}

fn hexadecimal(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let word = |word: &[u8]| format!("{:08X}", u32::from_ne_bytes(word.try_into().unwrap()));
    octets.chunks(4).map(word).collect()
}
