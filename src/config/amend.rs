//! Replaces one agent's table in the text of a configuration, or adds it, and preserves every other byte:
//! comments, order, blank lines.
//!
//! The position of a table is found in the tokens of the text. That nothing else has changed is verified by
//! comparing the parsed texts: an amendment that changes anything else is refused.
use std::ops::Range;
use toml::{Table, Value};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// A configuration with a changed table of one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Amended {
    pub agent: String,
    /// The whole text after the change.
    pub text: String,
    /// The agent's current table; `None` if there is no such agent.
    pub before: Option<String>,
    /// The agent's table after the change.
    pub after: String,
    /// Byte range of that table in the text.
    pub place: Range<usize>,
}

/// Why a table is not put into a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAmended {
    /// The text is not TOML.
    #[error("it is not TOML: line {line}: {what}")]
    NotToml {
        /// Line of the text, from 1.
        line: usize,
        /// The parser's message.
        what: String,
    },
    /// The text is not one table of one agent.
    #[error("it is not one table `[agents.NAME]`: {0}")]
    NotOneAgent(String),
    /// The agent exists, but not as a table of its own.
    #[error("agent `{0}` does not stand in a table `[agents.{0}]` of its own, so it can't be changed here")]
    NotInATable(String),
    /// The change would affect something else in the configuration.
    #[error("agent `{0}` can't be put into this file without changing something else in it")]
    TouchesOthers(String),
}

/// Puts this table of an agent into the text of a configuration, and returns it with the current table.
///
/// # Errors
/// The table is not TOML, or not that of a single agent; or it can't be put into the configuration.
pub fn amend(text: &str, table: &str) -> Result<Amended, NotAmended> {
    let table = table.trim_matches(['\n', '\r', ' ', '\t']).replace("\r\n", "\n") + "\n";
    let (agent, meant) = one_agent(&table)?;
    let before = table_ranges(text, &agent);
    // Comments above an existing table are not part of it: they stay, and none are added.
    let above = if before.is_empty() { 0 } else { heads(&table).first().map_or(0, |head| head.start) };
    let table = table[above..].to_owned();
    let is_there = parsed(text).as_ref().and_then(|all| agent_in(all, &agent)).is_some();
    if before.is_empty() && is_there {
        return Err(NotAmended::NotInATable(agent));
    }
    let mut amended = String::with_capacity(text.len() + table.len() + 2);
    let (mut at, mut start) = (0, None);
    for place in &before {
        amended.push_str(&text[at..place.start]);
        if start.is_none() {
            start = Some(amended.len());
            amended.push_str(&table);
        }
        at = place.end;
    }
    amended.push_str(&text[at..]);
    let start = start.unwrap_or_else(|| {
        let gap = match text {
            "" => "",
            text if text.ends_with("\n\n") => "",
            text if text.ends_with('\n') => "\n",
            _ => "\n\n",
        };
        amended.push_str(gap);
        amended.push_str(&table);
        amended.len() - table.len()
    });
    if !changes_only(&agent, text, &amended, &meant) {
        return Err(NotAmended::TouchesOthers(agent));
    }
    let old: Vec<&str> = before.iter().map(|place| &text[place.clone()]).collect();
    Ok(Amended {
        agent,
        text: amended,
        before: (!old.is_empty()).then(|| old.concat()),
        place: start..start + table.len(),
        after: table,
    })
}

/// Returns an agent's table as written in a configuration; `None` if it has none of its own.
pub fn table_of(text: &str, agent: &str) -> Option<String> {
    let places = table_ranges(text, agent);
    (!places.is_empty()).then(|| places.into_iter().map(|place| &text[place]).collect())
}

/// Returns the only agent of a text, and its parsed table.
fn one_agent(table: &str) -> Result<(String, Value), NotAmended> {
    let other = |what: String| NotAmended::NotOneAgent(what);
    let all: Table = table.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start.min(table.len()));
        let line = table[..table.floor_char_boundary(at)].matches('\n').count() + 1;
        NotAmended::NotToml { line, what: error.message().to_owned() }
    })?;
    if let Some(name) = all.keys().find(|name| *name != "agents") {
        return Err(other(format!("`{name}` stands beside it")));
    }
    let agents = match all.get("agents") {
        Some(Value::Table(agents)) => agents,
        Some(_) => return Err(other("`agents` is not a table".into())),
        None => return Err(other("there is no agent in it".into())),
    };
    let (name, value) = match agents.iter().collect::<Vec<_>>()[..] {
        [(name, value @ Value::Table(_))] => (name, value),
        [(name, _)] => return Err(other(format!("`agents.{name}` is not a table"))),
        ref all => return Err(other(format!("there are {} agents in it", all.len()))),
    };
    let heads = heads(table);
    let first = heads.first().map_or(table.len(), |head| head.start);
    let begins =
        table[..first].lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if !begins || heads.iter().any(|head| !is_of(head, name)) {
        return Err(other(format!("begin it with the line [agents.{}]", quoted_key(name))));
    }
    Ok((name.clone(), value.clone()))
}

/// Formats a key: bare if possible.
fn quoted_key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

/// The header of a table: `[a.b]` or `[[a.b]]`.
struct TableHead {
    /// Start of its line.
    start: usize,
    path: Vec<String>,
}

fn is_of(head: &TableHead, agent: &str) -> bool {
    matches!(&head.path[..], [first, second, ..] if first == "agents" && second == agent)
}

/// Returns all table headers. A bracket within a value is not one.
fn heads(text: &str) -> Vec<TableHead> {
    let (mut depth, mut begins, mut line) = (0_usize, true, 0);
    let mut found = Vec::new();
    for token in Source::new(text).lex() {
        let (start, end) = (token.span().start(), token.span().end());
        match token.kind() {
            TokenKind::LeftSquareBracket if begins && depth == 0 => {
                let rest = text[start..].lines().next().unwrap_or_default();
                found.extend(path_of(rest).map(|path| TableHead { start: line, path }));
                depth += 1;
            }
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => depth += 1,
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        match token.kind() {
            TokenKind::Newline => (begins, line) = (true, end),
            TokenKind::Whitespace => {}
            _ => begins = false,
        }
    }
    found
}

/// Returns the keys of a header, from its line.
fn path_of(line: &str) -> Option<Vec<String>> {
    let alone: Table = line.parse().ok()?;
    let mut path = Vec::new();
    let mut at = &alone;
    while let Some((name, value)) = at.iter().next() {
        path.push(name.clone());
        at = match value {
            Value::Table(below) => below,
            Value::Array(items) => items.first()?.as_table()?,
            _ => return None,
        };
    }
    Some(path)
}

/// Returns the ranges of an agent's tables, one for each group of adjacent tables: from the first header to
/// the last line with content. Comments after that line are left alone.
fn table_ranges(text: &str, agent: &str) -> Vec<Range<usize>> {
    let heads = heads(text);
    let mut places = Vec::new();
    let mut at = 0;
    while at < heads.len() {
        if !is_of(&heads[at], agent) {
            at += 1;
            continue;
        }
        let start = heads[at].start;
        while heads.get(at).is_some_and(|head| is_of(head, agent)) {
            at += 1;
        }
        let end = heads.get(at).map_or(text.len(), |head| head.start);
        places.push(start..last_content_end(text, start..end));
    }
    places
}

/// Returns the end of the last line within this range that is not just a comment.
fn last_content_end(text: &str, range: Range<usize>) -> usize {
    let mut end = range.start;
    for token in Source::new(&text[range.clone()]).lex() {
        if !matches!(
            token.kind(),
            TokenKind::Newline | TokenKind::Whitespace | TokenKind::Comment | TokenKind::Eof
        ) {
            end = range.start + token.span().end();
        }
    }
    text[end..range.end].find('\n').map_or(range.end, |line| end + line + 1)
}

fn parsed(text: &str) -> Option<Table> {
    text.parse().ok()
}

fn agent_in<'a>(all: &'a Table, agent: &str) -> Option<&'a Value> {
    all.get("agents")?.as_table()?.get(agent)
}

/// Returns whether the new text differs from the old one only in this agent, whose table is as intended.
fn changes_only(agent: &str, old: &str, new: &str, meant: &Value) -> bool {
    let (Some(mut old), Some(mut new)) = (parsed(old), parsed(new)) else { return false };
    let is_meant = agent_in(&new, agent) == Some(meant);
    for all in [&mut old, &mut new] {
        if let Some(agents) = all.get_mut("agents").and_then(Value::as_table_mut) {
            agents.remove(agent);
            if agents.is_empty() {
                all.remove("agents");
            }
        }
    }
    is_meant && old == new
}

#[cfg(test)]
mod tests {
    //! Tests of amended texts.
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# All of mine.\n\n[agents.a] # first\ncommand = \"true\"\n# of a\n\n# The gate.\n[agents.a.gate]\n\
                        command = [\n  [\"x\"],\n]\n# about b\n[agents.b]\ncommand = '''\n[agents.a]\n'''\n\n[models.m]\n\
                        provider = \"ollama\"\n";

    #[test]
    fn a_table_takes_the_place_of_the_old_one_and_nothing_else_moves() {
        let text = FILE.replace("  [\"x\"],\n", "  \"x\",\n");
        let amended = amend(&text, "\n# new\n[agents.a]\r\ntool = \"probe\"\n\n").unwrap();
        assert_eq!(
            amended.text,
            "# All of mine.\n\n[agents.a]\ntool = \"probe\"\n# about b\n[agents.b]\ncommand = '''\n[agents.a]\n\
             '''\n\n[models.m]\nprovider = \"ollama\"\n"
        );
        assert_eq!(&amended.text[amended.place.clone()], amended.after);
        assert_eq!(
            amended.before.as_deref(),
            Some(
                "[agents.a] # first\ncommand = \"true\"\n# of a\n\n# The gate.\n[agents.a.gate]\ncommand = [\n  \"x\",\n]\n"
            )
        );
        assert_eq!(table_of(&amended.text, "a").as_deref(), Some("[agents.a]\ntool = \"probe\"\n"));
        assert_eq!(table_of(&amended.text, "c"), None);
    }

    #[test]
    fn an_agent_that_is_new_comes_last() {
        for (text, whole) in [
            ("", "[agents.n]\nat = 1\n"),
            ("x = 1", "x = 1\n\n[agents.n]\nat = 1\n"),
            ("x = 1\n", "x = 1\n\n[agents.n]\nat = 1\n"),
            ("[agents.b]\n\n", "[agents.b]\n\n[agents.n]\nat = 1\n"),
            ("[agents.b]\n# end", "[agents.b]\n# end\n\n[agents.n]\nat = 1\n"),
        ] {
            let amended = amend(text, "[agents.n]\nat = 1").unwrap();
            assert_eq!((amended.text.as_str(), amended.before), (whole, None));
        }
    }

    #[test]
    fn tables_that_stand_apart_become_one() {
        let text = "[agents.a]\nx = 1\n[agents.b]\n[[agents.a.success_when]]\ny = 1\n[agents.c]\n";
        let amended = amend(text, "[agents.a]\nz = 1\n[agents.a.gate]\nw = 2").unwrap();
        assert_eq!(amended.text, "[agents.a]\nz = 1\n[agents.a.gate]\nw = 2\n[agents.b]\n[agents.c]\n");
        assert_eq!(amended.before.as_deref(), Some("[agents.a]\nx = 1\n[[agents.a.success_when]]\ny = 1\n"));
        let odd = amend("[agents.\"a.b\"]\nx = 1\n", "[agents.\"a.b\"]\nx = 2").unwrap();
        assert_eq!((odd.agent.as_str(), odd.text.as_str()), ("a.b", "[agents.\"a.b\"]\nx = 2\n"));
    }

    #[test]
    fn what_is_no_table_of_one_agent_is_refused() {
        let one = "[agents.a]\nx = 1\n";
        for (table, says) in [
            ("", "there is no agent in it"),
            ("[agents.a]\nx = ", "line 2"),
            ("[agents.a]\n[agents.a]\n", "line 2"),
            ("[agents.a]\n[models.m]\n", "`models` stands beside it"),
            ("[agents.a]\n[agents.b]\n", "there are 2 agents in it"),
            ("x = 1\n[agents.a]\n", "`x` stands beside it"),
            ("agents = 1", "`agents` is not a table"),
            ("[agents]\na = 1", "`agents.a` is not a table"),
            ("[agents]\na = { x = 1 }", "begin it with the line [agents.a]"),
            ("agents.a.x = 1", "begin it with the line [agents.a]"),
            ("agents.\"a b\".x = 1", "begin it with the line [agents.\"a b\"]"),
        ] {
            let error = amend(one, table).unwrap_err().to_string();
            assert!(error.contains(says), "{table:?}: {error}");
        }
    }

    #[test]
    fn what_can_not_be_changed_alone_is_refused() {
        for text in ["agents.a.x = 1\n", "[agents]\na = { x = 1 }\n", "agents = { a = { x = 1 } }\n"] {
            assert_eq!(amend(text, "[agents.a]\nx = 2").unwrap_err(), NotAmended::NotInATable("a".into()));
        }
        for text in ["agents = { b = { x = 1 } }\n", "[[agents]]\n", "broken = \n", "agents = 1\n"] {
            assert_eq!(amend(text, "[agents.a]\nx = 2").unwrap_err(), NotAmended::TouchesOthers("a".into()));
        }
    }

    proptest! {
        /// For any table: either it is refused, or nothing but the agent changes.
        #[test]
        fn nothing_else_is_ever_changed(
            table in r#"(\[agents\.[ab]\]\n)?((x|"y"|z\.w) ?= ?(1|"\]|"a"|'''q|\[1,\n2\]|\{\}|#)\n?){0,3}(\[[a-z.]{1,10}\]\n)?"#,
        ) {
            let text = FILE.replace("  [\"x\"],\n", "  \"x\",\n");
            if let Ok(amended) = amend(&text, &table) {
                let (mut old, mut new): (Table, Table) = (text.parse().unwrap(), amended.text.parse().unwrap());
                for all in [&mut old, &mut new] {
                    all["agents"].as_table_mut().unwrap().remove(&amended.agent);
                }
                prop_assert_eq!(old, new);
            }
        }
    }
}
