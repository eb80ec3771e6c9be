//! What a configuration file may say, and what it does.

use clap::{CommandFactory as _, FromArgMatches as _};

use super::*;
use crate::cli::Cli;

fn with_file(text: &str) -> Result<Command, String> {
    apply(Cli::command(), Path::new("netglass.toml"), text).map_err(|error| error.to_string())
}

/// How the arguments are understood with a file.
fn understood(text: &str, arguments: &[&str]) -> String {
    let matches = with_file(text).unwrap().try_get_matches_from(arguments).unwrap();
    format!("{:?}", Cli::from_arg_matches(&matches).unwrap())
}

fn refusal(text: &str) -> String {
    with_file(text).map(|_| ()).unwrap_err()
}

#[test]
fn a_file_is_over_the_default_and_under_a_flag() {
    let file = "db = 'sqlite:/file.db'\n[look]\ndepth = 3\nformat = 'json'\nlistening = true\n";
    let from_file = understood(file, &["netglass", "look"]);
    assert!(from_file.contains("depth: 3"), "{from_file}");
    assert!(from_file.contains("format: Json"), "{from_file}");
    assert!(from_file.contains("listening: true"), "{from_file}");
    assert!(from_file.contains("/file.db"), "{from_file}");

    let from_flags =
        understood(file, &["netglass", "look", "--depth", "2", "--db", "sqlite:/flag.db"]);
    assert!(from_flags.contains("depth: 2"), "{from_flags}");
    assert!(from_flags.contains("/flag.db"), "{from_flags}");
    let before_the_verb = understood(file, &["netglass", "--db", "sqlite:/flag.db", "look"]);
    assert!(before_the_verb.contains("/flag.db"), "{before_the_verb}");
}

#[test]
fn a_later_file_is_over_an_earlier_one() {
    let command = with_file("[look]\ndepth = 3\nport = 80").unwrap();
    let command = apply(command, Path::new("user.toml"), "[look]\ndepth = 4").unwrap();
    let matches = command.try_get_matches_from(["netglass", "look"]).unwrap();
    let cli = format!("{:?}", Cli::from_arg_matches(&matches).unwrap());
    assert!(cli.contains("depth: 4") && cli.contains("port: Some(80)"), "{cli}");
}

#[test]
fn an_alias_of_a_verb_names_its_table() {
    assert!(with_file("[create-schema]\n").is_ok());
}

#[test]
fn a_refusal_names_file_key_and_what_is_allowed() {
    insta::assert_snapshot!(
        [
            "[lok]\ndepth = 3",
            "[look]\ndeep = 3",
            "depth = 3",
            "config = 'other.toml'",
            "[look]\ndepth = 0",
            "[look]\ndepth = true",
            "[look]\nlistening = 1",
            "[look]\nformat = 'xml'",
            "[look]\nsince = 'yesterday'",
            "[look]\nport = [80, 443]",
            "[create-scheme]\ndepth = 1",
            "[look",
        ]
        .map(|text| format!("{text}\n=> {}\n", refusal(text)))
        .join("\n")
    );
}

#[test]
fn the_file_is_found_among_the_arguments() {
    let named = |arguments: &[&str]| {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        named_file(&arguments)
    };
    let file = Some(PathBuf::from("a.toml"));
    assert_eq!(named(&["netglass", "--config", "a.toml", "look"]), file);
    assert_eq!(named(&["netglass", "look", "--config=a.toml"]), file);
}
