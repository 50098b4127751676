//! `bgagent man`: prints the manual page, or writes all of them.
use super::prelude::*;
use crate::cli::args::ManArgs;
use crate::cli::manual;

pub(in crate::cli) fn run(app: &mut App, args: &ManArgs) -> Result<Outcome, Failure> {
    let pages = manual::pages();
    let Some(dir) = &args.dir else {
        let text = pages.first().map(|(_, page)| String::from_utf8_lossy(page)).unwrap_or_default();
        app.print(&text)?;
        return Ok(Outcome::Done);
    };
    std::fs::create_dir_all(dir).map_err(|cause| Failure::io("make the folder", dir, cause))?;
    for (name, page) in &pages {
        let path = dir.join(name);
        std::fs::write(&path, page).map_err(|cause| Failure::io("write", &path, cause))?;
    }
    app.note(&format!("{} pages in {}", pages.len(), dir.display()));
    Ok(Outcome::Done)
}
