//! `params`: the parameters of an agent's runs.
use super::keys;
use super::walk::{Item, Section};
use crate::domain::template::as_text;
use crate::domain::{ParamDefault, ParamSpec, ParamType, ParamsSpec, Schedule};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The default that stands for the slot of a run.
const SLOT: &str = "slot";

/// Parses the parameters of an agent; `None` if it has none.
pub(super) fn params(
    section: &Section<'_>,
    schedule: Option<&Schedule>,
    zone: TimeZone,
) -> Option<Arc<ParamsSpec>> {
    let item = section.own("params")?;
    let table = item.table()?;
    if table.is_empty() {
        return item
            .refuse_with("`params` is empty".into(), "name a parameter: params = { day = \"date\" }".into());
    }
    if table.len() > ParamsSpec::MOST {
        return item.refuse(format!("an agent has at most {} parameters", ParamsSpec::MOST));
    }
    let mut all = BTreeMap::new();
    for (name, value) in table {
        let text = name.get_ref().as_ref();
        if !ParamsSpec::is_name(text) {
            let hint = "small letters, digits and `_`, a letter first, at most 64: it also names a variable such as \
                        BGAGENT_PARAM_DAY";
            item.file.error(
                Some(name.span()),
                format!("`{text}` can't name a parameter"),
                Some(hint.to_owned()),
            );
            continue;
        }
        let one = Item { value, name: text, ..item };
        let Some(spec) = param(one, &zone) else { continue };
        if let (None, Some(by)) = (&spec.default, schedule.filter(|schedule| **schedule != Schedule::Manual))
        {
            let default = match spec.kind {
                ParamType::Date | ParamType::Time => "slot",
                _ => "…",
            };
            one.refuse_with::<()>(
                format!(
                    "the parameter `{text}` must be given, and nobody gives it to a run that starts by itself ({})",
                    by.describe()
                ),
                format!("give it a default: {text} = {{ type = \"{}\", default = \"{default}\" }}", spec.kind),
            );
            continue;
        }
        all.insert(text.to_owned(), spec);
    }
    Some(Arc::new(ParamsSpec { all, zone }))
}

/// Parses a word, the type of a required parameter; or a table, with a default.
fn param(item: Item<'_>, zone: &TimeZone) -> Option<ParamSpec> {
    if item.value.get_ref().is_str() {
        return Some(ParamSpec { kind: item.word()?, default: None });
    }
    let section = item.section(keys::PARAM)?;
    let Some(kind) = section.get("type") else {
        let hint = format!("one of {}", ParamType::WORDS.join(", "));
        return section.missing(
            &["type"],
            format!("the parameter `{}` needs a `type`", item.name),
            Some(hint),
        );
    };
    let kind: ParamType = kind.word()?;
    let Some(default) = section.get("default") else { return Some(ParamSpec { kind, default: None }) };
    let value = default.json();
    let is_moment = matches!(kind, ParamType::Date | ParamType::Time);
    if is_moment && value == SLOT {
        return Some(ParamSpec { kind, default: Some(ParamDefault::Slot) });
    }
    let Some(fit) = kind.fit(&value, zone) else {
        let or_slot = if is_moment { ", or \"slot\" for that of the slot" } else { "" };
        return default.refuse_with(
            format!("`{}` can't be the default of `{}`", as_text(&value), item.name),
            format!("write {}{or_slot}", kind.described()),
        );
    };
    Some(ParamSpec { kind, default: Some(ParamDefault::Value(fit)) })
}
