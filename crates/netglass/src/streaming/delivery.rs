//! Calls that are handed to somebody who says later whether they arrived.

use super::ledger::Undelivered;

/// Delivers what is written, one message for each call, and counts what arrives.
pub(super) trait Delivery {
    /// Begins, once privileges are given up: it may start threads.
    fn start(&mut self) -> anyhow::Result<()>;

    /// Hands over a message, without waiting for anything. Messages of one key stay in their order.
    /// It stands for so many calls.
    fn send(&mut self, key: u32, message: &[u8], calls: u64);

    /// Waits for what is not delivered yet, though not for ever, and gives up the rest.
    fn finish(&mut self);

    /// How many calls have arrived.
    fn delivered(&self) -> u64;

    /// What became of the others.
    fn undelivered(&self) -> Undelivered;

    /// What the user should know and was not told yet.
    fn take_note(&mut self) -> Option<String>;
}
