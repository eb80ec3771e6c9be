//! What the traced client's resolver does, as far as it is needed, with nothing recorded: both
//! families are asked for at once, of one name server.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name as DnsName, RData, RecordType},
};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::{net::UdpSocket, time::timeout};
use tower_service::Service;

use crate::PATIENCE;

/// What a datagram of DNS has at most.
const LARGEST: u16 = 1232;

/// Asks a name server.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    nameserver: Option<SocketAddr>,
}

impl Resolver {
    pub(crate) fn new(nameserver: Option<SocketAddr>) -> Self {
        Self { nameserver }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let nameserver = self.nameserver;
        Box::pin(async move {
            let nameserver =
                nameserver.ok_or_else(|| io::Error::other("no name server is given"))?;
            let name = DnsName::from_ascii(format!("{name}.")).map_err(io::Error::other)?;
            let (v4, v6) = tokio::join!(
                ask(nameserver, &name, RecordType::A),
                ask(nameserver, &name, RecordType::AAAA)
            );
            let addresses = [v4?, v6?].concat();
            let addresses: Vec<_> =
                addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

async fn ask(
    nameserver: SocketAddr,
    name: &DnsName,
    record_type: RecordType,
) -> io::Result<Vec<IpAddr>> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), record_type));
    let mut edns = Edns::new();
    edns.set_max_payload(LARGEST);
    message.set_edns(edns);
    let question = message.to_vec().map_err(io::Error::other)?;
    let any: IpAddr = match nameserver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(nameserver).await?;
    socket.send(&question).await?;
    let mut buffer = vec![0; usize::from(LARGEST)];
    loop {
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await??;
        let reply = buffer.get(..length).unwrap_or_default();
        let reply = Message::from_vec(reply).map_err(io::Error::other)?;
        if reply.metadata.id == message.metadata.id {
            let addresses = reply.answers.iter().filter_map(|record| match &record.data {
                RData::A(address) => Some(address.0.into()),
                RData::AAAA(address) => Some(address.0.into()),
                _ => None,
            });
            return Ok(addresses.collect());
        }
    }
}
