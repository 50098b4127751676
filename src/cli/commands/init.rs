//! `bgagent init`: writes a starter configuration.
use super::prelude::*;
use crate::cli::args::InitArgs;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

pub(in crate::cli) fn run(app: &mut App, args: &InitArgs) -> Result<Outcome, Failure> {
    let path = app.paths()?.config.clone();
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|cause| Failure::io("make the folder", folder, cause))?;
    }
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(&path).and_then(|mut file| file.write_all(crate::config::STARTER.as_bytes()));
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::Conflict {
            what: format!("{} is there already", path.display()),
            hint: "`bgagent init --force` overwrites it; `bgagent check` validates it".into(),
        }),
        Err(cause) => Err(Failure::io("write", &path, cause)),
        Ok(()) => {
            app.answer(&json!({"path": path}), |_, _| format!("{}\n", path.display()))?;
            app.note("next: edit it, `bgagent check`, then `bgagent service install` or `bgagent daemon`");
            Ok(Outcome::Done)
        }
    }
}
