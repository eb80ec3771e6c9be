//! Waiting for what is told to nobody.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks again and again: what is waited for is done by another process, which tells nobody.
#[track_caller]
pub fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it does not come");
        thread::sleep(Duration::from_millis(10));
    }
}
