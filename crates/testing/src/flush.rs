//! What a database takes, made by hand.

use netglass_model::{Flush, Ledger, Observations, Probe, ProbeId, SpoolUsage, Timestamp};

/// The first flush of a probe that nobody has heard of before.
pub fn flush(observations: &Observations) -> Flush {
    Flush {
        probe: Probe {
            id: ProbeId::new(),
            boot_id: "b9d20b0f-0b7a-4a0f-8d57-3a6c3d0a5f11".to_owned(),
            version: "0.0.0".to_owned(),
            started: Timestamp::default(),
        },
        sequence: 1,
        at: Timestamp::default(),
        last: false,
        ledger: Ledger::default(),
        spool: SpoolUsage::default(),
        observations: observations.clone(),
    }
}
