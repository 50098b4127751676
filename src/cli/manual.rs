//! The manual pages, generated from the definition of the command line.
use super::args::Cli;
use crate::config::{VALUES, reference};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

/// Returns all pages, by file name: `bgagent.1`, then `bgagent-<command>.1`, and `agents.toml.5`.
pub(super) fn pages() -> Vec<(String, Vec<u8>)> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = vec![("bgagent.1".to_owned(), page(root.clone()))];
    collect(&root, "bgagent", &mut pages);
    pages.push(("agents.toml.5".to_owned(), configuration()));
    pages
}

fn collect(parent: &Command, prefix: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    for command in parent.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("{prefix}-{}", command.get_name());
        pages.push((format!("{name}.1"), page(command.clone().display_name(name.clone()))));
        collect(command, &name, pages);
    }
}

fn page(command: Command) -> Vec<u8> {
    let name = command.get_display_name().unwrap_or("bgagent").to_uppercase();
    let mut page = Vec::new();
    Man::new(command)
        .title(name)
        .source(concat!("bgagent ", env!("CARGO_PKG_VERSION")))
        .manual("bgagent manual")
        .render(&mut page)
        .expect("a vector takes every byte");
    let page = String::from_utf8(page).expect("descriptions are text");
    page.replace(".SH EXTRA\n", ".SH NOTES\n").into_bytes()
}

/// Returns the page of the configuration file.
fn configuration() -> Vec<u8> {
    const WHAT: &str = "The configuration of bgagent(1): which agents there are, when each is due, what runs, within which \
                        limits, how success is proved and who is notified.";
    let mut page = Roff::new();
    let source = concat!("bgagent ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["AGENTS.TOML", "5", "", source, "bgagent manual"]);
    page.control("SH", ["NAME"]).text([roman("agents.toml - agents of bgagent")]);
    page.control("SH", ["DESCRIPTION"]).text([roman(WHAT)]);
    page.control("PP", []).text([roman(
        "It is written in TOML. Unknown keys are errors. bgagent check finds every mistake, bgagent schema gives \
         the same to editors.",
    )]);
    for (name, about) in VALUES {
        page.control("TP", []).text([italic(*name)]).text([roman(*about)]);
    }
    for section in reference() {
        page.control("SH", [section.title.as_str()]).text([roman(section.about)]);
        for entry in section.entries {
            page.control("TP", []).text([bold(entry.name), roman(" = "), italic(entry.value)]);
            page.text([roman(entry.about)]);
        }
    }
    page.control("SH", ["SEE ALSO"]).text([roman("bgagent(1), bgagent-check(1), bgagent-schema(1)")]);
    page.render().into_bytes()
}
