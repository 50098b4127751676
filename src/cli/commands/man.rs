//! `bgagent man`: prints a manual page, or writes all of them.
use super::prelude::*;
use crate::cli::args::ManArgs;
use crate::cli::manual;
use crate::domain::nearest;

pub(in crate::cli) fn run(app: &mut App, args: &ManArgs) -> Result<Outcome, Failure> {
    let pages = manual::pages();
    let Some(wanted) = &args.wanted else { return print(app, &pages[0].1) };
    // accepts `list`, `mcp-list`, `bgagent-list`, `agents.toml`, each also with its section
    let is_wanted = |file: &str| {
        let name = file.rsplit_once('.').map_or(file, |(name, _)| name);
        let short = name.strip_prefix("bgagent-").unwrap_or(name);
        wanted.to_str().is_some_and(|wanted| [file, name, short].contains(&wanted))
    };
    if let Some((_, page)) = pages.iter().find(|(file, _)| is_wanted(file)) {
        return print(app, page);
    }
    // neither a page nor a path: most likely a misspelled page name
    let is_path = wanted.as_os_str().as_encoded_bytes().contains(&b'/');
    if !is_path && !wanted.is_dir() {
        let name = wanted.to_string_lossy();
        let all = pages.iter().map(|(file, _)| {
            let page = file.rsplit_once('.').map_or(file.as_str(), |(name, _)| name);
            page.strip_prefix("bgagent-").unwrap_or(page)
        });
        let hint = match nearest(&name, all) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`bgagent --help` lists the commands, each of which has one".to_owned(),
        };
        let hint =
            format!("{hint} To write all pages into a new folder, name it with a slash: ./{}", plain(&name));
        return Err(Failure::usage_hint(format!("there is no page `{}`", plain(&name)), hint));
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
