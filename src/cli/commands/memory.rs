//! `bgagent memory`: what an agent remembers between runs.
use super::prelude::*;
use crate::cli::args::{MemoryAction, MemoryArgs};
use crate::domain::counted;
use crate::protocol::{AgentParams, ClearMemory, GetMemory, MemoryView};
use serde_json::json;

pub(in crate::cli) fn run(app: &mut App, args: &MemoryArgs) -> Result<Outcome, Failure> {
    let params = AgentParams { agent_id: args.agent.clone() };
    if args.action == Some(MemoryAction::Clear) {
        return clear(app, args, &params);
    }
    let memory = app.reading()?.call::<GetMemory>(&params)?;
    if memory.is_empty() && !app.json {
        app.note(&format!("{} remembers nothing", plain(&args.agent)));
        return Ok(Outcome::Done);
    }
    app.answer(&memory, |memory, screen| {
        let mut table = Table::new().shrinking("KEY", 10).column("WRITTEN").shrinking("VALUE", 20);
        for one in memory {
            let key = Cell::toned(Tone::Strong, plain(&one.key));
            let mark = if one.untrusted { "(from outside) " } else { "" };
            let value = format!("{mark}{}", plain(&one.value));
            table.row(vec![key, screen.relative(one.at).into(), value.into()]);
        }
        table.render(screen)
    })?;
    Ok(Outcome::Done)
}

/// Clears the memory. That can't be undone, so the person is told how much would be lost, and asked.
fn clear(app: &mut App, args: &MemoryArgs, params: &AgentParams) -> Result<Outcome, Failure> {
    let mut connection = app.connect()?;
    let kept = Remembered::of(&connection.call::<GetMemory>(params)?);
    let agent = plain(&args.agent);
    if !kept.is_nothing() && !args.yes {
        // without a terminal, a script that says `clear` means it
        let answer = app.confirm(&format!("{agent} would forget {}. Go on?", kept.words()))?;
        if answer == Some(false) {
            return Err(Failure::Negative {
                what: format!("{agent} has forgotten nothing"),
                hint: format!("`bgagent memory {agent}` shows what it remembers"),
            });
        }
    }
    connection.call::<ClearMemory>(params)?;
    app.answer(&kept.to_json(), |_, _| match kept.is_nothing() {
        true => format!("{agent} remembered nothing\n"),
        false => format!("{agent} has forgotten {}\n", kept.words()),
    })?;
    Ok(Outcome::Done)
}

/// How much an agent remembers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remembered {
    /// Notes that it wrote itself.
    notes: u64,
    /// Messages of its session.
    messages: u64,
    /// Its last result is passed to its next run.
    last_result: bool,
    /// Items that its gate has reported, and does not report again.
    items: u64,
}

impl Remembered {
    fn of(memory: &[MemoryView]) -> Self {
        let mut all = Self::default();
        for one in memory {
            let items = one.value.strip_suffix(" of its gate").and_then(|text| text.split(' ').next());
            match one.key.as_str() {
                "session: asked" | "session: answered" => all.messages += 1,
                "last result" => all.last_result = true,
                "seen" if items.is_some() => all.items = items.and_then(|it| it.parse().ok()).unwrap_or(0),
                _ => all.notes += 1,
            }
        }
        all
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Describes the counts: `2 notes, its last result and 12 items of its gate`.
    fn words(&self) -> String {
        let mut parts = Vec::new();
        parts.extend((self.notes > 0).then(|| counted(self.notes, "note")));
        parts.extend(
            (self.messages > 0).then(|| format!("{} of its session", counted(self.messages, "message"))),
        );
        parts.extend(self.last_result.then(|| "its last result".to_owned()));
        parts.extend((self.items > 0).then(|| format!("{} of its gate", counted(self.items, "item"))));
        match parts.pop() {
            Some(last) if !parts.is_empty() => format!("{} and {last}", parts.join(", ")),
            last => last.unwrap_or_default(),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        json!({"forgotten": {
            "notes": self.notes, "messages": self.messages, "last_result": self.last_result, "items": self.items,
        }})
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the counts of remembered items.
    use super::*;

    #[test]
    fn what_is_remembered_is_counted_by_kind() {
        let view = |key: &str, value: &str| MemoryView {
            key: key.into(),
            value: value.into(),
            at: "2026-11-24T10:00:00Z".parse().expect("a time"),
            untrusted: false,
        };
        let all = [
            view("k", "v"),
            view("seen", "a note of that name"),
            view("session: asked", "q"),
            view("session: answered", "a"),
            view("last result", "fine"),
            view("seen", "1234 items of its gate"),
        ];
        let words = Remembered::of(&all).words();
        assert_eq!(words, "2 notes, 2 messages of its session, its last result and 1234 items of its gate");
        assert_eq!(Remembered::of(&all[..1]).words(), "1 note");
        assert!(Remembered::of(&[]).is_nothing());
    }
}
