//! A file that is shown as memory.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64},
};

/// No system has larger pages than this, but for those that it puts together.
pub(super) const LARGEST_PAGE: usize = 64 << 10;
/// How far windows are from each other: a multiple of that.
pub const WINDOW: usize = 8 << 20;
/// The packets that begin in as many bytes were all looked at before any of them is given. A window has a
/// whole number of such pieces.
pub const PIECE: usize = 256 << 10;
/// How many bytes are shown at most, so that what begins in a window may end behind it.
pub const MOST_SHOWN: usize = WINDOW + LARGEST_PAGE;

/// A file that is shown as memory, one window of it after another.
///
/// Others may change it meanwhile. So its words are atomic, and who has read some asks afterwards
/// whether they were those of the file.
pub trait FileMemory: Send {
    /// Shows `length` bytes from `offset` on, which is a multiple of [`WINDOW`], instead of what was shown
    /// before.
    fn show(&mut self, offset: u64, length: usize) -> io::Result<()>;

    /// What is shown. Behind the end of the file there are zeros up to the end of a page, and nothing
    /// that could be looked at behind that.
    fn words(&self) -> &[AtomicU64];

    /// Whether something was looked at that the file has no more, or that the disk did not give: becomes
    /// true before what is seen there instead.
    fn is_lost(&self) -> &AtomicBool;

    /// Whether the file still has so many bytes from its beginning on.
    fn is_as_long(&self, length: u64) -> bool;
}
