//! Waiting for what another process does and tells nobody.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// Long enough to cost what is measured nothing.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer; `what` is what is waited for.
pub(crate) fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_waited_for_as_long_as_patience_lasts() {
        let mut asked = 0;
        let third = || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        };
        assert_eq!(wait_for("the third", Duration::from_secs(60), third).unwrap(), 3);
        let never = wait_for::<()>("the end", Duration::from_millis(1), || Ok(None));
        assert_eq!(never.unwrap_err().to_string(), "waited 1ms in vain for the end");
    }
}
