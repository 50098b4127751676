//! The resolution of a file's path: each folder and each link that it leads through.
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Maximum number of links; more are considered a loop, as in path_resolution(7).
const MAX_LINKS: usize = 40;

/// The resolution of a file's path. A missing component is not considered a link.
#[derive(Debug, Default)]
pub struct Way {
    /// Folders that are not links, beginning with `/`.
    pub folders: BTreeSet<PathBuf>,
    /// Links on the path.
    pub links: BTreeSet<PathBuf>,
    /// The resolved file.
    pub end: PathBuf,
}

impl Way {
    /// Resolves an absolute path.
    pub fn to(path: &Path) -> Self {
        let mut way = Self::default();
        let mut at = PathBuf::new();
        let mut ahead: Vec<PathBuf> = parts(path);
        let mut followed = 0;
        while let Some(part) = ahead.pop() {
            match part.components().next() {
                Some(Component::Normal(name)) => {
                    way.folders.insert(at.clone());
                    match std::fs::read_link(at.join(name)) {
                        Ok(target) if followed < MAX_LINKS => {
                            followed += 1;
                            way.links.insert(at.join(name));
                            ahead.extend(parts(&target));
                        }
                        _ => at.push(name),
                    }
                }
                Some(Component::ParentDir) => {
                    at.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => at = part,
                Some(Component::CurDir) | None => {}
            }
        }
        way.end = at;
        way
    }

    /// Returns the directory entries that determine where the path leads: the links on it and its end, each
    /// as a name in a folder that is not a link.
    pub fn places(&self) -> BTreeSet<(PathBuf, OsString)> {
        let all = self.links.iter().chain([&self.end]);
        all.filter_map(|path| Some((path.parent()?.to_owned(), path.file_name()?.to_owned()))).collect()
    }
}

/// Splits a path into its components, in reverse order.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
}

#[cfg(test)]
mod tests {
    //! Tests with real links.
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn each_link_on_the_way_is_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let found = |path: &Path| {
            let way = Way::to(path);
            assert!(way.folders.contains(Path::new("/")) && way.folders.contains(&root), "{way:?}");
            let all = way.places().into_iter().map(|(folder, name)| folder.join(name));
            all.map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        fs::create_dir_all(root.join("conf")).unwrap();
        fs::create_dir_all(root.join("v1")).unwrap();
        fs::write(root.join("v1/a.toml"), "").unwrap();
        assert_eq!(found(&root.join("v1/a.toml")), ["v1/a.toml"]);
        assert_eq!(found(&root.join("v1/missing")), ["v1/missing"]);
        // As in a Kubernetes volume: the file is reached through a folder that is replaced as a whole.
        symlink("../v1", root.join("conf/..data")).unwrap();
        symlink("..data/a.toml", root.join("conf/a.toml")).unwrap();
        assert_eq!(found(&root.join("conf/a.toml")), ["conf/..data", "conf/a.toml", "v1/a.toml"]);
        assert!(Way::to(&root.join("conf/a.toml")).folders.contains(&root.join("conf")));
        symlink(root.join("nowhere/else"), root.join("dangling")).unwrap();
        assert_eq!(found(&root.join("dangling")), ["dangling", "nowhere/else"]);
    }

    #[test]
    fn a_circle_ends() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        symlink("two", root.join("one")).unwrap();
        symlink("one", root.join("two")).unwrap();
        let way = Way::to(&root.join("one"));
        assert_eq!(way.links, [root.join("one"), root.join("two")].into());
    }
}
