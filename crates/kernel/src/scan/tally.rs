//! Counting what a scan sees.

use netglass_model::{Attribution, Direction, Endpoint, NamespaceInode, Port, Protocol, Skip};

use super::tracker::{Sight, Tracker, counters_of_one_sight};
use crate::{
    collector::{Addition, Collector, FlowEnds, Holder},
    socket::Socket,
};

/// What a socket is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// It waits for peers. Whether its port is one that the kernel chose, going by the number.
    Listener {
        ephemeral: bool,
    },
    Connection(Direction),
}

/// Counts sockets into a collector, told apart from one scan to the next where there is a tracker.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    pub(super) collector: &'a mut Collector,
    pub(super) tracker: Option<&'a mut Tracker>,
}

impl Tally<'_> {
    /// Counts one sight of a socket. `port_bound` says whether a program chose its port, if that is
    /// known.
    pub(super) fn count(
        &mut self,
        namespace: NamespaceInode,
        socket: &Socket,
        role: Role,
        holder: Option<Holder>,
        port_bound: Option<bool>,
    ) {
        match role {
            Role::Connection(direction) => self.connection(namespace, socket, direction, holder),
            Role::Listener { ephemeral } => {
                // A program that sends datagrams from ports which the kernel chose takes answers,
                // but offers no service: were each of its ports kept, there would be no end of them.
                let is_chosen_by_kernel = !port_bound.unwrap_or(!ephemeral);
                let port = match socket.protocol {
                    Protocol::Udp if is_chosen_by_kernel => Port::Many,
                    _ => Port::Number(socket.local_port),
                };
                let local = Endpoint::new(socket.local_address, port);
                if !self.collector.listener(namespace, socket.protocol, local, holder) {
                    self.lose_track();
                }
            }
        }
    }

    /// Counts a socket for which there is no room.
    pub(super) fn skip_for_lack_of_room(&mut self) {
        self.lose_track();
        self.collector.skip(Skip::TableFull, 1);
    }

    /// Some sockets are not seen in this scan: where the next one sees them, they are not new.
    pub(super) fn lose_track(&mut self) {
        if let Some(tracker) = &mut self.tracker {
            tracker.leave_out();
        }
    }

    /// Once seen, a connection keeps its `direction`: the server may stop listening while it lasts.
    fn connection(
        &mut self,
        namespace: NamespaceInode,
        socket: &Socket,
        direction: Direction,
        holder: Option<Holder>,
    ) {
        let direction = match &self.tracker {
            Some(tracker) => tracker.direction(namespace, socket).unwrap_or(direction),
            None => direction,
        };
        let ends = FlowEnds {
            namespace,
            local: socket.local_address,
            peer: socket.peer_address,
            service_port: match direction {
                Direction::Active => socket.peer_port,
                Direction::Passive => socket.local_port,
            },
            protocol: socket.protocol,
            direction,
        };
        let attribution = match holder {
            Some(_) => Attribution::Socket,
            None => Attribution::Namespace,
        };
        let owner = (holder, attribution);
        if !self.collector.has_room_for(&ends, owner) {
            return self.skip_for_lack_of_room();
        }
        let adds = match &mut self.tracker {
            None => counters_of_one_sight(socket),
            Some(tracker) => {
                match tracker.observe(namespace, socket, direction, holder.is_some()) {
                    Sight::Adds(adds) => adds,
                    Sight::Nothing => return self.collector.nothing_new(),
                    Sight::NoRoom => return self.skip_for_lack_of_room(),
                }
            }
        };
        self.collector.add(&ends, owner, &adds, Addition::Beside, 1);
    }
}
