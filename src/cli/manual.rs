//! The manual pages, made from the command line's own description.
use super::args::Cli;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

/// All pages, by file name: `bgagent.1`, then `bgagent-<command>.1`.
pub(super) fn pages() -> Vec<(String, Vec<u8>)> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = vec![("bgagent.1".to_owned(), page(root.clone()))];
    collect(&root, "bgagent", &mut pages);
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
