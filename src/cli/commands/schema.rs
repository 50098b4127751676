//! `bgagent schema`: the JSON Schema of `agents.toml`.
use super::prelude::*;

pub(in crate::cli) fn run(app: &mut App) -> Result<Outcome, Failure> {
    let schema = crate::config::schema();
    let text = if app.json { serde_json::to_string(&schema) } else { serde_json::to_string_pretty(&schema) };
    app.print(&text.expect("a JSON value can be written"))?;
    app.print("\n")?;
    Ok(Outcome::Done)
}
