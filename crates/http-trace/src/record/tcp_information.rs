//! What the kernel knows of a TCP connection.

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// The kernel's `struct tcp_info` (`linux/tcp.h`), as far as the kernel at hand has it. Times of
/// which nothing else is said are in microseconds, and windows of congestion in segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpInformation {
    /// When it was asked for.
    pub at: Moment,
    /// The state, as a number of `net/tcp_states.h`.
    pub state: u8,
    /// The state of congestion control, `enum tcp_ca_state`.
    pub congestion_state: u8,
    /// Retransmissions of the oldest segment that is not acknowledged.
    pub consecutive_retransmits: u8,
    /// Probes of the window, or of keep-alive, without an answer.
    pub unanswered_probes: u8,
    /// How often the retransmission timeout was doubled.
    pub backoff: u8,
    /// What both ends agreed on, `TCPI_OPT_*`.
    pub options: u8,
    /// By how many bits the other end's window is shifted.
    pub send_window_scale: u8,
    /// By how many bits our window is shifted.
    pub receive_window_scale: u8,
    /// Whether the delivery rate is what the application gave, and not what the network took.
    pub delivery_rate_application_limited: bool,
    /// Why TCP Fast Open failed, `enum tcp_fastopen_client_fail`.
    pub fast_open_failure: u8,
    /// The retransmission timeout.
    pub retransmission_timeout_us: u32,
    /// The timeout of delayed acknowledgments.
    pub acknowledgment_timeout_us: u32,
    /// The largest segment that is sent, in bytes.
    pub send_mss: u32,
    /// The largest segment that is received, in bytes.
    pub receive_mss: u32,
    /// Segments sent and not acknowledged.
    pub unacknowledged: u32,
    /// Segments acknowledged selectively.
    pub selectively_acknowledged: u32,
    /// Segments that are thought lost.
    pub lost: u32,
    /// Segments sent again and not acknowledged.
    pub retransmits_in_flight: u32,
    /// Milliseconds since data was last sent.
    pub last_data_sent_ms: u32,
    /// Milliseconds since data was last received.
    pub last_data_received_ms: u32,
    /// Milliseconds since the last acknowledgment was received.
    pub last_acknowledgment_received_ms: u32,
    /// The largest packet of the path, in bytes.
    pub path_mtu: u32,
    /// The threshold of our window's growth, in bytes.
    pub receive_slow_start_threshold: u32,
    /// The smoothed round trip time.
    pub rtt_us: u32,
    /// Its variance.
    pub rtt_variance_us: u32,
    /// The threshold of slow start, in segments.
    pub send_slow_start_threshold: u32,
    /// The congestion window, in segments.
    pub congestion_window: u32,
    /// The largest segment that we say we take, in bytes.
    pub advertised_mss: u32,
    /// By how many segments the network changes their order.
    pub reordering: u32,
    /// The round trip time as the receiver reckons it.
    pub receive_rtt_us: u32,
    /// The room for what is received, in bytes.
    pub receive_space: u32,
    /// Segments sent more than once.
    pub retransmits: u32,
    /// What Linux 5.4 and later tell.
    #[serde(flatten)]
    pub transfer: Option<TcpTransfer>,
    /// What Linux 6.2 and later tell.
    #[serde(flatten)]
    pub receive_window: Option<TcpReceiveWindow>,
    /// What Linux 6.7 and later tell.
    #[serde(flatten)]
    pub timeouts: Option<TcpTimeouts>,
    /// What Linux 6.18 and later tell.
    #[serde(flatten)]
    pub accurate_ecn: Option<TcpAccurateEcn>,
}

/// What was transferred, and what held it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpTransfer {
    /// Bytes a second that are sent at most now.
    pub pacing_rate: u64,
    /// Bytes a second that are ever sent at most; the greatest number where there is no limit.
    pub maximum_pacing_rate: u64,
    /// Bytes of ours that are acknowledged.
    pub bytes_acknowledged: u64,
    /// Bytes received, each once.
    pub bytes_received: u64,
    /// Segments sent, with those without data.
    pub segments_sent: u32,
    /// Segments received, with those without data.
    pub segments_received: u32,
    /// Bytes that wait to be sent.
    pub bytes_not_sent: u32,
    /// The least round trip time of late.
    pub minimum_rtt_us: u32,
    /// Segments with data received.
    pub data_segments_received: u32,
    /// Segments with data sent.
    pub data_segments_sent: u32,
    /// Bytes a second that arrived of late.
    pub delivery_rate: u64,
    /// How long there was something to send.
    pub busy_us: u64,
    /// How much of it the other end's window was full.
    pub receive_window_limited_us: u64,
    /// How much of it our buffer was full.
    pub send_buffer_limited_us: u64,
    /// Segments with data that arrived.
    pub delivered: u32,
    /// How many of them were marked for congestion.
    pub delivered_marked: u32,
    /// Bytes of data sent, with those sent again.
    pub bytes_sent: u64,
    /// Bytes of data sent again.
    pub bytes_retransmitted: u64,
    /// Segments that the other end said it had twice.
    pub duplicates_told: u32,
    /// How often the network changed the order of segments.
    pub reorderings: u32,
    /// Segments received before their turn.
    pub out_of_order_received: u32,
    /// The other end's window, in bytes.
    pub send_window: u32,
}

/// Our window, and ways through the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpReceiveWindow {
    /// Our window, in bytes.
    pub receive_window: u32,
    /// How often another way was tried for want of an answer.
    pub rehashes: u32,
}

/// Retransmission timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpTimeouts {
    /// How many there were.
    pub timeouts: u16,
    /// How many times there was one or several before an answer.
    pub timeout_recoveries: u16,
    /// How long all of those took, in milliseconds.
    pub timeout_ms: u32,
}

/// Accurate Explicit Congestion Notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpAccurateEcn {
    /// Packets received that were marked for congestion.
    pub received_marked: u32,
    /// Bytes that arrived with ECT(1).
    pub delivered_ect1_bytes: u32,
    /// Bytes that arrived with ECT(0).
    pub delivered_ect0_bytes: u32,
    /// Bytes that arrived marked for congestion.
    pub delivered_marked_bytes: u32,
    /// Bytes received with ECT(1).
    pub received_ect1_bytes: u32,
    /// Bytes received with ECT(0).
    pub received_ect0_bytes: u32,
    /// Bytes received that were marked for congestion.
    pub received_marked_bytes: u32,
    /// Why it is not used, `TCP_ACCECN_*_FAIL_*`.
    pub accurate_ecn_failure: u16,
    /// Whether its option was seen, `TCP_ACCECN_OPT_*`.
    pub accurate_ecn_option: u16,
}
