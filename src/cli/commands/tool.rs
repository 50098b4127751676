//! `bgagent tool list | show | call`.
use super::prelude::*;
use crate::cli::args::ToolCommand;
use crate::cli::render::plain_lines;
use crate::client::Connection;
use crate::protocol::{CallTool, CallToolParams, ListTools, NoParams, ToolView};
use serde_json::Value;
use std::io::Read;
use std::time::Duration;

/// Timeout of the answer. A tool may take long; the daemon enforces its own limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3600);

pub(in crate::cli) fn run(app: &mut App, command: &ToolCommand) -> Result<Outcome, Failure> {
    match command {
        ToolCommand::List => {
            let tools = app.connect()?.call::<ListTools>(&NoParams {})?;
            app.answer(&tools, |tools, screen| table(tools, screen))?;
        }
        ToolCommand::Show { name } => {
            let tool = find(&mut app.connect()?, name)?;
            app.answer(&tool, page)?;
        }
        ToolCommand::Call { name, args } => {
            let args = arguments(args)?;
            let mut connection = app.connect()?;
            connection.set_answer_timeout(ANSWER_TIMEOUT);
            let given = connection.call::<CallTool>(&CallToolParams { tool: name.clone(), args })?;
            app.answer(&given, |given, _| match &given.result {
                Value::String(text) => plain_lines(text.trim_end()) + "\n",
                other => pretty(other) + "\n",
            })?;
        }
    }
    Ok(Outcome::Done)
}

fn find(connection: &mut Connection, name: &str) -> Result<ToolView, Failure> {
    let tools = connection.call::<ListTools>(&NoParams {})?;
    tools.into_iter().find(|tool| tool.name == name).ok_or_else(|| {
        Failure::usage_hint(format!("no tool `{name}`"), "`bgagent tool list` shows all tools")
    })
}

fn arguments(text: &str) -> Result<Value, Failure> {
    let mut read = String::new();
    let text = if text == "-" {
        let stdin = std::io::stdin().read_to_string(&mut read);
        stdin.map_err(|cause| Failure::io("read", "standard input".as_ref(), cause))?;
        &read
    } else {
        text
    };
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Failure::usage_hint("arguments are a JSON object", r#"write '{"key": "value"}'"#)),
        Err(error) => Err(Failure::usage_hint(
            format!("arguments are not valid JSON: {error}"),
            r#"write '{"key": "value"}'"#,
        )),
    }
}

fn table(tools: &[ToolView], screen: &Screen) -> String {
    let mut table = Table::new().column("NAME").column("EFFECT").shrinking("DOES", 20);
    for tool in tools {
        let does = if tool.available {
            plain(&tool.description).into()
        } else {
            Cell::toned(Tone::Dim, format!("(can't be used) {}", plain(&tool.description)))
        };
        table.row(vec![Cell::toned(Tone::Strong, plain(&tool.name)), plain(&tool.effect).into(), does]);
    }
    table.render(screen)
}

fn page(tool: &ToolView, screen: &Screen) -> String {
    let kind = tool.kind.as_ref().map(|kind| format!(" ({})", plain(kind))).unwrap_or_default();
    let missing = if tool.available { "" } else { "\nIt can't be used: `bgagent mcp list` says why.\n" };
    format!(
        "{}{kind}   {}\n{}\n{missing}\n{}\n",
        screen.paint(Tone::Strong, &plain(&tool.name)),
        plain(&tool.effect),
        plain(&tool.description),
        pretty(&tool.schema)
    )
}

fn pretty(value: &Value) -> String {
    plain_lines(&serde_json::to_string_pretty(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_object() {
        assert!(arguments(r#"{"a": 1}"#).is_ok());
        for wrong in ["[1]", "3", "{", ""] {
            assert_eq!(arguments(wrong).unwrap_err().code(), 2, "{wrong}");
        }
    }
}
