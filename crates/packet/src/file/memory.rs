//! A file that is shown as memory.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64},
};

/// Of what the place of a window is a multiple: no system has larger pages.
pub const WINDOW_ALIGNMENT: usize = 64 << 10;
/// How many bytes a window has at most.
pub const WINDOW: usize = 8 << 20;

/// A file that is shown as memory, one window of it after another.
///
/// Others may change it meanwhile. So its words are atomic, and who has read some asks afterwards
/// whether they were those of the file.
pub trait FileMemory: Send {
    /// Shows `length` bytes from `offset` on, which is a multiple of [`WINDOW_ALIGNMENT`], instead of
    /// what was shown before.
    fn show(&mut self, offset: u64, length: usize) -> io::Result<()>;

    /// What is shown. Behind the end of the file there are zeros up to the end of a page, and nothing
    /// that could be looked at behind that.
    fn words(&self) -> &[AtomicU64];

    /// Whether something was looked at that the file has no more, or that the disk did not give: becomes
    /// true before what is seen there instead.
    fn is_lost(&self) -> &AtomicBool;

    /// Whether the file still has all that is shown.
    fn is_as_long(&self) -> bool;
}
