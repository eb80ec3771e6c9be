//! Rows through the Storage Write API, each exactly once.
//!
//! Rows are appended to a stream of our own at a given offset. When an answer does not come, the same
//! rows go to the same offset of the same stream again: whether they were stored the first time or
//! are now, they are stored once. What is known of a batch is kept until all of it is stored.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    fault::Fault,
    grpc::{Appended, Grpc},
    journal::Journal,
    message::ProtoRows,
    request::{chunk, message},
    token::Tokens,
};
use crate::flow_log::{FlowBatch, Refusals};

/// So many streams that are of no use are tried, before whoever called is to wait.
const MOST_STREAMS: u32 = 4;

/// So many batches that failed are remembered until they come again; further ones would be stored
/// twice as far as they had come.
const MOST_UNFINISHED: usize = 64;

/// Rows on their way into one table.
pub(super) struct StorageWrite {
    grpc: Grpc,
    /// The table, `projects/…/datasets/…/tables/…`.
    parent: String,
    /// Where the next batch goes; none before the first one, and while a batch that failed has it.
    position: Option<Position>,
    unfinished: VecDeque<Progress>,
    journal: Option<Journal>,
}

/// The end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    stream: String,
    offset: i64,
}

/// How far a batch has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    run: Uuid,
    sequence: u64,
    /// Where its next rows go.
    position: Option<Position>,
    /// So many of its records are done with.
    done: usize,
    /// Those up to here were sent to `position`, and may be stored.
    sent: Option<usize>,
    /// Those that were not taken, and never will be.
    refused: BTreeSet<usize>,
    /// Whether they were told; what an earlier process told nobody may have seen.
    #[serde(skip)]
    is_told: bool,
}

/// What was tried already to get further.
#[derive(Debug, Default)]
struct Tried {
    /// The old connection may have been closed for a while.
    is_connection_new: bool,
    /// The old token may have been revoked.
    is_token_new: bool,
    streams: u32,
}

impl StorageWrite {
    pub(super) fn new(grpc: Grpc, parent: String, journal: Option<Journal>) -> Result<Self, Fault> {
        let unfinished = journal.as_ref().map(Journal::read).transpose()?.unwrap_or_default();
        Ok(Self { grpc, parent, position: None, unfinished: unfinished.into(), journal })
    }

    /// Stores all of `batch`, but for rows that are told in `refusals`. After an error it may be given
    /// again, now or after others.
    pub(super) async fn write(
        &mut self,
        tokens: &mut Tokens,
        batch: &FlowBatch,
        refusals: &mut Refusals,
    ) -> Result<(), Fault> {
        let mut unfinished = self.unfinished.iter();
        let known = unfinished.position(|p| (p.run, p.sequence) == (batch.run, batch.sequence));
        let mut progress = match known.and_then(|index| self.unfinished.remove(index)) {
            Some(progress) => progress,
            None => Progress {
                run: batch.run,
                sequence: batch.sequence,
                position: self.position.take(),
                done: 0,
                sent: None,
                refused: BTreeSet::new(),
                is_told: true,
            },
        };
        if !std::mem::replace(&mut progress.is_told, true) {
            for _ in &progress.refused {
                refusals.add("BigQuery refused it before this process began");
            }
        }
        let written = self.advance(tokens, batch, &mut progress, refusals).await;
        if written.is_ok() {
            self.position = progress.position;
        } else {
            if self.unfinished.len() == MOST_UNFINISHED {
                self.unfinished.pop_front();
            }
            self.unfinished.push_back(progress);
        }
        written
    }

    async fn advance(
        &mut self,
        tokens: &mut Tokens,
        batch: &FlowBatch,
        progress: &mut Progress,
        refusals: &mut Refusals,
    ) -> Result<(), Fault> {
        let mut tried = Tried::default();
        while progress.done < batch.records.len() {
            let refused = |index| progress.refused.contains(&index);
            let chunk = chunk(&batch.records, progress.done, progress.sent, refused, message);
            for &index in &chunk.too_large {
                progress.refused.insert(index);
                refusals.add("a row is too large for BigQuery");
            }
            if chunk.rows.is_empty() {
                progress.done = chunk.end;
                progress.sent = None;
                continue;
            }
            let position = if let Some(position) = &progress.position {
                position.clone()
            } else {
                let stream = self.grpc.create_stream(tokens, &self.parent).await?;
                progress.position.insert(Position { stream, offset: 0 }).clone()
            };
            progress.sent = Some(chunk.end);
            self.remember(progress)?;
            let Position { stream, offset } = &position;
            let after = offset.saturating_add(i64::try_from(chunk.rows.len()).unwrap_or(i64::MAX));
            let rows = ProtoRows { serialized_rows: chunk.rows };
            match self.grpc.append(tokens, stream, *offset, rows).await {
                Ok(Appended::Stored) => {
                    progress.done = chunk.end;
                    progress.sent = None;
                    progress.position = Some(Position { stream: stream.clone(), offset: after });
                    tried = Tried::default();
                }
                Ok(Appended::NotThese(errors)) => {
                    progress.sent = None;
                    let before = progress.refused.len();
                    for error in errors {
                        let index = usize::try_from(error.index).ok();
                        if let Some(record) = index.and_then(|index| chunk.records.get(index))
                            && progress.refused.insert(*record)
                        {
                            refusals.add(&error.message);
                        }
                    }
                    if progress.refused.len() == before {
                        return Err(Fault::Invalid("rows that were not sent are wrong".to_owned()));
                    }
                    tried = Tried::default();
                }
                Ok(Appended::Finalized) => {
                    if self.grpc.finalize(tokens, stream).await? >= after {
                        progress.done = chunk.end;
                    }
                    progress.sent = None;
                    progress.position = None;
                }
                Ok(Appended::BeyondEnd(reason) | Appended::NoStream(reason)) => {
                    progress.sent = None;
                    progress.position = None;
                    tried.streams += 1;
                    if tried.streams == MOST_STREAMS {
                        return Err(Fault::Busy(reason));
                    }
                }
                Ok(Appended::NoTable(reason)) => {
                    progress.sent = None;
                    progress.position = None;
                    return Err(Fault::Missing(reason));
                }
                Ok(Appended::OtherSchema(reason)) => {
                    progress.sent = None;
                    progress.position = None;
                    return Err(Fault::Conflict(reason));
                }
                Err(Fault::Lost(_)) if !tried.is_connection_new => tried.is_connection_new = true,
                Err(Fault::Unauthenticated(_)) if !tried.is_token_new => {
                    tokens.forget();
                    tried.is_token_new = true;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Before rows are sent it has to be known where to, whatever happens to us then.
    fn remember(&self, progress: &Progress) -> Result<(), Fault> {
        match &self.journal {
            Some(journal) => journal.write(self.unfinished.iter().chain([progress])),
            None => Ok(()),
        }
    }
}
