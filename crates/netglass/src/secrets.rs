//! Secrets in the arguments, where everybody who may list processes can read them (`ps`).

#[cfg(feature = "trace")]
mod masked;

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    process::Command,
};

use anyhow::Context as _;
use netglass_store::DatabaseUrl;

#[cfg(feature = "trace")]
pub(crate) use self::masked::{Hidden, mask, unmask};
use crate::{database, usage::UsageError};

/// An option whose value may be a secret.
struct Secret {
    /// With its dashes.
    option: &'static str,
    /// The environment variable that means the same.
    variable: &'static str,
    /// Whether this value is to be hidden.
    hides: fn(&OsStr) -> bool,
    /// What is better than to give it so.
    instead: &'static str,
}

const SECRETS: [Secret; 2] = [
    Secret {
        option: "--db",
        variable: database::VARIABLE,
        hides: has_password,
        instead: "PGPASSWORD, or a file named by --db-password-file",
    },
    Secret {
        option: "--bq-sa-key-data",
        variable: "NETGLASS_BQ_SA_KEY_DATA",
        hides: |_| true,
        instead: "NETGLASS_BQ_SA_KEY_DATA, or a file named by --bq-sa-key-file",
    },
];

/// A secret, and the option that named it.
type Found<'a> = (&'static Secret, &'a OsStr);

fn has_password(url: &OsStr) -> bool {
    let url = url.to_str().and_then(|url| url.parse().ok());
    matches!(url, Some(DatabaseUrl::Postgres(url)) if url.password().is_some())
}

/// Starts the program anew without the secrets that stand in its arguments: they go into the
/// environment, which only its user can read.
///
/// Returns where there is none, or with the reason why it cannot be done.
pub(crate) fn hide(arguments: &[OsString]) -> anyhow::Result<()> {
    let (found, others) = take(arguments)?;
    let Some((secret, _)) = found.first() else { return Ok(()) };
    let (name, rest) = others.split_first().context("the program has no name")?;
    let program = env::current_exe().context("finding the program's own file")?;
    let variables = found.iter().map(|(secret, value)| (secret.variable, value));
    let error = Command::new(program).arg0(name).args(rest).envs(variables).exec();
    let Secret { option, instead, .. } = secret;
    Err(error).with_context(|| {
        format!("taking the secret in {option} out of sight failed; use {instead}")
    })
}

/// The secrets in the arguments, and the arguments without them.
fn take(arguments: &[OsString]) -> Result<(Vec<Found<'_>>, Vec<&OsStr>), UsageError> {
    let mut found: Vec<Found<'_>> = Vec::new();
    let mut others = Vec::with_capacity(arguments.len());
    let mut rest = arguments.iter().map(OsString::as_os_str);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            others.push(argument);
            others.extend(rest);
            break;
        }
        let Some(secret) = SECRETS.iter().find(|secret| names(argument, secret.option)) else {
            others.push(argument);
            continue;
        };
        let is_apart = argument == secret.option;
        let value = if is_apart {
            rest.next()
        } else {
            argument.as_bytes().get(secret.option.len() + 1..).map(OsStr::from_bytes)
        };
        match value {
            Some(value) if (secret.hides)(value) => {
                if found.iter().any(|(earlier, _)| earlier.option == secret.option) {
                    return Err(UsageError(format!("{} is given twice", secret.option)));
                }
                found.push((secret, value));
            }
            _ => {
                others.push(argument);
                others.extend(value.filter(|_| is_apart));
            }
        }
    }
    Ok((found, others))
}

/// Whether it is the option, alone or with its value behind `=`.
fn names(argument: &OsStr, option: &str) -> bool {
    let rest = argument.as_bytes().strip_prefix(option.as_bytes());
    rest.is_some_and(|rest| rest.first().is_none_or(|&next| next == b'='))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_secret_is_that_of_an_option_which_does_not_show_it() {
        let mut cli = Cli::command();
        cli.build();
        for secret in &SECRETS {
            let mut options = cli.get_subcommands().flat_map(clap::Command::get_opts);
            let is_it = |name: &str| secret.option.strip_prefix("--") == Some(name);
            let option = options.find(|option| option.get_long().is_some_and(is_it)).unwrap();
            assert_eq!(option.get_env(), Some(OsStr::new(secret.variable)));
            // The configuration file's value is the default.
            assert!(option.is_hide_env_values_set() && option.is_hide_default_value_set());
        }
    }

    fn arguments(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn secrets_are_taken_out_of_the_arguments() {
        let url = ("NETGLASS_DB", "postgres://u:p@h/n");
        let key = ("NETGLASS_BQ_SA_KEY_DATA", "{}");
        for (line, expected, others) in [
            ("netglass --db postgres://u:p@h/n look", &[url][..], "netglass look"),
            ("netglass look --db=postgres://u:p@h/n -d 3", &[url], "netglass look -d 3"),
            ("netglass --db postgres://u@h/n look", &[], ""),
            ("netglass --db a.db look", &[], ""),
            ("netglass look --db", &[], ""),
            ("netglass look -- --db postgres://u:p@h/n", &[], ""),
            ("netglass --db-password-file x --bq-sa-key-file y", &[], ""),
            ("netglass capture --bq-sa-key-data {} -i lo", &[key], "netglass capture -i lo"),
            (
                "netglass --db postgres://u:p@h/n capture --bq-sa-key-data={} -i lo",
                &[url, key],
                "netglass capture -i lo",
            ),
        ] {
            let given = arguments(line);
            let (found, left) = take(&given).unwrap();
            let found: Vec<_> =
                found.iter().map(|(it, value)| (it.variable, value.to_str().unwrap())).collect();
            let left: Vec<_> = left.iter().map(|it| it.to_str().unwrap()).collect();
            assert_eq!(found, expected, "{line}");
            assert_eq!(left.join(" "), if expected.is_empty() { line } else { others }, "{line}");
        }
    }

    #[test]
    fn a_secret_that_is_given_twice_is_refused_without_it() {
        let given = arguments("netglass capture --bq-sa-key-data SECRET --bq-sa-key-data=SECRET");
        let refused = take(&given).map(drop).unwrap_err().to_string();
        assert_eq!(refused, "--bq-sa-key-data is given twice");
    }
}
