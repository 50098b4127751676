//! `bgagent apply`: the configuration of a fleet, which is kept with its records.
use super::prelude::*;
use super::reload::changed_agents;
use crate::cli::args::ApplyArgs;
use crate::protocol::{ApplyConfig, ApplyParams, ApplyView, ConfigView, ListConfigs, ListConfigsParams};
use std::path::Path;

pub(in crate::cli) fn run(app: &mut App, args: &ApplyArgs) -> Result<Outcome, Failure> {
    if args.history {
        return history(app);
    }
    if let Some(revision) = args.show {
        return show(app, revision);
    }
    super::proposals::refuse_agents(app, "apply a configuration to the fleet")?;
    let wanted = wanted(app, args)?;
    let plan = app.connect()?.call::<ApplyConfig>(&ApplyParams { dry_run: true, ..wanted.clone() })?;
    if !plan.changed || args.dry_run {
        app.answer(&plan, text)?;
        warn(app, &plan)?;
        return Ok(Outcome::Done);
    }
    if !app.json {
        let shown = text(&plan, &app.screen);
        app.print(&shown)?;
    }
    if !plan.rights.is_empty() && !args.yes && !confirmed(app, args)? {
        return Err(Failure::Negative {
            what: "nothing was applied".into(),
            hint: "the configuration in force stays".into(),
        });
    }
    // what was looked at is what is changed
    let wanted = ApplyParams { after: Some(plan.revision), ..wanted };
    let done = app.connect()?.call::<ApplyConfig>(&wanted)?;
    if app.json {
        app.print_json(&done)?;
    } else if args.withdraw {
        app.note("the file of whichever node leads is in force");
    } else {
        app.note(&format!("revision {} of the fleet's configuration is in force", done.revision));
    }
    warn(app, &done)?;
    Ok(Outcome::Done)
}

fn wanted(app: &mut App, args: &ApplyArgs) -> Result<ApplyParams, Failure> {
    let mut params = ApplyParams { again: args.again, withdraw: args.withdraw, ..ApplyParams::default() };
    if let Some(file) = &args.file {
        let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let read = crate::config::read(&path);
        params.text = Some(read.map_err(|rejected| Failure::rejected(&rejected, app.stderr_color))?);
        params.origin = Some(path.display().to_string());
    }
    Ok(params)
}

/// Asks; where nobody can be asked, says what to type.
fn confirmed(app: &mut App, args: &ApplyArgs) -> Result<bool, Failure> {
    let asked = app.confirm("The fleet may do more then than it may now (+ above). Apply it?")?;
    asked.ok_or_else(|| {
        let what = match (&args.file, args.again) {
            (Some(file), _) => crate::config::shell_word(file),
            (None, Some(revision)) => format!("--again {revision}"),
            (None, None) => "--withdraw".to_owned(),
        };
        let hint = format!("read what it may do, then: bgagent apply {what} --yes");
        Failure::usage_hint("there is no terminal to ask on", hint)
    })
}

fn warn(app: &mut App, view: &ApplyView) -> Result<(), Failure> {
    if !app.json {
        app.flush()?;
        for warning in &view.warnings {
            app.note(warning.trim_end());
        }
    }
    Ok(())
}

fn text(view: &ApplyView, screen: &Screen) -> String {
    if !view.changed {
        return match view.revision {
            0 => "nothing to change: no configuration was applied to the fleet\n".to_owned(),
            revision => format!("nothing to change: this is in force, as revision {revision}\n"),
        };
    }
    let mut text = changed_agents(screen, [&view.added, &view.modified, &view.removed]);
    if text.is_empty() {
        text.push_str("no agent is different\n");
    }
    if !view.rights.is_empty() {
        text.push_str("it may do what it may not do now:\n");
    }
    for right in &view.rights {
        text.push_str(&format!("  {}\n", screen.paint(Tone::Warn, &format!("+ {}", plain(right)))));
    }
    text
}

fn history(app: &mut App) -> Result<Outcome, Failure> {
    let all = app.reading()?.call::<ListConfigs>(&ListConfigsParams::default())?;
    app.answer(&all, |all, screen| {
        if all.is_empty() {
            return "no configuration was applied to the fleet\n".to_owned();
        }
        let mut table = Table::new().shrinking_last("REVISION", 8).shrinking_first("FROM", 20);
        table = table.shrinking("BY", 12).shrinking("APPLIED", 20);
        for one in all {
            table.row(vec![
                Cell::toned(Tone::Strong, one.revision.to_string()),
                if one.withdrawn { "(withdrawn)".into() } else { plain(&one.origin).into() },
                plain(&one.by).into(),
                screen.full(one.at).into(),
            ]);
        }
        table.render(screen)
    })?;
    Ok(Outcome::Done)
}

fn show(app: &mut App, revision: u64) -> Result<Outcome, Failure> {
    let params = ListConfigsParams { revision: Some(revision), limit: None };
    let found = app.reading()?.call::<ListConfigs>(&params)?;
    let Some(found) = found.into_iter().next() else {
        return Err(Failure::Negative {
            what: "no configuration was applied to the fleet".into(),
            hint: "`bgagent apply FILE` applies one; until then the file of the leader is in force".into(),
        });
    };
    if app.json {
        app.print_json(&found)?;
        return Ok(Outcome::Done);
    }
    match &found.text {
        Some(text) => app.print(text)?,
        None => app.note(&withdrawn(&found)),
    }
    Ok(Outcome::Done)
}

fn withdrawn(view: &ConfigView) -> String {
    format!(
        "revision {}: {} withdrew what was applied, so the file of the leader is in force",
        view.revision,
        plain(&view.by)
    )
}

/// Where the agents of a node come from, if that is not its file.
pub(super) fn source(view: &ConfigView, own: &Path, screen: &Screen) -> String {
    format!(
        "agents come from revision {} of the fleet's configuration, which {} applied {}; {} only says what is of this machine",
        view.revision,
        plain(&view.by),
        screen.relative(view.at),
        plain(&own.display().to_string())
    )
}
