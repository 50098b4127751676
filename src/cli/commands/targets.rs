//! Commands on several agents: names, globs, or all. Each target's outcome is one line; a failure does not prevent the
//! others.
use super::prelude::*;
use crate::cli::args::Targets;
use crate::client::Connection;
use crate::domain::{glob, is_glob};
use crate::protocol::{Changed, ChangedOne, Code, ListAgents, ListParams, Method, RpcError};
use serde_json::{Value, json};
use std::time::Duration;

/// Timeout of a change that is immediate.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// Calls `M` for each target. `params` returns the parameters for one name, or for all (`None`). The timeout applies to
/// each answer.
pub(super) fn change<M>(
    app: &mut App,
    targets: &Targets,
    timeout: Duration,
    params: impl Fn(Option<String>) -> M::Params,
) -> Result<Outcome, Failure>
where
    M: Method<Reply = Changed>,
{
    let mut connection = app.connect()?;
    connection.set_answer_timeout(timeout);
    if targets.all {
        let changed = connection.call::<M>(&params(None))?;
        let failed = changed.agents.iter().filter(|one| one.error.is_some()).count();
        let lines = changed.agents.iter().map(|one| {
            let error = one.error.as_deref().map(|error| (error, None));
            line(
                one.agent_id.as_str(),
                &sentence(one.state.as_str(), one.changed, one.note.as_deref()),
                error,
                &app.screen,
            )
        });
        let text = match (changed.agents.is_empty(), M::NAME) {
            (false, _) => lines.collect(),
            (true, "resume_agent") => "nothing to resume: no agent is paused\n".to_owned(),
            (true, "pause_agent") => "nothing to pause: no agent is active\n".to_owned(),
            (true, _) => "no agents\n".to_owned(),
        };
        if app.json {
            // same form as for several names
            let each = |one: &ChangedOne| {
                let mut one = json!(one);
                one["seq"] = changed.seq.into();
                one
            };
            app.print_json(&changed.agents.iter().map(each).collect::<Vec<_>>())?;
        } else {
            app.print(&text)?;
        }
        return Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed });
    }
    let Expanded { names, unmatched } = expand(&mut connection, &targets.agents)?;
    let several = names.len() + unmatched.len() > 1 || targets.agents.iter().any(|name| is_glob(name));
    let asked: Vec<M::Params> = names.iter().map(|name| params(Some(name.clone()))).collect();
    let mut answers = connection.call_many::<M>(&asked)?;
    if !several {
        let changed = answers.pop().expect("one question has one answer")?;
        return answer_one(app, &names[0], &changed);
    }
    // patterns that match nothing are reported with the others, and prevent none of them
    let names: Vec<String> =
        names.into_iter().chain(unmatched.iter().map(|(pattern, _)| pattern.clone())).collect();
    answers.extend(unmatched.into_iter().map(|(_, error)| Err(error)));
    let failed = answers.iter().any(|answer| answer.is_err());
    if app.json {
        let all: Vec<Value> = names
            .iter()
            .zip(&answers)
            .map(|(name, answer)| match answer {
                Ok(changed) => json!(changed),
                Err(error) => json!({"agent_id": name, "changed": false, "error": error}),
            })
            .collect();
        app.print_json(&all)?;
    } else {
        for (name, answer) in names.iter().zip(&answers) {
            let text = match answer {
                Ok(changed) => line(name, &words(changed), None, &app.screen),
                Err(error) => {
                    let hint = error.data.as_ref().and_then(|data| data.hint.as_deref());
                    line(name, "", Some((&error.message, hint)), &app.screen)
                }
            };
            app.print(&text)?;
        }
    }
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Done })
}

fn answer_one(app: &mut App, name: &str, changed: &Changed) -> Result<Outcome, Failure> {
    app.answer(changed, |changed, screen| line(name, &words(changed), None, screen))?;
    Ok(Outcome::Done)
}

/// The targets that the given names and globs expand to.
struct Expanded {
    /// Without duplicates, in the order given.
    names: Vec<String>,
    /// Globs that match nothing.
    unmatched: Vec<(String, RpcError)>,
}

/// Expands names and globs; fails if nothing is left.
fn expand(connection: &mut Connection, given: &[String]) -> Result<Expanded, Failure> {
    let known = if given.iter().any(|name| is_glob(name)) {
        connection.call::<ListAgents>(&ListParams::default())?
    } else {
        Vec::new()
    };
    let (mut names, mut unmatched) = (Vec::<String>::new(), Vec::new());
    for pattern in given {
        let found: Vec<String> = if is_glob(pattern) {
            let ids = known.iter().map(|agent| agent.agent_id.as_str());
            ids.filter(|id| glob(pattern, id)).map(str::to_owned).collect()
        } else {
            vec![pattern.clone()]
        };
        if found.is_empty() {
            let error = RpcError::new(Code::NoSuchAgent, format!("no agent matches `{pattern}`"));
            unmatched.push((pattern.clone(), error.hint("`bgagent list` shows all agents")));
        }
        for name in found {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    match (names.is_empty(), unmatched.pop()) {
        (true, Some((_, error))) => Err(error.into()),
        (_, last) => {
            unmatched.extend(last);
            Ok(Expanded { names, unmatched })
        }
    }
}

fn words(changed: &Changed) -> String {
    let state = changed.state.map_or("", |state| state.as_str());
    sentence(state, changed.changed, changed.note.as_deref())
}

/// Formats an outcome: `paused`, `already active`, `active (closed its circuit)`.
fn sentence(state: &str, changed: bool, note: Option<&str>) -> String {
    match note.map(plain) {
        // most notes contain the state already
        Some(note) if note.contains(state) => note,
        Some(note) => format!("{state} ({note})"),
        None if changed => state.to_owned(),
        None => format!("already {state}"),
    }
}

fn line(name: &str, words: &str, error: Option<(&str, Option<&str>)>, screen: &Screen) -> String {
    let name = plain(name);
    screen.fold(&match error {
        None => format!("{name}: {words}\n"),
        Some((error, hint)) => {
            let hint = hint.map(|hint| format!(" ({})", plain(hint))).unwrap_or_default();
            format!("{name}: {}{hint}\n", screen.paint(Tone::Bad, &plain(error)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_do_not_repeat_the_state() {
        assert_eq!(sentence("paused", true, None), "paused");
        assert_eq!(sentence("active", false, None), "already active");
        assert_eq!(sentence("active", false, Some("already active")), "already active");
        assert_eq!(
            sentence("active", false, Some("its circuit is closed")),
            "active (its circuit is closed)"
        );
    }
}
