//! What the reads and writes of one connection leave behind. Whoever reads and writes never
//! waits: one writer appends to cells that are set once, and a snapshot reads those that are set.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    },
};

use crate::{
    clock::Moment,
    record::{Operation, OperationKind, Operations},
};

/// How many operations the first segment of a connection takes: those of one short exchange, with
/// its end.
const FIRST_SEGMENT: usize = 3;
/// How many the largest takes.
const LARGEST_SEGMENT: usize = 64;

/// The counters of a connection, and its operations where they are traced.
#[derive(Debug)]
pub(crate) struct ConnectionLog {
    sent: AtomicU64,
    received: AtomicU64,
    /// One more than the moment; zero while it is open.
    closed_at: AtomicU64,
    operations: Option<OperationLog>,
}

#[derive(Debug)]
struct OperationLog {
    /// Only for those who read and clear.
    head: Mutex<Arc<Segment>>,
    kept: AtomicU64,
    limit: u64,
    dropped: AtomicU64,
    dropped_bytes: AtomicU64,
}

#[derive(Debug)]
struct Segment {
    cells: Box<[OnceLock<Operation>]>,
    next: OnceLock<Arc<Self>>,
}

impl Segment {
    fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            cells: (0..size).map(|_| OnceLock::new()).collect(),
            next: OnceLock::new(),
        })
    }
}

impl Drop for Segment {
    /// One after the other: a long list would need a deep stack.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut segment) = next.and_then(Arc::into_inner) {
            next = segment.next.take();
        }
    }
}

impl ConnectionLog {
    /// A log, and the one who writes to it. `operations` is how many of them are kept, if any.
    pub(crate) fn new(operations: Option<u64>) -> (Arc<Self>, LogWriter) {
        let first = operations.map(|_| Segment::new(FIRST_SEGMENT));
        let log = Arc::new(Self {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            closed_at: AtomicU64::new(0),
            operations: first.as_ref().zip(operations).map(|(first, limit)| OperationLog {
                head: Mutex::new(Arc::clone(first)),
                kept: AtomicU64::new(0),
                limit,
                dropped: AtomicU64::new(0),
                dropped_bytes: AtomicU64::new(0),
            }),
        });
        let writer = LogWriter { log: Arc::clone(&log), tail: first, index: 0 };
        (log, writer)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(crate) fn closed_at(&self) -> Option<Moment> {
        self.closed_at.load(Acquire).checked_sub(1).map(Moment)
    }

    /// The operations that returned up to a moment.
    pub(crate) fn operations(&self, until: Moment) -> Option<Operations> {
        let log = self.operations.as_ref()?;
        let mut segment = Arc::clone(&log.head.lock().unwrap_or_else(PoisonError::into_inner));
        let mut list = Vec::new();
        loop {
            // Asked for first: where there is one, all cells before it are set. Were it asked for
            // last, some that were set meanwhile would be left out, and later ones not.
            let next = segment.next.get().map(Arc::clone);
            let set = segment.cells.iter().map_while(OnceLock::get);
            list.extend(set.filter(|operation| operation.returned_at <= until).cloned());
            let Some(next) = next else { break };
            segment = next;
        }
        Some(Operations {
            list,
            dropped: log.dropped.load(Relaxed),
            dropped_bytes: log.dropped_bytes.load(Relaxed),
        })
    }

    /// Forgets operations of the past when they take more than half of the room, so that those of
    /// a new trace find some.
    pub(crate) fn make_room(&self) {
        let Some(log) = &self.operations else { return };
        log.dropped.store(0, Relaxed);
        log.dropped_bytes.store(0, Relaxed);
        if log.kept.load(Relaxed) <= log.limit / 2 {
            return;
        }
        let mut head = log.head.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = 0;
        while let Some(next) = head.next.get().map(Arc::clone) {
            forgotten += head.cells.len() as u64;
            *head = next;
        }
        let _ =
            log.kept.fetch_update(Relaxed, Relaxed, |kept| Some(kept.saturating_sub(forgotten)));
    }
}

/// Who writes to a log: the one who reads from and writes to the connection.
#[derive(Debug)]
pub(crate) struct LogWriter {
    log: Arc<ConnectionLog>,
    tail: Option<Arc<Segment>>,
    index: usize,
}

impl LogWriter {
    pub(crate) fn count(
        &mut self,
        kind: OperationKind,
        called_at: Moment,
        returned_at: Moment,
        bytes: u64,
        error: Option<Cow<'static, str>>,
    ) {
        let counter = match kind {
            OperationKind::Read => &self.log.received,
            OperationKind::Write => &self.log.sent,
        };
        counter.fetch_add(bytes, Relaxed);
        self.append(Operation { kind, called_at, returned_at, bytes, error });
    }

    pub(crate) fn close(&mut self, at: Moment) {
        self.log.closed_at.store(at.0.saturating_add(1), Release);
    }

    fn append(&mut self, operation: Operation) {
        let (Some(log), Some(tail)) = (&self.log.operations, &mut self.tail) else { return };
        if log.kept.load(Relaxed) >= log.limit {
            log.dropped.fetch_add(1, Relaxed);
            log.dropped_bytes.fetch_add(operation.bytes, Relaxed);
            return;
        }
        log.kept.fetch_add(1, Relaxed);
        if self.index == tail.cells.len() {
            let next = Segment::new((tail.cells.len() * 2).min(LARGEST_SEGMENT));
            // Nobody else sets it: there is one writer.
            let _ = tail.next.set(Arc::clone(&next));
            *tail = next;
            self.index = 0;
        }
        if let Some(cell) = tail.cells.get(self.index) {
            let _ = cell.set(operation);
            self.index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(writer: &mut LogWriter, count: u64) {
        for at in 0..count {
            writer.count(OperationKind::Write, Moment(at), Moment(at), 10, None);
        }
    }

    #[test]
    fn operations_are_kept_in_order_up_to_the_limit_and_the_rest_is_counted() {
        let (log, mut writer) = ConnectionLog::new(Some(100));
        write(&mut writer, 130);
        let operations = log.operations(Moment(u64::MAX)).unwrap();
        assert!(operations.list.iter().map(|operation| operation.returned_at.0).eq(0..100));
        assert_eq!((operations.dropped, operations.dropped_bytes), (30, 300));
        assert_eq!(log.sent(), 1300);
    }

    #[test]
    fn operations_of_the_past_make_room_for_those_of_a_new_trace() {
        let (log, mut writer) = ConnectionLog::new(Some(1000));
        write(&mut writer, 1300);
        log.make_room();
        write(&mut writer, 900);
        let operations = log.operations(Moment(u64::MAX)).unwrap();
        assert_eq!(operations.dropped, 0);
        assert!(operations.list.len() >= 900);
    }

    #[test]
    fn a_few_operations_of_the_past_are_kept() {
        let (log, mut writer) = ConnectionLog::new(Some(100));
        write(&mut writer, 9);
        log.make_room();
        assert_eq!(log.operations(Moment(u64::MAX)).unwrap().list.len(), 9);
    }

    #[test]
    fn a_snapshot_ends_at_its_moment() {
        let (log, mut writer) = ConnectionLog::new(Some(100));
        write(&mut writer, 50);
        assert_eq!(log.operations(Moment(9)).unwrap().list.len(), 10);
    }

    #[test]
    fn a_snapshot_of_a_log_that_grows_is_a_beginning_of_it() {
        let (log, mut writer) = ConnectionLog::new(Some(100_000));
        std::thread::scope(|scope| {
            scope.spawn(|| write(&mut writer, 100_000));
            let mut seen = 0;
            while seen < 100_000 {
                let list = log.operations(Moment(u64::MAX)).unwrap().list;
                assert!(
                    list.iter().map(|operation| operation.returned_at.0).eq(0..list.len() as u64)
                );
                assert!(list.len() >= seen);
                seen = list.len();
            }
        });
    }
}
