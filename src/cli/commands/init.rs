//! `bgagent init`: writes a starter configuration.
use super::prelude::*;
use crate::cli::args::InitArgs;
use crate::cli::demo;
use serde_json::json;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(in crate::cli) fn run(app: &mut App, args: &InitArgs) -> Result<Outcome, Failure> {
    let path = app.paths()?.config.clone();
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|cause| Failure::io("make the folder", folder, cause))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).mode(0o644);
    if args.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(&path).and_then(|mut file| file.write_all(crate::config::STARTER.as_bytes()));
    match written {
        // a person who has a configuration may still want the example's database
        Err(error) if error.kind() == ErrorKind::AlreadyExists && args.demo => {
            let demo = make_demo(app, &path)?;
            app.answer(&json!({"path": null, "demo": demo}), |_, _| format!("{}\n", demo.display()))?;
            app.note(&format!("{} is there already, and stays as it is", path.display()));
            if !std::fs::read_to_string(&path).is_ok_and(|text| text.contains(demo::NAME)) {
                app.note(
                    "the agent `archive-demo` is in agents.example.toml: copy it with [tools.archive_demo]",
                );
            }
            Ok(Outcome::Done)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::Conflict {
            what: format!("{} is there already", path.display()),
            hint: "`bgagent init --force` overwrites it; `bgagent check` validates it".into(),
        }),
        Err(cause) => Err(Failure::io("write", &path, cause)),
        Ok(()) => {
            let demo = if args.demo { Some(make_demo(app, &path)?) } else { None };
            app.answer(&json!({"path": path, "demo": demo}), |_, _| {
                let demo = demo.as_ref().map(|demo| format!("{}\n", demo.display())).unwrap_or_default();
                format!("{}\n{demo}", path.display())
            })?;
            // options that locate the file must be repeated
            let bgagent = match &app.global.config {
                Some(path) => format!("bgagent --config {}", crate::config::shell_word(path)),
                None => "bgagent".to_owned(),
            };
            if args.demo {
                app.note(&format!(
                    "try: `{bgagent} daemon`, then `bgagent run archive-demo --wait`, `bgagent archive list archive-demo`"
                ));
            }
            app.note(&format!(
                "next: edit it, `{bgagent} check`, then `{bgagent} service install` or `{bgagent} daemon`"
            ));
            Ok(Outcome::Done)
        }
    }
}

/// Creates the example's database beside the configuration.
fn make_demo(app: &mut App, config: &Path) -> Result<PathBuf, Failure> {
    let demo = config.with_file_name(demo::NAME);
    let made = demo::make(&demo)
        .map_err(|error| Failure::io("make", &demo, std::io::Error::other(error.to_string())))?;
    if !made {
        app.note(&format!("{} is there already, and stays as it is", demo.display()));
    }
    Ok(demo)
}
