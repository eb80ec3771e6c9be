//! Ids that follow from what makes a row itself: the first 128 bits of SHA-256 (FIPS 180-4), of which
//! the first ones are replaced by those of the namespace or host that it is in.

use std::net::IpAddr;

use netglass_model::{
    Endpoint, HostFlow, HostId, Listener, NamespaceInode, Process, Route, Translation,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::columns::{attribution_number, direction_number};

/// How many bytes an id has in common with that of its host or namespace. Those that are left tell
/// apart all that a host may ever have.
const SHARED: usize = 4;

/// Takes in the parts of an identity, each so that no other sequence of parts gives the same bytes.
struct Identity(Sha256);

impl Identity {
    fn of(kind: &str) -> Self {
        Self(Sha256::new()).text(kind)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn id(self, id: Uuid) -> Self {
        self.bytes(id.as_bytes())
    }

    fn maybe<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => add(self.bytes(&[1]), value),
            None => self.bytes(&[0]),
        }
    }

    fn address(self, address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => self.bytes(&[4]).bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&[6]).bytes(&address.octets()),
        }
    }

    fn endpoint(self, endpoint: Endpoint) -> Self {
        let port = endpoint.port.number().map(u64::from);
        self.address(endpoint.address).maybe(port, Self::number)
    }

    fn route(self, route: Route) -> Self {
        self.address(route.client).endpoint(route.server)
    }

    fn finish(self) -> Uuid {
        let digest = self.0.finalize();
        let mut bytes = [0; 16];
        for (byte, digest) in bytes.iter_mut().zip(digest) {
            *byte = digest;
        }
        Uuid::from_bytes(bytes)
    }

    /// An id that begins as `parent` does: what is written together is then found together.
    fn finish_within(self, parent: Uuid) -> Uuid {
        let mut bytes = self.finish().into_bytes();
        for (byte, shared) in bytes.iter_mut().zip(parent.as_bytes()).take(SHARED) {
            *byte = *shared;
        }
        Uuid::from_bytes(bytes)
    }
}

pub(super) fn host(host: &HostId) -> Uuid {
    Identity::of("host").text(&host.machine_id).text(&host.hostname).finish()
}

pub(super) fn namespace(host: Uuid, inode: NamespaceInode) -> Uuid {
    Identity::of("namespace").id(host).number(inode.0).finish()
}

pub(super) fn address(namespace: Uuid, address: IpAddr) -> Uuid {
    Identity::of("address").id(namespace).address(address).finish_within(namespace)
}

pub(super) fn process(host: Uuid, process: &Process) -> Uuid {
    Identity::of("process")
        .id(host)
        .number(process.pid.into())
        .number(process.start_time.as_nanoseconds().cast_unsigned())
        .text(&process.comm)
        .maybe(process.exe.as_deref(), Identity::text)
        .finish_within(host)
}

/// Tells apart what may change of a process without making it another one.
pub(super) fn process_state(process: &Process) -> Uuid {
    let numbers = [process.pgid, process.ppid, process.family];
    let texts = [&process.cgroup, &process.container, &process.command_line];
    let identity = Identity::of("process state");
    let identity = numbers.into_iter().fold(identity, |all, one| all.number(one.into()));
    let identity = [process.uid, process.gid]
        .into_iter()
        .fold(identity, |all, id| all.maybe(id.map(u64::from), Identity::number));
    texts
        .into_iter()
        .fold(identity, |all, text| all.maybe(text.as_deref(), Identity::text))
        .finish()
}

/// Tells apart what a row may hold beside its identity.
pub(super) fn text_state(text: Option<&str>) -> Uuid {
    Identity::of("text").maybe(text, Identity::text).finish()
}

pub(super) fn flow(namespace: Uuid, process: Option<Uuid>, flow: &HostFlow) -> Uuid {
    Identity::of("flow")
        .id(namespace)
        .number(flow.protocol.number().into())
        .number(direction_number(flow.direction).cast_unsigned())
        .endpoint(flow.local)
        .endpoint(flow.peer)
        .maybe(process, Identity::id)
        .number(attribution_number(flow.attribution).cast_unsigned())
        .finish_within(namespace)
}

pub(super) fn listener(namespace: Uuid, process: Option<Uuid>, listener: &Listener) -> Uuid {
    Identity::of("listener")
        .id(namespace)
        .number(listener.protocol.number().into())
        .endpoint(listener.local)
        .maybe(process, Identity::id)
        .finish_within(namespace)
}

pub(super) fn translation(namespace: Uuid, translation: &Translation) -> Uuid {
    Identity::of("translation")
        .id(namespace)
        .number(translation.protocol.number().into())
        .route(translation.original)
        .route(translation.translated)
        .finish_within(namespace)
}

/// The keys of the advisory locks of a host, and of one of its namespaces.
pub(super) fn claim(host: &HostId, inode: Option<NamespaceInode>) -> i64 {
    let host = self::host(host);
    let id = Identity::of("claim").id(host).maybe(inode, |all, inode| all.number(inode.0)).finish();
    let (high, _) = id.as_u64_pair();
    high.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_all_versions() {
        let id = HostId { machine_id: "a".to_owned(), hostname: "b".to_owned() };
        assert_eq!(host(&id).to_string(), "44b97299-84bc-5f7b-404c-91e737862de9");
        let other = HostId { machine_id: "ab".to_owned(), hostname: String::new() };
        assert_ne!(host(&id), host(&other));
        let namespace = namespace(host(&id), NamespaceInode(7));
        assert_eq!(namespace.to_string(), "ff38523f-eb75-295f-7502-4d78a06ce7cb");
        let address = address(namespace, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(address.to_string(), "ff38523f-938a-0268-e4fe-da9c12ff00ec");
    }
}
