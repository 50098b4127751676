//! Recognizes git repositories: git reads the settings of one in this folder or a parent folder, and these can make
//! it run programs.

/// Returns whether a folder with these entries is a repository, with a `.git` or a bare one
/// (gitrepository-layout(5)). Git looks for both in each folder on its way up.
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
