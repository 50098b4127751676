//! What git takes for a repository: a folder that git works in, or below which it works, with settings that make it run programs.

/// Does a folder that has these entries hold a repository, with a `.git` or as a bare one (gitrepository-layout(5))? Git looks
/// for both in each folder on its way up.
pub fn holds_repository(has: impl Fn(&str) -> bool) -> bool {
    has(".git") || has("HEAD") && (has("commondir") || has("objects") && has("refs"))
}

#[cfg(test)]
mod tests {
    //! Tests of layouts.
    use super::*;

    #[test]
    fn both_layouts_are_known() {
        for (entries, is_one) in [
            (&[".git"][..], true),
            (&["HEAD", "objects", "refs"], true),
            (&["HEAD", "commondir"], true),
            (&["HEAD", "objects"], false),
            (&["objects", "refs", "config"], false),
            (&["HEAD"], false),
            (&[], false),
        ] {
            assert_eq!(holds_repository(|name| entries.contains(&name)), is_one, "{entries:?}");
        }
    }
}
