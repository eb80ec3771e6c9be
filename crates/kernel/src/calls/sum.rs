//! What the kernel programs add up of calls (`struct call_sum`), taken apart.

use std::time::Duration;

use netglass_model::{CallName, CallSum, CallingProcess, CommandName, Latencies, Transfer};

use super::connection;
use crate::program::{u16_at, u32_at, u64_at};

/// `struct sum_key`.
const KEY_LENGTH: usize = 64;
/// The rest of `struct call_sum`, which begins with its key.
const SUM_LENGTH: usize = 528;

const HAS_CONNECTION: u8 = 1 << 0;
const IS_TAKEN_FROM: u8 = 1 << 1;

const LATENCIES_AT: usize = 72;

/// Reads what the kernel programs add up, a value of their table; `None` where it is not that.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<CallSum> {
    let (key, sum) = bytes.split_first_chunk::<KEY_LENGTH>()?;
    let sum: &[u8; SUM_LENGTH] = sum.try_into().ok()?;
    let ends = key.first_chunk()?;
    let name = *CallName::ALL.get(usize::from(key[58]).checked_sub(1)?)?;
    let flags = key[59];
    let family = connection::family(ends);
    let transfer = transfer(name, flags & IS_TAKEN_FROM != 0);
    let error = u16_at(key, 56).filter(|&error| error != 0).map(u32::from);
    let moves = transfer.is_some() && error.is_none();
    let comm = |at: usize| sum.get(at..).and_then(<[u8]>::first_chunk::<16>);
    Some(CallSum {
        name,
        process: CallingProcess {
            pid: u32_at(key, 48)?,
            ppid: u32_at(sum, 24)?,
            pgid: Some(u32_at(sum, 32)?).filter(|&pgid| pgid != 0),
            uid: u32_at(sum, 28)?,
            started: Some(u64_at(sum, 16)?)
                .filter(|&since_boot| since_boot != 0)
                .map(Duration::from_nanos),
            comm: CommandName::new(comm(40)?),
            parent_comm: CommandName::new(comm(56)?),
        },
        error,
        family: Some(family).filter(|&family| family != 0),
        connection: (flags & HAS_CONNECTION != 0).then(|| connection::parse(ends)),
        direction: connection::direction(ends),
        fd: u32_at(key, 52).and_then(|fd| i32::try_from(fd).ok()),
        transfer,
        bytes: u64_at(sum, 0).filter(|_| moves).unwrap_or_default(),
        duration: Duration::from_nanos(u64_at(sum, 8)?),
        latencies: latencies(sum.get(LATENCIES_AT..)?),
    })
}

/// Those of unknown duration are the first, then come the buckets.
fn latencies(counts: &[u8]) -> Latencies {
    let mut latencies = Latencies::default();
    let counts = counts.as_chunks().0.iter().map(|&bytes| u32::from_ne_bytes(bytes));
    for (place, count) in counts.enumerate().filter(|&(_, count)| count > 0) {
        latencies.add(place.checked_sub(1), count.into());
    }
    latencies
}

fn transfer(name: CallName, is_taken_from: bool) -> Option<Transfer> {
    match name {
        CallName::Sendfile | CallName::Splice | CallName::Tee if is_taken_from => {
            Some(Transfer::Receive)
        }
        CallName::Sendfile | CallName::Splice | CallName::Tee => Some(Transfer::Send),
        name => name.transfer(),
    }
}

#[cfg(test)]
mod tests {
    use netglass_model::Direction;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const HEADER: &str = include_str!("../bpf/calls/records.h");

    #[test]
    fn sums_are_those_of_the_header() {
        for (name, number) in [
            ("LATENCY_FIRST_POWER", Latencies::FIRST_POWER),
            ("LATENCY_POWERS", Latencies::POWERS),
            ("LATENCY_PARTS", Latencies::PARTS),
        ] {
            assert!(HEADER.contains(&format!("#define {name} {number}\n")), "{name}");
        }
        assert!(HEADER.contains(&format!("sizeof(struct sum_key) == {KEY_LENGTH}, ")));
        assert!(
            HEADER.contains(&format!("sizeof(struct call_sum) == {}, ", KEY_LENGTH + SUM_LENGTH))
        );
        assert_eq!(SUM_LENGTH, LATENCIES_AT + 4 * (1 + Latencies::BUCKETS));
        for (name, flag) in [
            ("SUM_CONNECTION = 1 << 0", HAS_CONNECTION),
            ("SUM_TAKEN_FROM = 1 << 1", IS_TAKEN_FROM),
        ] {
            assert!(HEADER.contains(name) && name.ends_with(&flag.trailing_zeros().to_string()));
        }
    }

    #[test]
    fn an_entry_is_a_sum() {
        let (mut key, mut sum) = ([0; KEY_LENGTH], [0; SUM_LENGTH]);
        let put = |bytes: &mut [u8], offset: usize, value: &[u8]| {
            bytes[offset..offset + value.len()].copy_from_slice(value);
        };
        put(&mut key, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
        put(&mut key, 16, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 2]);
        put(&mut key, 38, &80_u16.to_ne_bytes());
        put(&mut key, 40, &2_u16.to_ne_bytes());
        put(&mut key, 47, &[1]);
        put(&mut key, 48, &77_u32.to_ne_bytes());
        put(&mut key, 52, &(-1_i32).to_ne_bytes());
        put(&mut key, 58, &[16, HAS_CONNECTION]);
        put(&mut sum, 0, &1_000_u64.to_ne_bytes());
        put(&mut sum, 8, &500_u64.to_ne_bytes());
        put(&mut sum, 40, b"nginx\0");
        put(&mut sum, LATENCIES_AT, &1_u32.to_ne_bytes());
        put(&mut sum, LATENCIES_AT + 8, &2_u32.to_ne_bytes());
        let sum = parse(&[&key[..], &sum[..]].concat()).unwrap();
        assert_eq!((sum.name, sum.process.pid, sum.bytes), (CallName::Write, 77, 1_000));
        assert_eq!((sum.fd, sum.error, sum.calls()), (None, None, 3));
        assert_eq!((sum.direction, sum.transfer), (Direction::Passive, Some(Transfer::Send)));
        assert_eq!(sum.connection.unwrap().remote, Some("127.0.0.2:80".parse().unwrap()));
        assert_eq!(sum.latencies.quantile(1000), Some(Duration::from_nanos(160)));
        assert_eq!(sum.process.comm.as_bytes(), b"nginx");
    }

    proptest! {
        #[test]
        fn any_entry_is_taken_or_refused(
            bytes in vec(any::<u8>(), 0..2 * (KEY_LENGTH + SUM_LENGTH)),
        ) {
            let is_whole = bytes.len() == KEY_LENGTH + SUM_LENGTH;
            prop_assert!(parse(&bytes).is_none() || is_whole);
        }

        #[test]
        fn any_entry_of_a_known_call_is_a_sum(
            mut key in vec(any::<u8>(), KEY_LENGTH),
            sum in vec(any::<u8>(), SUM_LENGTH),
            call in 1..=CallName::ALL.len(),
        ) {
            key[58] = u8::try_from(call).unwrap();
            let counts = sum[LATENCIES_AT..].as_chunks().0;
            let calls: u64 = counts.iter().map(|&it| u64::from(u32::from_ne_bytes(it))).sum();
            prop_assert_eq!(parse(&[key, sum].concat()).unwrap().calls(), calls);
        }
    }
}
