//! What the kernel programs tell of calls, and add up: nothing but whole records is taken, and what is
//! read of one does not depend on what stands behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::{prefixes, splice};
use netglass_kernel::calls::{parse_call, parse_sum};
use netglass_model::{Call, CallPhase, SocketPath};

const RECORD: usize = 128;
const EXTRA: usize = 64;
/// Of which any says that what few calls have stands behind the record.
const EXTRA_FLAGS: u8 = 1 << 0 | 1 << 3 | 1 << 5;
const FLAGS: usize = 36;
const PAYLOAD_LENGTH: usize = 38;
const PATH_LENGTHS: usize = 40;
const KIND: usize = 42;
const CALL: usize = 43;
const KEY: usize = 72;
const SUM: usize = 528;
const LATENCIES: usize = 72;

fuzz_target!(|data: &[u8]| {
    call(data);
    call(&splice(&sample(), data));
    sum(data);
    let mut whole = vec![1; KEY + SUM];
    whole[66] = 1;
    sum(&splice(&whole, data));
});

/// `write` that has returned, and 3 bytes of what it wrote.
fn sample() -> Vec<u8> {
    let mut bytes = vec![0; RECORD];
    bytes[PAYLOAD_LENGTH] = 3;
    (bytes[KIND], bytes[CALL]) = (1, 16);
    bytes.extend_from_slice(b"abc");
    bytes
}

fn call(bytes: &[u8]) {
    let read = parse_call(bytes);
    if let Some((call, payload)) = &read {
        let paths: usize =
            bytes[PATH_LENGTHS..KIND].iter().map(|&length| usize::from(length)).sum();
        let extra = if bytes[FLAGS] & EXTRA_FLAGS == 0 { 0 } else { EXTRA };
        assert_eq!(bytes.len(), RECORD + extra + paths + payload.len());
        assert!(call.error().is_none() || call.phase == CallPhase::Returned);
        let mut without = bytes[..RECORD + extra].to_vec();
        without[PAYLOAD_LENGTH..KIND].fill(0);
        let alone = Call { paths: [SocketPath::NONE; 2], ..*call };
        assert_eq!(parse_call(&without), Some((alone, &[][..])));
    }
    for prefix in prefixes(bytes).filter(|prefix| prefix.len() < bytes.len()) {
        // One that is cut is none, but for one that was not whole before.
        assert!(read.is_none() || parse_call(prefix).is_none());
    }
}

fn sum(bytes: &[u8]) {
    let (key, value) = bytes.split_at(KEY.min(bytes.len()));
    match parse_sum(bytes) {
        Some(sum) => {
            assert_eq!((key.len(), value.len()), (KEY, SUM));
            let counts = value[LATENCIES..].chunks_exact(4);
            let calls: u64 =
                counts.map(|count| u64::from(u32::from_ne_bytes(count.try_into().unwrap()))).sum();
            assert_eq!(sum.calls(), calls);
            assert!(sum.bytes == 0 || sum.transfer.is_some() && sum.error.is_none());
            assert!(sum.latencies.quantile(500) <= sum.latencies.quantile(990));
        }
        None => {
            let is_whole = key.len() == KEY && value.len() == SUM;
            // The number of the call.
            assert!(!is_whole || !(1..=59).contains(&key[66]));
        }
    }
}
