//! Labels: those of a node, and those that an agent requires of the node that runs it.
use super::walk::{Item, Section};
use crate::domain::*;
use std::sync::Arc;

/// Parses the labels of a table.
pub(super) fn labels(section: &Section<'_>, key: &'static str) -> Labels {
    let mut labels = Labels::new();
    let Some(item) = section.get(key) else { return labels };
    for (name, value) in item.table().into_iter().flatten() {
        let item = Item { file: section.file, value, name: key };
        let Some(text) = item.text() else { continue };
        if name.get_ref().parse::<NodeName>().is_err() {
            let what = format!("{:?} can't name a label", name.get_ref());
            let hint = "letters, digits, `-`, `_` and `.`, as in gpu = \"h100\"".to_owned();
            section.file.error(Some(name.span()), what, Some(hint));
        }
        if text.len() > NodeSpec::MAX_LABEL_BYTES || text.chars().any(char::is_control) {
            item.refuse::<()>(format!("a label is one line of at most {} bytes", NodeSpec::MAX_LABEL_BYTES));
        }
        labels.insert(name.get_ref().to_string(), text.to_owned());
    }
    if labels.len() > NodeSpec::MAX_LABELS {
        item.refuse::<()>(format!("a node has at most {} labels", NodeSpec::MAX_LABELS));
    }
    labels
}

/// Parses the labels that an agent requires of the node that runs it.
pub(super) fn wanted(section: &Section<'_>) -> Option<Arc<NodeWanted>> {
    let item = section.own("where")?;
    let wanted = NodeWanted::of(labels(section, "where"));
    if wanted.is_none() && item.value.get_ref().as_table().is_some_and(|table| table.is_empty()) {
        let hint = "name labels of a node, as in where = { gpu = \"h100\" }, or leave it out".to_owned();
        return item.refuse_with("`where` names no label".into(), hint);
    }
    wanted.map(Arc::new)
}

/// Reports an error if an agent can't run away from the leader, or if no node has the labels.
pub(super) fn check_nodes(section: &Section<'_>, agent: &AgentSpec, fleet: &Fleet) {
    let Some(item) = section.own("where") else { return };
    let Some(wanted) = &agent.on_nodes else { return };
    let refuse = |what: &str, hint: &str| item.refuse_with::<()>(what.to_owned(), hint.to_owned());
    if matches!(agent.body, Body::Query(_) | Body::Runner(_)) {
        refuse(
            "`where` goes with a `command` or a `tool`: what a model or an agent program is asked runs where the leader runs",
            "leave it out; a `command` or a `tool` that the agent waits for (`on`) can run elsewhere",
        );
    }
    for tool in agent.tool_names() {
        let why = match fleet.kind_of(tool) {
            None if tool.contains('/') => "the tools of MCP servers are called where the leader runs",
            Some(ToolKind::ArchiveRows) => "an archive keeps its journal where the leader runs",
            _ => continue,
        };
        refuse(&format!("`where` does not go with the tool `{tool}`: {why}"), "leave it out");
    }
    if fleet.store.is_none() && !wanted.fits(&fleet.daemon.node.labels) {
        refuse(
            &format!(
                "no node can have {wanted}: with records in a file this daemon is the only one, and has {}",
                labels_in_words(&fleet.daemon.node.labels)
            ),
            "several daemons share records on a server ([store]); or give this one the label, in `labels` of [daemon]",
        );
    }
}
