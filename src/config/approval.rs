//! `approval` of an agent: what happens to calls that need a person, and who is asked.
use super::keys;
use super::walk::{Item, Section};
use crate::config::values::refers;
use crate::domain::{
    AgentSpec, Approval, ApprovalRoute, Fleet, NotifyTargetKind, NotifyType, ServiceSpec, TextOrSecret,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::de::DeTable;

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

/// Returns a target whose recipients can answer.
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
        NotifyTargetKind::Service(spec) if matches!(spec.keys.get("chat"), Some(TextOrSecret::Text(chat)) if chat.trim().starts_with('@')) => {
            item.refuse_with(
                format!("`{name}` is a public chat: whoever finds it could press the buttons"),
                format!("give the number of a private chat or group: [notify.{name}] chat = -100…"),
            )
        }
        NotifyTargetKind::Service(spec) if spec.kind.brings_answers() => Some(name.to_owned()),
        _ => item.refuse_with(
            format!("nobody at `{name}` can answer: its `type` brings no answers back"),
            "name a target of type \"telegram\", \"ntfy\" or \"matrix\"; others are reached by `notify`"
                .into(),
        ),
    }
}

/// Refuses two targets of one account: two listeners would take answers away from each other.
pub(super) fn refuse_shared_account(
    section: &Section<'_>,
    table: &DeTable<'_>,
    agents: &[Arc<AgentSpec>],
    fleet: &Fleet,
) {
    let mut listened: BTreeMap<&str, &ServiceSpec> = BTreeMap::new();
    for agent in agents {
        let Some(uses) = agent.body.tool_use() else { continue };
        for name in uses.route.iter().flat_map(|route| &route.via) {
            let Some(NotifyTargetKind::Service(spec)) = fleet.notify.get(name).map(|target| &target.kind)
            else {
                continue;
            };
            if listened.contains_key(name.as_str()) {
                continue;
            }
            if let Some((other, _)) = listened.iter().find(|(_, other)| is_one_account(other, spec)) {
                let (what, hint) = what_is_shared(spec.kind);
                let message = format!(
                    "agent `{}` asks via `{name}`, which has the same {what} as `{other}`: of two that listen to it, \
                     each would take answers away from the other",
                    agent.id
                );
                let key = table.iter().find(|(key, _)| key.get_ref().as_ref() == agent.id.as_str());
                section.file.error(key.map(|(key, _)| key.span()), message, Some(hint.to_owned()));
            }
            listened.insert(name, spec);
        }
    }
}

fn is_one_account(one: &ServiceSpec, other: &ServiceSpec) -> bool {
    let what = match one.kind {
        NotifyType::Telegram => "token",
        NotifyType::Matrix => "room",
        _ => "reply_topic",
    };
    one.kind == other.kind && ["url", what].iter().all(|key| one.keys.get(key) == other.keys.get(key))
}

/// Returns what two targets can't share, and advice.
fn what_is_shared(kind: NotifyType) -> (&'static str, &'static str) {
    match kind {
        NotifyType::Telegram => {
            ("bot", "name one of them in all `via`, or give each a bot (`token`) of its own")
        }
        NotifyType::Matrix => ("room", "name one of them in all `via`, or give each a `room` of its own"),
        _ => ("reply topic", "name one of them in all `via`, or give each a `reply_topic` of its own"),
    }
}
