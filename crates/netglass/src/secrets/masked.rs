//! Secrets that may be in any part of an argument: they are masked there.

use std::{env, ffi::OsString, fmt, os::unix::process::CommandExt as _, process::Command};

use anyhow::Context as _;

/// What stands in the arguments where a secret was.
const MASK: &str = "***";

/// The environment variable that has the whole of a masked argument.
fn masked_variable(index: usize) -> String {
    format!("NETGLASS_ARGUMENT_{index}")
}

/// Starts the program anew with `secrets` masked in its arguments: what these were stands in the
/// environment, which only its user can read.
///
/// Returns where none of them is there, or with the reason why it cannot be done.
pub(crate) fn mask(secrets: &[&str]) -> anyhow::Result<()> {
    let arguments: Vec<OsString> = env::args_os().collect();
    let (shown, hidden) = masked(&arguments, secrets);
    if hidden.is_empty() {
        return Ok(());
    }
    let (name, rest) = shown.split_first().context("the program has no name")?;
    let program = env::current_exe().context("finding the program's own file")?;
    let error = Command::new(program).arg0(name).args(rest).envs(hidden).exec();
    Err(error).context(
        "taking secrets in the arguments out of sight failed; give them in the environment",
    )
}

/// The arguments without secrets, and the variables that have those which are masked.
fn masked(arguments: &[OsString], secrets: &[&str]) -> (Vec<OsString>, Vec<(String, OsString)>) {
    let mut hidden = Vec::new();
    let mask = |(index, argument): (usize, &OsString)| {
        let mut shown = argument.to_string_lossy().into_owned();
        // The first one is the program's name.
        for secret in secrets.iter().filter(|secret| index > 0 && !secret.is_empty()) {
            shown = shown.replace(secret, MASK);
        }
        if shown == argument.to_string_lossy() {
            return argument.clone();
        }
        hidden.push((masked_variable(index), argument.clone()));
        shown.into()
    };
    (arguments.iter().enumerate().map(mask).collect(), hidden)
}

/// The arguments as they were before they were masked.
pub(crate) fn unmask(arguments: Vec<OsString>) -> Vec<OsString> {
    let unmask = |(index, argument): (usize, OsString)| {
        let is_masked = argument.to_string_lossy().contains(MASK);
        is_masked.then(|| env::var_os(masked_variable(index))).flatten().unwrap_or(argument)
    };
    arguments.into_iter().enumerate().map(unmask).collect()
}

/// An argument that may be a secret, or hold one.
#[derive(Clone)]
pub(crate) struct Hidden(pub(crate) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn masked_arguments_stand_in_the_environment() {
        let given = arguments("netglass trace -ualice:PASS http://x:WORD@h/ http://h/");
        let (shown, hidden) = masked(&given, &["PASS", "WORD", ""]);
        assert_eq!(shown, arguments("netglass trace -ualice:*** http://x:***@h/ http://h/"));
        let variable = |index: usize, text: &str| (masked_variable(index), OsString::from(text));
        assert_eq!(hidden, [variable(2, "-ualice:PASS"), variable(3, "http://x:WORD@h/")]);
        assert_eq!(masked(&given, &["none"]), (given.clone(), Vec::new()));
        assert_eq!(unmask(shown.clone()), shown, "they are not in this environment");
        assert_eq!(format!("{:?}", Hidden("PASS".to_owned())), "***");
    }
}
