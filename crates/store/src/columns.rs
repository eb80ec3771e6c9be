//! The vocabulary as the numbers that every backend keeps.

use netglass_model::{Attribution, Direction, Failures, FlowCounters, RttSamples};

/// How many columns the counters of a flow have.
pub(crate) const COUNTERS: usize = 15;

/// Those columns, in the order in which they are written and read.
pub(crate) const COUNTER_NAMES: [&str; COUNTERS] = [
    "connections",
    "opened",
    "failed_refused",
    "failed_timed_out",
    "failed_unreachable",
    "failed_reset",
    "failed_abandoned",
    "failed_other",
    "bytes_sent",
    "bytes_received",
    "segments_sent",
    "segments_received",
    "retransmits",
    "rtt_sum_us",
    "rtt_count",
];

/// The values of the columns.
pub(crate) fn counter_columns(counters: &FlowCounters) -> [i64; COUNTERS] {
    let FlowCounters {
        connections,
        opened,
        failed,
        bytes_sent,
        bytes_received,
        segments_sent,
        segments_received,
        retransmits,
        rtt,
    } = *counters;
    let [refused, timed_out, unreachable, reset, abandoned, other] = failed.counts();
    [
        connections,
        opened,
        refused,
        timed_out,
        unreachable,
        reset,
        abandoned,
        other,
        bytes_sent,
        bytes_received,
        segments_sent,
        segments_received,
        retransmits,
        rtt.sum_us,
        rtt.count,
    ]
    .map(count_to_column)
}

/// The counters whose columns `next` gives, one after the other.
pub(crate) fn counters_from<E>(
    mut next: impl FnMut() -> Result<u64, E>,
) -> Result<FlowCounters, E> {
    Ok(FlowCounters {
        connections: next()?,
        opened: next()?,
        failed: Failures {
            refused: next()?,
            timed_out: next()?,
            unreachable: next()?,
            reset: next()?,
            abandoned: next()?,
            other: next()?,
        },
        bytes_sent: next()?,
        bytes_received: next()?,
        segments_sent: next()?,
        segments_received: next()?,
        retransmits: next()?,
        rtt: RttSamples { sum_us: next()?, count: next()? },
    })
}

/// A count as it is kept: the largest one that a column holds stands for all larger ones.
pub(crate) fn count_to_column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) const fn direction_number(direction: Direction) -> i64 {
    match direction {
        Direction::Active => 0,
        Direction::Passive => 1,
    }
}

pub(crate) const fn direction(number: i64) -> Option<Direction> {
    match number {
        0 => Some(Direction::Active),
        1 => Some(Direction::Passive),
        _ => None,
    }
}

pub(crate) const fn attribution_number(attribution: Attribution) -> i64 {
    match attribution {
        Attribution::Socket => 0,
        Attribution::Listener => 1,
        Attribution::Namespace => 2,
    }
}

pub(crate) const fn attribution(number: i64) -> Option<Attribution> {
    match number {
        0 => Some(Attribution::Socket),
        1 => Some(Attribution::Listener),
        2 => Some(Attribution::Namespace),
        _ => None,
    }
}
