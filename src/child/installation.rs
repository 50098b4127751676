//! Installations of programs that are not the system's: what they load besides their own file.
use super::executable::interpreters;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Parts of a program's prefix that are its own. Other folders (`share`, `etc`) are not.
const PARTS: [&str; 5] = ["bin", "lib", "lib64", "libexec", "pyvenv.cfg"];

/// Returns what belongs to a program, and to its interpreter if it is a script: a program is in `PREFIX/bin`, and what it loads
/// is beside that. So programs of a version manager, of a virtual environment or of the user have what they need. `path` is its
/// `PATH`. Stops at a file that it can write to, which could lead anywhere.
pub(super) fn parts(program: &Path, path: &OsStr, can_write: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let home = std::env::home_dir();
    let mut found: Vec<PathBuf> = Vec::new();
    let files = std::iter::once(program.to_owned()).chain(interpreters(program, path));
    for file in files.take_while(|file| !can_write(file)) {
        let real = file.canonicalize().ok();
        for prefix in
            [Some(file.clone()), real].into_iter().flatten().filter_map(|file| prefix(&file, home.as_deref()))
        {
            let parts = PARTS.iter().filter_map(|part| prefix.join(part).canonicalize().ok());
            found.extend(parts);
        }
        found.extend(packages(&file));
    }
    found.sort();
    found.dedup();
    found
}

/// Returns the npm package folder that a program belongs to: what it loads is beside its own package.
fn packages(program: &Path) -> Option<PathBuf> {
    const FOLDER: &str = "node_modules";
    let real = program.canonicalize().ok().filter(|real| !real.starts_with("/usr"))?;
    let outermost =
        real.ancestors().filter(|folder| folder.file_name().is_some_and(|name| name == FOLDER)).last();
    outermost.map(Path::to_owned)
}

/// Returns the prefix that a program is installed in, unless that is the system's, or the home folder or above it.
fn prefix(program: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let folder = program.parent()?;
    let prefix = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "bin"))?;
    let is_home = |home: &Path| {
        home.starts_with(prefix) || home.canonicalize().is_ok_and(|home| home.starts_with(prefix))
    };
    let is_anyones = prefix.parent().is_none() || prefix.starts_with("/usr") || home.is_some_and(is_home);
    (!is_anyones).then(|| prefix.to_owned())
}

#[cfg(test)]
mod tests {
    //! Tests of what belongs to a program.
    use super::*;
    use std::os::unix::fs::symlink;

    fn of(program: &Path) -> Vec<PathBuf> {
        parts(program, OsStr::new("/nowhere"), |_| false)
    }

    #[test]
    fn a_program_of_its_own_prefix_has_what_it_loads_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("env");
        for part in ["bin", "lib", "share"] {
            std::fs::create_dir_all(prefix.join(part)).unwrap();
        }
        let program = prefix.join("bin/tool");
        std::fs::write(&program, "").unwrap();
        let own = [prefix.join("bin"), prefix.join("lib")];
        assert_eq!(of(&program), own);
        let elsewhere = folder.path().join("tool");
        symlink(&program, &elsewhere).unwrap();
        assert_eq!(of(&elsewhere), own, "a link is followed");
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        assert!(of(&plain).is_empty());
        let home = std::env::home_dir().unwrap();
        assert!(of(&home.join("bin/x")).iter().all(|path| !path.starts_with(home.join("lib"))));
    }

    #[test]
    fn a_package_of_npm_has_the_packages_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().join("app/node_modules");
        for name in [".bin", "@a/tool/node_modules/inner", "helper"] {
            std::fs::create_dir_all(packages.join(name)).unwrap();
        }
        let script = packages.join("@a/tool/node_modules/inner/tool.js");
        std::fs::write(&script, "").unwrap();
        symlink("../@a/tool/node_modules/inner/tool.js", packages.join(".bin/tool")).unwrap();
        let own = [packages.canonicalize().unwrap()];
        assert_eq!(of(&packages.join(".bin/tool")), own, "all of them, and nothing above");
        assert_eq!(of(&script), own);
    }

    #[test]
    fn a_script_has_what_runs_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for part in ["venv/bin", "venv/lib", "versions/bin", "versions/lib"] {
            std::fs::create_dir_all(path(part)).unwrap();
        }
        std::fs::write(path("versions/bin/python3.12"), "").unwrap();
        symlink(path("versions/bin/python3.12"), path("venv/bin/python")).unwrap();
        let all = ["venv/bin", "venv/lib", "versions/bin", "versions/lib"].map(path);
        let script = path("venv/bin/tool");
        std::fs::write(&script, format!("#!{}\nimport tool\n", path("venv/bin/python").display())).unwrap();
        assert_eq!(of(&script), all);
        for line in ["#!/usr/bin/env python3.12", "#! /usr/bin/env -S python3.12 -I"] {
            std::fs::write(&script, line).unwrap();
            assert_eq!(parts(&script, path("versions/bin").as_os_str(), |_| false), all, "{line}");
            let writes_itself = parts(&script, path("versions/bin").as_os_str(), |file| file == script);
            assert!(writes_itself.is_empty(), "its first line is its own word: {writes_itself:?}");
            assert_eq!(of(&script), all[..2], "{line}: it is not in PATH");
        }
        std::fs::write(&script, format!("#!{}\n", script.display())).unwrap();
        assert_eq!(of(&script), all[..2], "a circle ends");
    }
}
