//! `bgagent init`: writes a starter configuration.
use super::prelude::*;
use crate::cli::args::InitArgs;
use crate::cli::demo;
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
            let demo = args.demo.then(|| path.with_file_name(demo::NAME));
            if let Some(demo) = &demo {
                let made = demo::make(demo)
                    .map_err(|error| Failure::io("make", demo, std::io::Error::other(error.to_string())))?;
                if !made {
                    app.note(&format!("{} is there already, and stays as it is", demo.display()));
                }
            }
            app.answer(&json!({"path": path, "demo": demo}), |_, _| {
                let demo = demo.as_ref().map(|demo| format!("{}\n", demo.display())).unwrap_or_default();
                format!("{}\n{demo}", path.display())
            })?;
            if args.demo {
                app.note("try: `bgagent daemon`, then `bgagent run archive-demo --wait`, `bgagent archive list archive-demo`");
            }
            app.note("next: edit it, `bgagent check`, then `bgagent service install` or `bgagent daemon`");
            Ok(Outcome::Done)
        }
    }
}
