//! Validates arguments of a configured call of a built-in tool, so that mistakes are found before anything
//! runs. The tool's schema is enforced when a call is made; here, only names, words and numbers are checked,
//! which don't depend on the run. A text with a placeholder (`{event.…}`, `{gate}`) may become anything.
use super::walk::Item;
use crate::domain::{Property, ToolKind, ToolSettings, nearest};

/// Reports errors in the arguments of a call of `tool`, which is of this kind.
pub(super) fn judge(kind: ToolKind, settings: Option<&ToolSettings>, tool: Item<'_>, args: Option<Item<'_>>) {
    use ToolSettings::{Files, S3, Shell, Sql};
    if matches!(settings, Some(Sql(None) | S3(None) | Files(None) | Shell(None))) {
        return; // Its table has an error, which is not reported again at each call.
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
