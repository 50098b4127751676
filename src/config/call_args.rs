//! Arguments of a configured call of a built-in tool: a mistake in them is known before anything
//! runs. The schema of the tool decides when a call is made; what is taken from it here are the names, the words and
//! the numbers, which don't depend on what a run brings. A text with a place to fill (`{event.…}`,
//! `{gate}`) may become anything.
use super::walk::Item;
use crate::domain::{Property, ToolKind, ToolSettings, nearest};

/// Notes what is wrong with the arguments of a call of `tool`, which is of this kind.
pub(super) fn judge(kind: ToolKind, settings: Option<&ToolSettings>, tool: Item<'_>, args: Option<Item<'_>>) {
    use ToolSettings::{Files, S3, Shell, Sql};
    if matches!(settings, Some(Sql(None) | S3(None) | Files(None) | Shell(None))) {
        return; // its table has an error: whoever calls it is not blamed for that
    }
    let schema = settings.map_or_else(|| ToolSettings::none(kind).arguments(), ToolSettings::arguments);
    let known = schema.properties();
    let table = match args {
        Some(args) => match args.table() {
            Some(table) => Some(table),
            None => return,
        },
        None => None,
    };
    let name = tool.text().unwrap_or(kind.as_str());
    let mut misspelled = Vec::new();
    for (key, value) in table.into_iter().flatten() {
        let Some(arg) = known.iter().find(|arg| arg.name() == key.get_ref()) else {
            let near = nearest(key.get_ref(), known.iter().map(Property::name));
            misspelled.extend(near);
            let hint = near.map_or_else(
                || format!("it takes {}", known.iter().map(Property::name).collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            tool.file.error(
                Some(key.span()),
                format!("`{name}` takes no argument `{}`", key.get_ref()),
                Some(hint),
            );
            continue;
        };
        fits(Item { file: tool.file, value, name: arg.name() }, arg);
    }
    let is_there = |arg: &Property| table.is_some_and(|table| table.get(arg.name()).is_some());
    let missing =
        known.iter().filter(|arg| arg.is_required() && !is_there(arg) && !misspelled.contains(&arg.name()));
    let missing: Vec<String> = missing.map(|arg| format!("`{}`", arg.name())).collect();
    if !missing.is_empty() {
        let word = if missing.len() == 1 { "argument" } else { "arguments" };
        args.unwrap_or(tool).refuse::<()>(format!("`{name}` needs the {word} {}", missing.join(", ")));
    }
}

fn fits(item: Item<'_>, arg: &Property) {
    if item.value.get_ref().as_str().is_some_and(|text| text.contains('{')) {
        return;
    }
    if let Some(words) = arg.words() {
        item.one_of(words.into_iter());
    } else if let Some(range) = arg.range() {
        if item.whole(*range.start()).is_some_and(|number| number > *range.end()) {
            item.refuse::<()>(format!("`{}` is at most {}", item.name, range.end()));
        }
    } else if arg.is_text() {
        item.text();
    }
}
