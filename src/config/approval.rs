//! `approval` of an agent: what happens to calls that need a person, and whom they are put to.
use super::keys;
use super::walk::{Item, Section};
use crate::config::values::refers;
use crate::domain::{Approval, ApprovalRoute, Fleet, NotifyTargetKind, NotifyType};
use std::sync::Arc;

pub(super) fn approval(section: &Section<'_>, fleet: &Fleet) -> (Approval, Option<Arc<ApprovalRoute>>) {
    let Some(item) = section.get("approval") else { return (Approval::Deny, None) };
    if item.value.get_ref().is_str() {
        return (item.word().unwrap_or(Approval::Deny), None);
    }
    let Some(table) = item.section(keys::APPROVAL_TABLE) else { return (Approval::Deny, None) };
    let via: Vec<String> = match table.get("via") {
        Some(list) => {
            list.items().unwrap_or_default().into_iter().filter_map(|one| target(one, fleet)).collect()
        }
        None => Vec::new(),
    };
    let wait = table.positive("wait");
    (Approval::Wait, Some(Arc::new(ApprovalRoute { via, wait })))
}

/// A target whose people can answer.
fn target(item: Item<'_>, fleet: &Fleet) -> Option<String> {
    let name = item.text()?;
    if !refers(item, name, "notify target", fleet.notify.keys().map(String::as_str)) {
        return None;
    }
    let Some(target) = fleet.notify.get(name) else { return Some(name.to_owned()) };
    match &target.kind {
        NotifyTargetKind::Service(spec)
            if spec.kind == NotifyType::Ntfy && !spec.keys.contains_key("reply_topic") =>
        {
            item.refuse_with(
                format!("nobody at `{name}` can answer: its table has no `reply_topic`"),
                format!(
                    "give [notify.{name}] a topic for answers that is hard to guess: reply_topic = \"…\""
                ),
            )
        }
        NotifyTargetKind::Service(spec) if spec.kind.brings_answers() => Some(name.to_owned()),
        _ => item.refuse_with(
            format!("nobody at `{name}` can answer: its `type` brings no answers back"),
            "name a target of type \"telegram\", \"ntfy\" or \"matrix\"; others are told by `notify`".into(),
        ),
    }
}
