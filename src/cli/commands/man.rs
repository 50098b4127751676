//! `bgagent man`: prints a manual page, or writes all of them.
use super::prelude::*;
use crate::cli::args::ManArgs;
use crate::cli::manual;

pub(in crate::cli) fn run(app: &mut App, args: &ManArgs) -> Result<Outcome, Failure> {
    let pages = manual::pages();
    let Some(wanted) = &args.wanted else { return print(app, &pages[0].1) };
    // `list`, `mcp-list`, `bgagent-list`, `agents.toml`, each also with its section
    let is_wanted = |file: &str| {
        let name = file.rsplit_once('.').map_or(file, |(name, _)| name);
        let short = name.strip_prefix("bgagent-").unwrap_or(name);
        wanted.to_str().is_some_and(|wanted| [file, name, short].contains(&wanted))
    };
    if let Some((_, page)) = pages.iter().find(|(file, _)| is_wanted(file)) {
        return print(app, page);
    }
    std::fs::create_dir_all(wanted).map_err(|cause| Failure::io("make the folder", wanted, cause))?;
    for (name, page) in &pages {
        let path = wanted.join(name);
        std::fs::write(&path, page).map_err(|cause| Failure::io("write", &path, cause))?;
    }
    app.note(&format!("{} pages in {}", pages.len(), wanted.display()));
    Ok(Outcome::Done)
}

fn print(app: &mut App, page: &[u8]) -> Result<Outcome, Failure> {
    app.print(&String::from_utf8_lossy(page))?;
    Ok(Outcome::Done)
}
