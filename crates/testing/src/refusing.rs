//! Places at which nobody listens, and where nobody can begin to.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::OwnedFd,
};

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// A port of 127.0.0.1 that refuses what is sent to it for as long as this is kept.
///
/// A port that was merely given back is soon another test's.
#[derive(Debug)]
pub struct Refusing {
    address: SocketAddr,
    _socket: OwnedFd,
}

impl Refusing {
    /// A TCP port: a socket has it, and does not listen.
    pub fn tcp() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = getsockname(&socket).expect("it is bound");
        let address = address.try_into().expect("an address of IPv4");
        Self { address, _socket: socket }
    }

    /// A UDP port: the socket that has it takes datagrams of one sender alone, itself.
    pub fn udp() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        socket.connect(address).expect("it is there");
        Self { address, _socket: socket.into() }
    }

    /// Where nobody listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, net::TcpStream};

    use super::*;

    #[test]
    fn what_is_sent_is_refused() {
        let tcp = Refusing::tcp();
        let error = TcpStream::connect(tcp.address()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        let udp = Refusing::udp();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(udp.address()).unwrap();
        sender.send(b"x").unwrap();
        assert_eq!(sender.recv(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
