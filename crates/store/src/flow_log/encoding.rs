//! A batch of flow records as the bytes of a record in a spool.

use std::{io, sync::Arc};

use netglass_model::{Attribution, FlowRecord, Owner, Process};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sink::FlowBatch;
use crate::delivery::{Interner, shared_process};

/// Kind 1 of what a spool can hold, version 1. The version is raised whenever anything that a record
/// holds changes; what older versions wrote is read on.
pub(super) const CONTENT: u16 = 0x0101;

/// Version 1, in the format of postcard. A process stands there once, however many flows it has, and
/// without its command line: no log of flows shows it, and it may hold secrets.
#[derive(Serialize, Deserialize)]
struct Encoded {
    run: Uuid,
    sequence: u64,
    processes: Vec<Arc<Process>>,
    /// The owners of each record.
    ends: Vec<Ends>,
    /// The records, but for these.
    records: Vec<FlowRecord>,
}

#[derive(Serialize, Deserialize)]
struct Ends {
    source: Option<End>,
    destination: Option<End>,
}

#[derive(Serialize, Deserialize)]
struct End {
    /// Among the processes.
    place: u32,
    attribution: Attribution,
}

/// The bytes of a batch.
pub(super) fn encode(batch: &FlowBatch) -> io::Result<Vec<u8>> {
    let mut interner = Interner::default();
    let mut end = |owner: &Option<Owner>| {
        let Owner { process, attribution } = owner.as_ref()?;
        Some(End { place: interner.place(process), attribution: *attribution })
    };
    let ends = batch.records.iter().map(|record| Ends {
        source: end(&record.source_owner),
        destination: end(&record.destination_owner),
    });
    let ends = ends.collect();
    let without_secrets =
        |process: Arc<Process>| Arc::new(Process { command_line: None, ..(*process).clone() });
    let encoded = Encoded {
        run: batch.run,
        sequence: batch.sequence,
        processes: interner.into_processes().into_iter().map(without_secrets).collect(),
        ends,
        records: batch.records.iter().map(without_owners).collect(),
    };
    postcard::to_stdvec(&encoded).map_err(io::Error::other)
}

fn without_owners(record: &FlowRecord) -> FlowRecord {
    FlowRecord {
        interface: record.interface.clone(),
        source_owner: None,
        destination_owner: None,
        ..*record
    }
}

/// The batch whose bytes these are.
pub(super) fn decode(content: u16, bytes: &[u8]) -> io::Result<FlowBatch> {
    if content != CONTENT {
        return Err(io::Error::other(format!("version {} is not known", content & 0xff)));
    }
    let Encoded { run, sequence, processes, ends, mut records } =
        postcard::from_bytes(bytes).map_err(io::Error::other)?;
    if ends.len() != records.len() {
        return Err(io::Error::other("the owners of a record are missing"));
    }
    let owner = |end: Option<End>| {
        end.map(|End { place, attribution }| {
            shared_process(&processes, place).map(|process| Owner { process, attribution })
        })
        .transpose()
    };
    for (record, Ends { source, destination }) in records.iter_mut().zip(ends) {
        record.source_owner = owner(source)?;
        record.destination_owner = owner(destination)?;
    }
    Ok(FlowBatch::new(run, sequence, records))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow_log::fixtures;

    fn batch() -> FlowBatch {
        fixtures::batch(
            7,
            vec![fixtures::record(), fixtures::bare_record(), fixtures::nasty_record()],
        )
    }

    #[test]
    fn command_lines_are_not_kept() {
        let bytes = encode(&batch()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn a_process_takes_its_room_once() {
        let length = |flows| {
            let batch = fixtures::batch(1, vec![fixtures::record(); flows]);
            encode(&batch).unwrap().len()
        };
        assert!(length(101) - length(1) < 100 * 128, "{}", length(101) - length(1));
    }

    /// Whoever changes what a record holds raises the version, and has this one read on.
    #[test]
    fn version_1_is_what_it_was() {
        let bytes = encode(&batch()).unwrap();
        assert_eq!((CONTENT, bytes.len(), crc32fast::hash(&bytes)), (0x0101, 491, 1_271_082_641));
    }

    #[test]
    fn another_version_is_refused() {
        let error = decode(CONTENT + 1, &encode(&batch()).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "version 2 is not known");
    }

    proptest! {
        #[test]
        fn a_batch_is_read_as_it_was_written(
            records in prop::collection::vec(fixtures::any_record(), 0..8),
        ) {
            let batch = fixtures::batch(3, records);
            prop_assert_eq!(decode(CONTENT, &encode(&batch).unwrap()).unwrap(), batch);
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            at in any::<prop::sample::Index>(),
            with in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            let mut bytes = encode(&batch()).unwrap();
            let start = at.index(bytes.len());
            let end = bytes.len().min(start + with.len());
            bytes.splice(start..end, with);
            if let Ok(batch) = decode(CONTENT, &bytes) {
                prop_assert!(decode(CONTENT, &encode(&batch).unwrap()).is_ok());
            }
        }
    }
}
