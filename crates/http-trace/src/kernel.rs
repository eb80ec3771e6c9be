//! What the kernel knows of the client's connections beside the sockets themselves: connection
//! tracking and packets. Who may not ask for it has a trace without, which says so.

#[cfg(feature = "kernel")]
mod conntrack;
#[cfg(feature = "kernel")]
mod packets;

use std::sync::Arc;

use crate::{capture::PacketCapture, record::CaptureSummary, recorder::Recorder};

#[cfg(feature = "kernel")]
pub(crate) use self::enabled::KernelRecorder;

#[cfg(feature = "kernel")]
mod enabled {
    use super::{
        Arc, CaptureSummary, PacketCapture, Recorder, conntrack::ConntrackRecorder,
        packets::PacketRecorder,
    };

    /// Asks the kernel while requests are made.
    #[derive(Debug)]
    pub(crate) struct KernelRecorder {
        conntrack: Option<ConntrackRecorder>,
        packets: Option<PacketRecorder>,
    }

    impl KernelRecorder {
        pub(crate) fn start(recorder: &Arc<Recorder>) -> Self {
            let recording = recorder.recording();
            let capture = recording.capture.clone();
            // Without it, packets whose addresses are translated would not be known as ours.
            let tracks = recording.conntrack || capture.is_some();
            let conntrack = tracks.then(|| ConntrackRecorder::start(recorder));
            let packets = capture.map(|settings| PacketRecorder::start(&settings, recorder));
            Self { conntrack, packets }
        }

        /// Brings the records up to date, and says what was captured.
        pub(crate) fn update(&self) -> Vec<CaptureSummary> {
            if let Some(conntrack) = &self.conntrack {
                conntrack.update();
            }
            self.packets.as_ref().map(PacketRecorder::update).unwrap_or_default()
        }

        pub(crate) fn captures(&self) -> Vec<PacketCapture> {
            self.packets.as_ref().map(PacketRecorder::captures).unwrap_or_default()
        }

        pub(crate) fn clear(&self) {
            if let Some(packets) = &self.packets {
                packets.clear();
            }
        }

        pub(crate) fn stop(&self) {
            if let Some(conntrack) = &self.conntrack {
                conntrack.stop();
            }
            if let Some(packets) = &self.packets {
                packets.stop();
            }
        }
    }
}

/// Where there is nobody to ask.
#[cfg(not(feature = "kernel"))]
#[derive(Debug)]
pub(crate) struct KernelRecorder;

#[cfg(not(feature = "kernel"))]
impl KernelRecorder {
    pub(crate) fn start(recorder: &Arc<Recorder>) -> Self {
        let recording = recorder.recording();
        let why = "this program is built without the feature `kernel`";
        if recording.conntrack {
            recorder.missing("connection tracking", why);
        }
        if recording.capture.is_some() {
            recorder.missing("packets", why);
        }
        Self
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn update(&self) -> Vec<CaptureSummary> {
        Vec::new()
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn captures(&self) -> Vec<PacketCapture> {
        Vec::new()
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn clear(&self) {}

    #[allow(clippy::unused_self)]
    pub(crate) fn stop(&self) {}
}
