//! What can be delivered, and to whom.

use std::{fmt, io, time::Duration};

/// What is delivered as a whole.
pub(crate) trait Parcel: Clone + Send + 'static {
    /// The kind of what [`Parcel::encode`] writes, and its version (see `spool/format.rs`).
    const CONTENT: u16;
    /// What messages say of it.
    const WORDS: Words;

    /// How much the ledger counts it as.
    fn count(&self) -> u64;

    /// Its bytes, for a spool.
    fn encode(self) -> io::Result<Vec<u8>>;

    /// The parcel whose bytes these are.
    fn decode(content: u16, bytes: &[u8]) -> io::Result<Self>;
}

/// What messages say of parcels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    /// `a flush`
    pub(crate) one: &'static str,
    /// `flushes`
    pub(crate) many: &'static str,
    /// What is counted: `sightings`.
    pub(crate) unit: &'static str,
    /// `what was seen`
    pub(crate) contents: &'static str,
}

/// Who takes parcels. It may be away, slow or full.
pub(crate) trait Recipient<P>: Send {
    type Error: Failure;

    /// Takes the parcel: when this returns, it may be forgotten. On an error it was not taken, as far
    /// as one can know; the same one may come again either way.
    fn take(&mut self, parcel: &P) -> Result<(), Self::Error>;

    /// Does what is to be done now and then: after each parcel, and as often as `interval` says. What
    /// goes wrong is returned for the user.
    fn tend(&mut self) -> Option<String>;

    /// How often it is to be tended while nothing comes.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// How much of the last parcel that it took it left out for good, and why.
    fn take_refusals(&mut self) -> Option<(u64, String)> {
        None
    }

    /// How much of what it took is lost if this process ends now.
    fn unfinished(&self) -> u64 {
        0
    }

    /// Nothing more will come.
    fn finish(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Why a parcel was not taken.
pub(crate) trait Failure: fmt::Display + Send {
    /// Whether trying again soon will not help.
    fn is_lasting(&self) -> bool;

    /// Whether this parcel will never be taken.
    fn is_final(&self) -> bool;
}
