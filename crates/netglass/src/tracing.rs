//! Tracing requests: what a client of our own does for them, and recordings of that.

mod arguments;
mod recorded;
mod writer;

pub(crate) use self::{
    arguments::{Format, Recorded},
    recorded::run as run_recorded,
};
