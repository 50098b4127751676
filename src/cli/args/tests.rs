//! The command line is sound: what is taken, what is refused.
use super::*;
use clap::CommandFactory;

#[test]
fn the_description_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_is_taken() {
    let lines = [
        "",
        "--json",
        "init --force",
        "check",
        "check x.toml --json",
        "daemon --log-json",
        "start a b news-*",
        "start --all",
        "pause a --for 2h --reason x",
        "pause --all --until 08:00",
        "resume a",
        "stop a --drain",
        "stop --all --now",
        "list",
        "ls",
        "list a-*",
        "status",
        "status a",
        "tail",
        "tail a b --type x,y --run r",
        "tail -n 5 -f",
        "tail -n 0",
        "tail --since 10m --no-follow",
        "tail -n 5 --since 1h",
        "tail -n 5 --from 3",
        "tail --from 3 --until 10:00",
        "tail --cursor-file f",
        "run a",
        "run a --query q --wait --timeout 5m",
        "cancel r --now",
        "skip a",
        "runs",
        "runs a --status failed --limit 3",
        "runs --status ok",
        "show r",
        "logs a -f",
        "next",
        "next a --for 7d --limit 3",
        "why a",
        "why a 09:00",
        "usage",
        "usage --by model",
        "reload",
        "apply f",
        "apply f --dry-run",
        "apply f --yes",
        "apply --history",
        "apply --show",
        "apply --show 3",
        "apply --again 3 --yes",
        "apply --withdraw",
        "shutdown --now",
        "trust",
        "trust f --yes",
        "--trust daemon",
        "daemon --trust",
        "tool list",
        "tool show t",
        "tool call t",
        "tool call t {}",
        "archive list t",
        "archive verify t",
        "archive restore t --all --dry-run",
        "mcp list",
        "mcp test s",
        "mcp trust s",
        "mcp trust s --yes",
        "replay r --model m",
        "run a --rehearse",
        "approvals",
        "approve x",
        "deny x --reason y",
        "incidents",
        "incidents --all",
        "incidents ack k --agent a",
        "memory a",
        "memory a clear",
        "service install --no-start",
        "service uninstall",
        "service status",
        "health",
        "health --max-late 15m",
        "completions bash",
        "man",
        "man dir",
        "schema",
        "--socket s --state-dir d --config c --color never list",
        "list --color always --json",
    ];
    for line in lines {
        let words = std::iter::once("bgagent").chain(line.split_whitespace());
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn wrong_use_is_refused() {
    let lines = [
        "apply",
        "apply f --history",
        "apply --again 0",
        "apply --show --dry-run",
        "start",
        "start a --all",
        "pause a --for 2h --until 08:00",
        "stop a --drain --now",
        "tail --from 1 --since 1h",
        "tail -f --no-follow",
        "run",
        "run a --timeout 5m",
        "cancel",
        "status a b",
        "runs --status great",
        "runs -n 0",
        "next -n 0",
        "usage --by moon",
        "memory a forget",
        "completions tcsh",
        "--color sometimes list",
        "unknown",
        "tool",
    ];
    for line in lines {
        let words = std::iter::once("bgagent").chain(line.split_whitespace());
        let error = Cli::try_parse_from(words).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn statuses_are_those_of_runs() {
    let words: Vec<&str> = crate::domain::RunStatus::ALL.iter().map(|status| status.as_str()).collect();
    assert_eq!(words, super::look::STATUSES);
}

/// The terminal's width breaks lines; one that is broken already would be broken twice.
#[test]
fn no_paragraph_of_a_help_has_a_line_break_of_its_own() {
    fn look(command: &clap::Command, path: &str) {
        let texts = [
            command.get_about(),
            command.get_long_about(),
            command.get_before_help(),
            command.get_after_help(),
            command.get_after_long_help(),
        ];
        let of_flags = command.get_arguments().flat_map(|arg| [arg.get_help(), arg.get_long_help()]);
        for text in texts.into_iter().chain(of_flags).flatten().map(ToString::to_string) {
            // a heading ends with a colon, and examples are indented or one by one
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.windows(2) {
                let [one, next] = pair else { continue };
                let goes_on = next.starts_with(|c: char| !c.is_whitespace());
                assert!(one.is_empty() || one.ends_with(':') || !goes_on, "{path}: {one:?}, {next:?}");
            }
        }
        for below in command.get_subcommands() {
            look(below, &format!("{path} {}", below.get_name()));
        }
    }
    look(&Cli::command(), "bgagent");
}
