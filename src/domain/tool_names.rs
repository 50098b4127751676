//! Tool names that providers and programs accept. Which tools are offered is not decided here.
use super::chat::ToolDef;
use std::borrow::Cow;
use std::collections::HashMap;

/// Maximum length of a name that every provider accepts.
const MAX_NAME_BYTES: usize = 64;

/// The tool names of one request, as the provider sees them. The same tools in the same order get the same names.
pub struct ToolNames<'a> {
    /// From internal names to the provider's.
    out: HashMap<&'a str, Cow<'a, str>>,
    /// From the provider's names to internal ones.
    back: HashMap<String, &'a str>,
    /// The tools, with their internal names.
    pub tools: &'a [ToolDef],
}

impl<'a> ToolNames<'a> {
    /// Assigns names to these tools.
    pub fn of(tools: &'a [ToolDef]) -> Self {
        let mut names = Self { out: HashMap::new(), back: HashMap::new(), tools };
        // A valid name is never changed, whatever the others become.
        for tool in tools.iter().filter(|tool| is_legal(&tool.name)) {
            names.out.insert(&tool.name, Cow::Borrowed(&tool.name));
            names.back.insert(tool.name.clone(), &tool.name);
        }
        for tool in tools.iter().filter(|tool| !is_legal(&tool.name)) {
            if names.out.contains_key(tool.name.as_str()) {
                continue;
            }
            let legal = legalized(&tool.name);
            let mut unique = legal.clone();
            let mut number = 1;
            while names.back.contains_key(&unique) {
                number += 1;
                let end = format!("_{number}");
                unique = format!("{}{end}", &legal[..legal.len().min(MAX_NAME_BYTES - end.len())]);
            }
            names.back.insert(unique.clone(), &tool.name);
            names.out.insert(&tool.name, Cow::Owned(unique));
        }
        names
    }

    /// Returns the name for the provider. A tool of an earlier turn need not be on offer any more.
    pub fn out(&self, name: &'a str) -> Cow<'a, str> {
        match self.out.get(name) {
            Some(known) => known.clone(),
            None if is_legal(name) => Cow::Borrowed(name),
            None => Cow::Owned(legalized(name)),
        }
    }

    /// Returns the internal name for one from the provider. An unknown name is returned unchanged.
    pub fn back(&self, name: &str) -> String {
        self.back.get(name).map_or(name, |ours| *ours).to_owned()
    }
}

/// Returns whether all providers accept a name. Gemini is the strictest: it must begin with a letter or `_`.
fn is_legal(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(is_legal_char)
}

fn is_legal_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn legalized(name: &str) -> String {
    let mut legal = String::with_capacity(name.len() + 1);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        legal.push('_');
    }
    legal.extend(name.chars().map(|c| if is_legal_char(c) { c } else { '_' }));
    legal.truncate(MAX_NAME_BYTES);
    legal
}

#[cfg(test)]
mod tests {
    //! Tests of names.
    use super::*;
    use serde_json::json;
    use std::collections::HashSet;

    fn tools(names: &[&str]) -> Vec<ToolDef> {
        let tool = |name: &&str| ToolDef {
            name: (*name).into(),
            description: String::new(),
            schema: json!({"type": "object"}),
        };
        names.iter().map(tool).collect()
    }

    #[test]
    fn each_tool_has_its_own_legal_name_and_finds_back() {
        let long = format!("a/{}", "x".repeat(100));
        let longer = format!("a/{}y", "x".repeat(100));
        let all = ["git/hub", "git_hub", "git hub", "9lives", "", "ünï", &long, &longer, "git_hub_2"];
        let tools = tools(&all);
        let names = ToolNames::of(&tools);
        let mut seen = HashSet::new();
        for name in all {
            let out = names.out(name).into_owned();
            assert!(is_legal(&out), "{name} {out}");
            assert_eq!(names.back(&out), name);
            assert!(seen.insert(out));
        }
        assert_eq!(names.out("git_hub"), "git_hub");
        assert_eq!(names.out("no longer/there"), "no_longer_there");
        assert_eq!(names.back("made_up"), "made_up");
    }
}
