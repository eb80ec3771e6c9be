//! Captures on interfaces, and keeps the packets that are the client's. A packet can come before
//! it is known whose it is, so all are held for a moment.

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use netglass_kernel::capture::{Capture, CaptureOptions};
use netglass_model::IpProtocol;
use netglass_packet::{Headers, Tunnels, decode};

use crate::{
    capture::PacketCapture,
    record::{AddressTuple, CaptureSummary, Packet, PacketDirection},
    recorder::Recorder,
    settings::CaptureSettings,
};

/// How long the kernel may keep packets for itself.
const DELAY: Duration = Duration::from_millis(10);
/// How long a trace waits for the packets that the kernel has.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// For how long a packet is held whose connection is not known.
const HELD_FOR: Duration = Duration::from_secs(2);
/// How many bytes of packets are held at most; those after them are dropped, and counted.
const HELD_BYTES: usize = 32 << 20;

/// How often a capture is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct PacketRecorder {
    interfaces: Vec<Arc<Interface>>,
    stopped: Arc<AtomicBool>,
    recorder: Weak<Recorder>,
}

#[derive(Debug)]
struct Interface {
    name: String,
    settings: CaptureSettings,
    state: Mutex<State>,
    read: Condvar,
}

#[derive(Debug, Default)]
struct State {
    link_type: u16,
    held: VecDeque<Held>,
    held_bytes: usize,
    kept: Vec<Packet>,
    kept_bytes: u64,
    truncated: bool,
    dropped_by_limit: u64,
    dropped_by_kernel: u64,
    error: Option<String>,
    /// How often all that there was has been read.
    rounds: u64,
    /// Whether nobody reads any more.
    ended: bool,
}

#[derive(Debug)]
struct Held {
    since: Instant,
    packet: Packet,
    headers: Option<Headers>,
}

impl PacketRecorder {
    /// Begins before it returns, so that nothing is missed.
    pub(super) fn start(settings: &CaptureSettings, recorder: &Arc<Recorder>) -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let names = settings.interfaces.clone();
        let interfaces = names.into_iter().map(|name| {
            let state = Mutex::default();
            let settings = settings.clone();
            let interface = Arc::new(Interface { name, settings, state, read: Condvar::new() });
            interface.begin(recorder, &stopped);
            interface
        });
        let interfaces = interfaces.collect();
        Self { interfaces, stopped, recorder: Arc::downgrade(recorder) }
    }

    /// Waits for what the kernel has, and says what is kept.
    pub(super) fn update(&self) -> Vec<CaptureSummary> {
        let Some(recorder) = self.recorder.upgrade() else { return Vec::new() };
        for interface in &self.interfaces {
            interface.wait();
        }
        let tuples = tuples(&recorder);
        self.interfaces.iter().map(|interface| interface.update(&tuples)).collect()
    }

    pub(super) fn captures(&self) -> Vec<PacketCapture> {
        let captures = self.interfaces.iter().map(|interface| {
            let state = interface.state();
            let mut packets = state.kept.clone();
            // A packet can be known to be ours after one that came later.
            packets.sort_by_key(|packet| packet.time);
            PacketCapture {
                interface: interface.name.clone(),
                link_type: state.link_type,
                snapshot_length: interface.settings.snapshot_length,
                packets,
                truncated: state.truncated,
            }
        });
        captures.collect()
    }

    pub(super) fn clear(&self) {
        for interface in &self.interfaces {
            let mut state = interface.state();
            state.kept.clear();
            state.kept_bytes = 0;
            state.truncated = false;
            state.dropped_by_limit = 0;
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }
}

impl Drop for PacketRecorder {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Interface {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn filter(&self) -> String {
        let mut filter = "tcp or udp".to_owned();
        if self.settings.icmp {
            filter.push_str(" or icmp or icmp6");
        }
        if self.settings.arp {
            filter.push_str(" or arp");
        }
        filter
    }

    fn begin(self: &Arc<Self>, recorder: &Arc<Recorder>, stopped: &Arc<AtomicBool>) {
        let options = CaptureOptions {
            interfaces: vec![self.name.clone()],
            filter: self.filter(),
            promiscuous: false,
            snapshot_length: self.settings.snapshot_length,
            delay: DELAY,
            ..CaptureOptions::default()
        };
        // The capture belongs to the thread that opens it.
        let (opened, wait) = std::sync::mpsc::channel();
        let (this, stopped) = (Arc::clone(self), Arc::clone(stopped));
        let weak = Arc::downgrade(recorder);
        std::thread::spawn(move || {
            let result = Capture::open(options);
            // Whoever started this waits for it.
            let _ = opened.send(result.as_ref().err().map(ToString::to_string));
            if let Ok(capture) = result {
                this.run(capture, &weak, &stopped);
            }
            this.state().ended = true;
            this.read.notify_all();
        });
        if let Ok(Some(error)) = wait.recv() {
            recorder.missing(&format!("packets of {}", self.name), &error);
            self.state().error = Some(error);
        }
    }

    fn run(&self, mut capture: Capture, recorder: &Weak<Recorder>, stopped: &AtomicBool) {
        let mut matched_at = Instant::now();
        while !stopped.load(Relaxed) {
            let now = Instant::now();
            let mut taken = Vec::new();
            let result = capture.read(INTERVAL, None, &mut |packet| {
                taken.push((packet.link_type, self.held(now, &packet)));
            });
            let mut state = self.state();
            for (link_type, held) in taken {
                state.link_type = link_type.0;
                if state.held_bytes + held.packet.data.len() > HELD_BYTES {
                    state.dropped_by_limit += 1;
                } else {
                    state.held_bytes += held.packet.data.len();
                    state.held.push_back(held);
                }
            }
            state.rounds += 1;
            if let Err(error) = result {
                state.error = Some(error.to_string());
                return;
            }
            let dropped = capture.interfaces().first().map(|one| one.statistics.dropped);
            state.dropped_by_kernel = dropped.unwrap_or(0);
            drop(state);
            self.read.notify_all();
            if matched_at.elapsed() >= HELD_FOR / 2 {
                matched_at = Instant::now();
                let Some(recorder) = recorder.upgrade() else { return };
                self.sort_out(&tuples(&recorder));
            }
        }
    }

    fn held(&self, now: Instant, packet: &netglass_packet::Packet<'_>) -> Held {
        let headers = decode(packet, Tunnels::Outer).ok();
        let length = usize::try_from(self.settings.snapshot_length).unwrap_or(usize::MAX);
        let data = packet.bytes.get(..length).unwrap_or(packet.bytes).to_vec();
        let packet = Packet {
            time: packet.at.as_nanoseconds(),
            original_length: packet.wire_length,
            data,
            direction: PacketDirection::Unknown,
        };
        Held { since: now, packet, headers }
    }

    /// Waits until what the kernel has now has been read.
    fn wait(&self) {
        let deadline = Instant::now() + LONGEST_WAIT;
        let mut state = self.state();
        // One round may have begun before the last packet came, and the kernel may keep it for as
        // long as another takes.
        let wanted = state.rounds + 3;
        while state.rounds < wanted && !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.read.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn update(&self, tuples: &Tuples) -> CaptureSummary {
        self.sort_out(tuples);
        let state = self.state();
        CaptureSummary {
            interface: self.name.clone(),
            snapshot_length: self.settings.snapshot_length,
            packets: state.kept.len() as u64,
            bytes: state.kept_bytes,
            truncated: state.truncated,
            dropped_by_kernel: state.dropped_by_kernel,
            dropped_by_limit: state.dropped_by_limit,
            error: state.error.clone(),
        }
    }

    /// Keeps packets of known connections; what is of none after a while goes.
    fn sort_out(&self, tuples: &Tuples) {
        let mut state = self.state();
        let now = Instant::now();
        let mut waiting = VecDeque::new();
        for mut held in std::mem::take(&mut state.held) {
            match self.judge(&held, tuples) {
                Some(direction) => {
                    held.packet.direction = direction;
                    state.keep(held.packet, self.settings.size_limit);
                }
                None if now.duration_since(held.since) < HELD_FOR => {
                    waiting.push_back(held);
                }
                None => {}
            }
        }
        state.held_bytes = waiting.iter().map(|held| held.packet.data.len()).sum();
        state.held = waiting;
    }
}

/// One direction of a connection: whether it is of TCP, who sends, and to whom.
type Tuples = HashSet<(bool, SocketAddr, SocketAddr)>;

/// What the client sends, before and after translation.
fn tuples(recorder: &Recorder) -> Tuples {
    let mut tuples = Tuples::new();
    for connection in recorder.addresses() {
        let AddressTuple { source, destination } = connection.addresses;
        if let Some(source) = source {
            tuples.insert((connection.is_tcp, source, destination));
        }
        if let Some(tracked) = connection.tracked
            && let AddressTuple { source: Some(server), destination: client } = tracked.reply
        {
            tuples.insert((connection.is_tcp, client, server));
        }
    }
    tuples
}

impl Interface {
    /// Whether a packet belongs to the client, and which way it goes.
    fn judge(&self, held: &Held, tuples: &Tuples) -> Option<PacketDirection> {
        let Some(headers) = &held.headers else {
            // What passes the filter and is not of IP is ARP.
            return self.settings.arp.then_some(PacketDirection::Unknown);
        };
        let is_tcp = match headers.protocol {
            IpProtocol::TCP => true,
            IpProtocol::UDP => false,
            _ => return self.settings.icmp.then_some(PacketDirection::Unknown),
        };
        let payload = headers.tcp.map_or(0, |tcp| tcp.payload);
        if is_tcp && self.settings.tcp_without_payload && payload > 0 {
            return None;
        }
        let source = SocketAddr::new(headers.source, headers.source_port);
        let destination = SocketAddr::new(headers.destination, headers.destination_port);
        if tuples.contains(&(is_tcp, source, destination)) {
            Some(PacketDirection::Outbound)
        } else if tuples.contains(&(is_tcp, destination, source)) {
            Some(PacketDirection::Inbound)
        } else {
            None
        }
    }
}

impl State {
    /// Keeps a packet, unless there are too many already. After the first one that is too many,
    /// none is kept: what is there has no holes.
    fn keep(&mut self, packet: Packet, limit: u64) {
        let length = packet.data.len() as u64;
        if self.truncated || self.kept_bytes + length > limit {
            self.truncated = true;
            self.dropped_by_limit += 1;
            return;
        }
        self.kept_bytes += length;
        self.kept.push(packet);
    }
}
