//! The program as its users meet it: what it prints, where, and with which status it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    fs::{self, File},
    io::pipe,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use netglass_testing::{Ended, PostgreSql, Running, require};

const VERBS: [&str; 15] = [
    "probe",
    "up",
    "capture",
    "stream",
    "top",
    "monitor",
    "trace",
    "explain",
    "look",
    "diff",
    "status",
    "create-scheme",
    "doctor",
    "man",
    "completions",
];

netglass_testing::own_place! {
    /// Where the program runs.
    struct Place;
}

impl Place {
    fn new() -> Self {
        Self(netglass_testing::Place::new())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let command = Command::new(env!("CARGO_BIN_EXE_netglass"));
        let mut command = self.prepare(command, arguments);
        command.env("NETGLASS_DB", format!("sqlite:{}", self.path("default.db").display()));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::by(&mut self.command(arguments))
    }
}

#[test]
fn help_says_everything() {
    let place = Place::new();
    insta::assert_snapshot!("help", place.run(&["--help"]).stdout);
    for verb in VERBS {
        insta::assert_snapshot!(format!("help-{verb}"), place.run(&[verb, "--help"]).stdout);
    }
    for verb in ["diff", "show"] {
        let help = place.run(&["trace", verb, "--help"]).stdout;
        insta::assert_snapshot!(format!("help-trace-{verb}"), help);
    }
}

#[test]
fn every_option_of_capture_is_documented() {
    assert_documented(
        "capture",
        &[include_str!("../../../docs/capture.md"), include_str!("../../../docs/bigquery.md")],
    );
}

#[test]
fn every_option_of_monitor_is_documented() {
    assert_documented("monitor", &[include_str!("../../../docs/monitor.md")]);
}

#[test]
fn every_option_of_trace_is_documented() {
    assert_documented("trace", &[include_str!("../../../docs/trace.md")]);
}

#[test]
fn every_option_of_top_is_documented() {
    assert_documented(
        "top",
        &[include_str!("../../../docs/top.md"), include_str!("../../../docs/stream.md")],
    );
}

#[track_caller]
fn assert_documented(verb: &str, documents: &[&str]) {
    let help = Place::new().run(&[verb, "--help"]).stdout;
    let (own, _) = help.split_once("Options of every verb:").unwrap();
    let words = || {
        let words = own.split([' ', ',', '=', ']', '[', '\n']);
        words.map(|word| word.trim_end_matches(['.', ';']))
    };
    let options: Vec<_> =
        words().filter(|word| word.starts_with("--") && *word != "--help").collect();
    let variables: Vec<_> = words()
        .filter(|word| word.starts_with("NETGLASS_") && !word.starts_with("NETGLASS_BQ_"))
        .collect();
    assert!(options.len() > 20 && variables.len() > 20, "{options:?} {variables:?}");
    for name in options.into_iter().chain(variables) {
        let is_named = |document: &&str| {
            [format!("`{name}`"), format!("`{name} "), format!(", `{name}"), format!(", {name} ")]
                .iter()
                .any(|text| document.contains(text))
        };
        assert!(documents.iter().any(is_named), "{name} is in no document");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    let place = Place::new();
    place.run(&[]).assert_refused(2, &["Usage: netglass"]);
    place.run(&["lok"]).assert_refused(2, &["unrecognized subcommand 'lok'", "look"]);
    place.run(&["look", "10.0.0.300"]).assert_refused(2, &["10.0.0.300", "neither an IPv4 nor"]);
    place.run(&["look", "10.0.0.1:80"]).assert_refused(2, &["10.0.0.1 --port 80"]);
    place.run(&["look", "--ipv4", "::1"]).assert_refused(2, &["--ipv4", "IPv4 address"]);
    place.run(&["look", "--ipv6", "10.0.0.1"]).assert_refused(2, &["--ipv6", "IPv6 address"]);
    place.run(&["look", "--port", "0"]).assert_refused(2, &["--port", "not in 1..=65535"]);
    place.run(&["look", "--depth", "0"]).assert_refused(2, &["--depth", "not in 1..=100"]);
    place.run(&["look", "--depth", "deep"]).assert_refused(2, &["--depth", "'deep'"]);
    place.run(&["look", "--since", "a while"]).assert_refused(2, &["--since", "not a duration"]);
    place.run(&["look", "--since=-1h"]).assert_refused(2, &["--since", "negative"]);
    place.run(&["look", "--since", "1mo"]).assert_refused(2, &["--since", "give days"]);
    place.run(&["look", "--format", "xml"]).assert_refused(2, &["'xml'", "tree, json, dot"]);
    place
        .run(&["look", "--since", "1h", "--until", "2h"])
        .assert_refused(2, &["netglass: --since (", "is later than --until ("]);
    place.run(&["diff"]).assert_refused(2, &["--from <WHEN>"]);
    place
        .run(&["diff", "--from", "1h", "--to", "2h"])
        .assert_refused(2, &["netglass: --from (", "is not earlier than --to ("]);
    place.run(&["status", "--silent-after", "5"]).assert_refused(2, &["--silent-after", "30s"]);
    place.run(&["status", "--format", "tree"]).assert_refused(2, &["'tree'", "text, json"]);
    place.run(&["doctor", "--format", "xml"]).assert_refused(2, &["'xml'", "text, json"]);
    place.run(&["completions", "cmd.exe"]).assert_refused(2, &["'cmd.exe'", "bash"]);
}

#[test]
fn a_wrong_environment_variable_is_wrong_usage() {
    let place = Place::new();
    let ended = Ended::by(place.command(&["look"]).env("NETGLASS_DEPTH", "0"));
    ended.assert_refused(2, &["'0'", "--depth"]);
}

#[test]
fn a_database_that_is_none_is_an_error() {
    let place = Place::new();
    place
        .run(&["look", "--db", "oracle://db"])
        .assert_refused(2, &["netglass: ", "oracle", "sqlite:PATH"]);
    let secret = place.run(&["look", "--db", "mysql://root:secret@db/x"]);
    secret.assert_refused(2, &["mysql"]);
    assert!(!secret.stderr.contains("secret"), "{secret:?}");
    place.run(&["look"]).assert_refused(1, &["default.db", "no such file", "netglass probe"]);

    let directory = format!("sqlite:{}", place.directory().display());
    for verb in ["look", "create-scheme"] {
        place.run(&[verb, "--db", &directory]).assert_refused(1, &["netglass: ", "director"]);
    }
    fs::write(place.path("text.db"), "this is no database, whatever its name is".repeat(99))
        .unwrap();
    let text = format!("sqlite:{}", place.path("text.db").display());
    for verb in ["look", "create-scheme"] {
        place.run(&[verb, "--db", &text]).assert_refused(1, &["netglass: ", "text.db"]);
    }
}

#[test]
fn a_flag_is_over_the_environment_is_over_the_file_is_over_the_default() {
    let place = Place::new();
    let file = place.path("netglass.toml");
    let db = |name: &str| format!("sqlite:{}", place.path(name).display());
    fs::write(&file, format!("db = '{}'", db("file.db"))).unwrap();
    let says = |command: &mut Command, name: &str| {
        Ended::by(command).assert_refused(1, &[name, "no such file"]);
    };
    let flag = db("flag.db");

    says(place.command(&["look", "--db", &flag]).env("NETGLASS_CONFIG", &file), "flag.db");
    says(place.command(&["--db", &flag, "look"]).env("NETGLASS_CONFIG", &file), "flag.db");
    says(
        place.command(&["look"]).env("NETGLASS_CONFIG", &file).env("NETGLASS_DB", db("env.db")),
        "env.db",
    );
    says(
        place.command(&["look"]).env("NETGLASS_CONFIG", &file).env_remove("NETGLASS_DB"),
        "file.db",
    );
    let named = file.to_str().unwrap();
    says(place.command(&["look", "--config", named]).env_remove("NETGLASS_DB"), "file.db");

    // The default database may be there or not, so another option has to show its default.
    fs::write(&file, "[look]\ndepth = 0").unwrap();
    let with_file = Ended::by(place.command(&["look"]).env("NETGLASS_CONFIG", &file));
    with_file.assert_refused(2, &["look.depth", "0"]);
    says(&mut place.command(&["look"]), "default.db");
}

#[test]
fn a_password_in_a_file_is_not_shown() {
    let place = Place::new();
    fs::write(place.path("secret.toml"), "db = 'mysql://root:secret@db/x'").unwrap();
    for arguments in [["look", "--help"], ["look", "-h"], ["look", "nginx"]] {
        let mut command = place.command(&arguments);
        let command = command.env("NETGLASS_CONFIG", place.path("secret.toml"));
        let ended = Ended::by(command.env_remove("NETGLASS_DB"));
        assert!(!(ended.stdout + &ended.stderr).contains("secret"), "{arguments:?}");
    }
}

#[test]
fn the_users_file_is_found_where_none_is_named() {
    let place = Place::new();
    let directory = place.path(".config/netglass");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("netglass.toml"), "[look]\ndepth = 0").unwrap();
    let mut command = place.command(&["look"]);
    let ended = Ended::by(command.env_remove("NETGLASS_CONFIG"));
    ended.assert_refused(2, &["netglass: ", ".config/netglass/netglass.toml: look.depth"]);
}

#[test]
fn a_configuration_file_that_is_named_must_be_there() {
    let place = Place::new();
    place.run(&["look", "--config", "none.toml"]).assert_refused(1, &["none.toml", "No such file"]);
    fs::write(place.path("bad.toml"), "[look]\ndeep = 3").unwrap();
    place
        .run(&["look", "--config=bad.toml"])
        .assert_refused(2, &["bad.toml", "look.deep", "depth"]);
    let help = place.run(&["look", "--help", "--config", "bad.toml"]);
    assert_eq!(help.status, 0, "help does not need the file: {help:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = Place::new();
    for arguments in [&["completions", "bash"] as &[_], &["man"], &["--help"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = place.command(arguments).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = place.command(&["completions", "bash"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("netglass: No space left"));
}

#[test]
fn every_verb_has_a_man_page() {
    let place = Place::new();
    let ended = place.run(&["man", "pages/man1"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let page = |name: &str| fs::read_to_string(place.path("pages/man1").join(name)).unwrap();
    for verb in VERBS {
        let name = format!("netglass-{verb}.1");
        assert!(ended.stdout.contains(&name), "{ended:?}");
        assert!(page(&name).contains(&format!(".TH netglass-{verb} 1")));
    }
    assert!(page("netglass.1").contains("netglass\\-look(1)"));
    assert!(page("netglass-look.1").contains("NETGLASS_DEPTH"));
    assert!(page("netglass-trace.1").contains("netglass\\-trace\\-diff(1)"));
    assert!(page("netglass-trace-diff.1").contains(".TH netglass-trace-diff 1"));
    assert_eq!(place.run(&["man"]).stdout, page("netglass.1"));

    fs::write(place.path("file"), "").unwrap();
    place.run(&["man", "file"]).assert_refused(1, &["creating the directory file"]);
}

#[test]
fn shells_get_their_completions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = place.run(&["completions", shell]);
        assert_eq!(ended.status, 0);
        assert!(ended.stdout.contains("create-scheme"), "{shell}");
    }
}

#[test]
fn the_doctor_says_in_its_status_whether_everything_works() {
    let place = Place::new();
    let ended = place.run(&["doctor", "--format", "json"]);
    assert_eq!(ended.stderr, "");
    let records: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.iter().all(|record| record["version"] == 1), "{ended:?}");
    let (mode, features) = records.split_last().unwrap();
    assert_eq!(mode["kind"], "mode");
    assert!(["streaming", "polling"].contains(&mode["mode"].as_str().unwrap()), "{mode}");
    assert!(features.iter().all(|feature| feature["kind"] == "feature"));
    for feature in features {
        assert_eq!(feature["works"].as_bool().unwrap(), feature["reason"].is_null(), "{feature}");
    }
    let all_work = features.iter().all(|feature| feature["works"] == true);
    assert_eq!(ended.status, i32::from(!all_work), "{ended:?}");

    let text = place.run(&["doctor"]);
    assert_eq!((text.status, text.stderr.as_str()), (ended.status, ""));
    assert!(text.stdout.starts_with("FEATURE "), "without a terminal there is no colour");
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 100), "{}", text.stdout);
    assert!(text.stdout.contains("\n`--mode auto` "), "{}", text.stdout);
}

#[test]
fn a_scheme_is_created_once() {
    let place = Place::new();
    for (verb, says) in [("create-scheme", "created sqlite:"), ("create-schema", "up to date")] {
        let ended = place.run(&[verb]);
        assert_eq!(ended.status, 0, "{ended:?}");
        assert!(ended.stdout.contains(says), "{ended:?}");
    }
    assert!(Path::exists(&place.path("default.db")));
    place.run(&["look"]).assert_refused(1, &["no host has reported", "netglass probe"]);
}

#[test]
fn a_password_in_the_arguments_is_taken_out_of_sight() {
    let place = Place::new();
    // A server that never says a word: the program waits for it.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let url = format!("postgres://user:PASSWORD@127.0.0.1:{port}/fleet?connect_timeout=60");
    let program = Running::spawn(place.command(&["look", "--db", &url, "--depth", "2"]));
    let _connection = server.accept().unwrap();
    let arguments = fs::read(format!("/proc/{}/cmdline", program.id())).unwrap();
    let arguments = String::from_utf8(arguments).unwrap();
    let (name, rest) = arguments.split_once('\0').unwrap();
    assert_eq!((name, rest), (env!("CARGO_BIN_EXE_netglass"), "look\0--depth\x002\0"));
    let name = fs::read_to_string(format!("/proc/{}/comm", program.id())).unwrap();
    assert_eq!(name, "netglass\n");
}

#[test]
fn the_password_for_a_server_is_found_where_it_was_put() {
    require!(postgresql);
    let server = PostgreSql::new().start();
    let place = Place::new();
    let url = format!("postgres://{}@127.0.0.1:{}/postgres", PostgreSql::USER, server.port());
    let make = |change: &dyn Fn(&mut Command)| {
        let mut command = place.command(&["create-scheme", "--db", &url]);
        change(&mut command);
        Ended::by(&mut command)
    };
    let ended = make(&|_| {});
    assert_eq!(ended.status, 1);
    assert!(ended.stderr.contains("asks for a password"), "{}", ended.stderr);

    let made = format!("the schema of {url} is up to date\n");
    fs::write(place.path("password"), format!("{}\n", PostgreSql::PASSWORD)).unwrap();
    let ended = make(&|command| {
        command.env("PGPASSWORD", PostgreSql::PASSWORD);
    });
    assert_eq!(ended.stdout, made, "{}", ended.stderr);
    let ended = make(&|command| {
        command.args(["--db-password-file", "password"]).env("PGPASSWORD", "not asked for");
    });
    assert_eq!(ended.stdout, made, "{}", ended.stderr);

    let password_file = place.path(".pgpass");
    let escaped = PostgreSql::PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    fs::write(&password_file, format!("*:*:*:{}:{escaped}\n", PostgreSql::USER)).unwrap();
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = make(&|_| {});
    assert_eq!(ended.status, 1);
    assert!(ended.stderr.contains("chmod 600"), "{}", ended.stderr);
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
    let ended = make(&|_| {});
    assert_eq!(ended.stdout, made, "{}", ended.stderr);
    let ended =
        Ended::by(place.command(&["look", "--db", &server.url("postgres")]).arg("10.0.0.1"));
    assert!(!ended.stderr.contains(PostgreSql::PASSWORD), "{}", ended.stderr);
}
