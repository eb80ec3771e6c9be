//! Gives complete records to whoever wants them, in order, on a thread of its own.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
    mpsc::{SyncSender, TrySendError, sync_channel},
};

use crate::{record::HttpTrace, settings::Batches};

/// How many batches wait to be fetched; those after them are dropped and counted.
const WAITING: usize = 64;

enum Task {
    Give(Box<HttpTrace>),
    Tell(SyncSender<()>),
}

/// The way to the thread that gives batches away. It ends with it.
pub(crate) struct Dispatcher {
    tasks: SyncSender<Task>,
    batches: Batches,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Dispatcher").field("batches", &self.batches).finish_non_exhaustive()
    }
}

impl Dispatcher {
    pub(super) fn start(batches: Batches) -> Self {
        let (tasks, waiting) = sync_channel(WAITING);
        let handler = Arc::clone(&batches.handler);
        std::thread::spawn(move || {
            for task in waiting {
                match task {
                    Task::Give(batch) => handler(*batch),
                    Task::Tell(whom) => drop(whom.send(())),
                }
            }
        });
        Self { tasks, batches, dropped: Arc::default() }
    }

    pub(super) fn threshold(&self) -> usize {
        self.batches.threshold.get()
    }

    pub(super) fn flushes_on_close(&self) -> bool {
        self.batches.flush_on_close
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Gives a batch away, unless it is empty. Never waits.
    pub(super) fn give(&self, batch: HttpTrace) {
        let empty = batch.dials.is_empty()
            && batch.tcp.is_empty()
            && batch.udp.is_empty()
            && batch.dns.is_empty()
            && batch.tls.is_empty()
            && batch.connects.is_empty()
            && batch.requests.is_empty();
        if empty {
            return;
        }
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.tasks.try_send(Task::Give(Box::new(batch)))
        {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all batches are taken.
    pub(super) fn wait(&self) {
        let (told, wait) = sync_channel(1);
        if self.tasks.send(Task::Tell(told)).is_ok() {
            // An error says that the handler panicked: then there is nothing to wait for.
            let _ = wait.recv();
        }
    }
}
