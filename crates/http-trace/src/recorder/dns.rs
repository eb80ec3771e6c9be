//! What name servers were asked and answered, as it is kept until a trace is taken: only then is it
//! put in words.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    clock::Moment,
    record::DnsExchange,
    resolver::message::{Reply, Request},
};

/// How many replies of a name server are kept that are none to the question.
const MAXIMUM_REPLIES: usize = 64;

/// The messages of one exchange, beside its record.
#[derive(Debug, Default)]
pub(crate) struct DnsMessages {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    queries: Vec<(Moment, Arc<Request>)>,
    replies: Vec<KeptReply>,
    dropped_replies: u64,
}

#[derive(Debug)]
struct KeptReply {
    received_at: Moment,
    accepted: bool,
    bytes: Box<[u8]>,
}

impl DnsMessages {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sent(&self, sent_at: Moment, request: &Arc<Request>) {
        let queries = &mut self.kept().queries;
        // There is hardly ever a second one.
        queries.reserve_exact(1);
        queries.push((sent_at, Arc::clone(request)));
    }

    pub(crate) fn received(&self, received_at: Moment, bytes: &[u8], accepted: bool) {
        let mut kept = self.kept();
        if kept.replies.len() < MAXIMUM_REPLIES || accepted {
            if kept.replies.is_empty() {
                // Mostly there is one.
                kept.replies.reserve_exact(1);
            }
            kept.replies.push(KeptReply { received_at, accepted, bytes: bytes.into() });
        } else {
            kept.dropped_replies += 1;
        }
    }

    /// Completes the record by what there was until a moment.
    pub(super) fn tell(&self, exchange: &mut DnsExchange, until: Moment) {
        let kept = self.kept();
        let queries = kept.queries.iter().filter(|(sent_at, _)| *sent_at <= until);
        exchange.queries = queries.map(|(sent_at, request)| request.record(*sent_at)).collect();
        let replies = kept.replies.iter().filter(|reply| reply.received_at <= until);
        exchange.replies = replies.map(KeptReply::record).collect();
        exchange.dropped_replies = kept.dropped_replies;
    }
}

impl KeptReply {
    fn record(&self) -> crate::record::DnsReply {
        Reply::parse(&self.bytes).record(self.received_at, self.bytes.len(), self.accepted)
    }
}
