//! The settings of an agent as text.
use crate::domain::{
    AgentSpec, Approval, Body, CatchUpPolicy, Memory, MemoryStore, PermissionRule, Schedule, Workspace,
    counted, human_duration,
};
use std::collections::BTreeMap;

pub(super) fn settings(spec: &AgentSpec) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |key: &str, text: String| {
        all.insert(key.to_owned(), text);
    };
    if spec.body.asks_models() {
        put("request_limit", spec.limits.request_limit.to_string());
        put("total_tokens_limit", spec.limits.total_tokens_limit.to_string());
        if let Some(usd) = spec.limits.max_usd_per_run {
            put("max_usd_per_run", format!("${usd}"));
        }
    }
    if let Body::Runner(query) = &spec.body {
        put("resume", query.resume.to_string());
        match &query.workspace {
            Workspace::Empty => {}
            Workspace::Folder(path) => put("workspace", path.display().to_string()),
            Workspace::Repository(spec) => {
                put("workspace", format!("a clone of {} (keep {})", spec.path.display(), spec.keep));
            }
        }
        if query.trusts_workspace {
            put("workspace.trust", "its instructions and skills are given to the program".to_owned());
        }
        if let Some(permissions) = &query.permissions {
            let named = |rules: &[PermissionRule]| {
                rules.iter().map(PermissionRule::to_string).collect::<Vec<_>>().join(", ")
            };
            let mut shown = vec![format!("{} by default", permissions.default)];
            for (what, rules) in [("allow", &permissions.allow), ("ask", &permissions.ask)] {
                shown.extend((!rules.is_empty()).then(|| format!("{what} {}", named(rules))));
            }
            put("permissions", shown.join("; "));
        }
    }
    let skills: Vec<&str> = spec.body.skills().iter().map(|skill| skill.head.name.as_str()).collect();
    if !skills.is_empty() {
        put("skills", skills.join(", "));
    }
    if let Some(uses) = spec.body.tool_use() {
        if !uses.tools.is_empty() {
            put("tools", uses.tools.join(", "));
        }
        if !uses.approve.is_empty() {
            let then = match (uses.route, uses.approval) {
                (Some(route), _) => {
                    let wait = route.wait.map(|wait| format!(" {}", human_duration(wait)));
                    let via =
                        (!route.via.is_empty()).then(|| format!(", answered at {}", route.via.join(", ")));
                    format!("wait{}{}", wait.unwrap_or_default(), via.unwrap_or_default())
                }
                (None, Approval::Wait) => "wait".to_owned(),
                (None, Approval::Deny) => "denied".to_owned(),
            };
            put("approve", format!("{} ({then})", uses.approve.join(", ")));
        }
        if !uses.sinks.is_empty() {
            put("sinks", uses.sinks.join(", "));
        }
    }
    if let Body::Query(query) = &spec.body {
        match query.memory {
            Memory::None => {}
            Memory::LastResult => put("memory", query.memory.mode().to_string()),
            Memory::Session { max_tokens, store } => {
                let place = if store == MemoryStore::Redis { ", in [memory.redis]" } else { "" };
                put("memory", format!("{}, up to {max_tokens} tokens{place}", query.memory.mode()));
            }
        }
    }
    put("timeout", human_duration(spec.limits.timeout));
    if let Some(total) = spec.limits.total_timeout {
        put("total_timeout", human_duration(total));
    }
    put("overlap", spec.overlap.to_string());
    let catch_up = match spec.catch_up.policy {
        CatchUpPolicy::All => format!("{}, at most {}", CatchUpPolicy::All, spec.catch_up.max),
        policy => policy.to_string(),
    };
    let age = spec
        .catch_up
        .max_age
        .map_or(String::new(), |age| format!(", not older than {}", human_duration(age)));
    if !matches!(
        spec.schedule,
        Schedule::Manual | Schedule::On(_) | Schedule::Join(_) | Schedule::File(_) | Schedule::Webhook(_)
    ) {
        put("catch_up", catch_up + &age);
    }
    if !spec.jitter.is_zero() {
        put("jitter", format!("up to {}", human_duration(spec.jitter)));
    }
    if spec.retry.max > 0 {
        put(
            "retry",
            format!("{} more, the first within {}", spec.retry.max, human_duration(spec.retry.initial)),
        );
    }
    if spec.circuit.open_after > 0 {
        let rule = format!(
            "opens after {} failures for {}",
            spec.circuit.open_after,
            human_duration(spec.circuit.cooldown)
        );
        put("circuit_breaker", rule);
    }
    if let Some(wanted) = &spec.on_nodes {
        put("where", wanted.to_string());
    }
    if let Some(lock) = &spec.lock {
        put("lock", lock.to_string());
    }
    if let Some(params) = &spec.params {
        put("params", params.describe());
    }
    if spec.gate.is_some() {
        put("gate", "yes".into());
    }
    if spec.history == crate::domain::History::Changes {
        put("history", spec.history.to_string());
    }
    if !spec.success_when.is_empty() {
        put("success_when", counted(spec.success_when.len(), "check"));
    }
    if let Some(notify) = &spec.notify {
        put("notify", notify.to.join(", "));
    }
    if let Some(deliver) = &spec.deliver {
        put("deliver", deliver.to.join(", "));
    }
    for (key, after) in [("late_after", spec.late_after), ("slow_after", spec.slow_after)] {
        if let Some(after) = after {
            put(key, human_duration(after));
        }
    }
    all
}
