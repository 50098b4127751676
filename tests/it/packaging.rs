//! What is packaged: the crate's files, names that must agree, and what `--version` says. Packages are built and installed
//! by the scripts in `packaging/`, which the release runs.
use super::support::bgagent;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

#[allow(dead_code, reason = "the rest is for cargo")]
#[path = "../../build.rs"]
mod build;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn manifest() -> toml::Table {
    toml::from_str(&read("Cargo.toml")).expect("Cargo.toml is TOML")
}

/// Files below a folder, as `cargo package` names them.
fn below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("a folder can be read").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(root()).expect("below it").display().to_string()),
            }
        }
    }
    found
}

/// The bound of crates.io is 10 MiB compressed, which this is far below.
const BOUND: u64 = 12_000_000;

#[test]
fn the_crate_has_what_it_is_built_from_and_what_is_installed_and_no_more() {
    let listed = Command::new(env!("CARGO"))
        .args(["package", "--list", "--locked", "--offline", "--allow-dirty", "--quiet"])
        .current_dir(root())
        .output()
        .expect("cargo");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).expect("text");
    let listed: BTreeSet<&str> = listed.lines().collect();
    let is_of_tests = |file: &str| file.ends_with("/tests.rs") || file.contains("/tests/");
    let mut wanted: Vec<String> = ["src", "gate", "man", "completions"].into_iter().flat_map(below).collect();
    wanted.retain(|file| !is_of_tests(file));
    let alone = "build.rs askama.toml agents.example.toml agents.schema.json Cargo.lock README.md CHANGELOG.md LICENSE-MIT \
                 LICENSE-APACHE packaging/systemd/bgagent.service docs/PROTOCOL.md";
    wanted.extend(alone.split_whitespace().map(str::to_owned));
    let missing: Vec<&String> = wanted.iter().filter(|file| !listed.contains(file.as_str())).collect();
    assert!(missing.is_empty(), "`include` in Cargo.toml leaves out {missing:?}");
    let surplus = |file: &&&str| {
        is_of_tests(file)
            || ["tests/", "benches/", "target/", ".git", ".ci", "docs/pictures/"]
                .iter()
                .any(|no| file.starts_with(no))
    };
    let surplus: Vec<_> =
        listed.iter().filter(surplus).filter(|file| **file != ".cargo_vcs_info.json").collect();
    assert!(surplus.is_empty(), "`include` in Cargo.toml takes {surplus:?}");
    let size = |file: &&str| std::fs::metadata(root().join(file)).map_or(0, |file| file.len());
    let size: u64 = listed.iter().map(size).sum();
    assert!(size < BOUND, "the crate's files have {size} bytes");
}

/// What code outside of tests includes at compile time is found by the build of the package; here, that it was committed.
#[test]
fn files_of_the_debian_package_exist() {
    let manifest = manifest();
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().expect("a list");
    let mut places = BTreeSet::new();
    for asset in assets {
        let (from, to) = (asset[0].as_str().expect("a path"), asset[1].as_str().expect("a path"));
        places.insert(to);
        if from.starts_with("target/") {
            continue;
        }
        let (folder, name) = from.rsplit_once('/').unwrap_or((".", from));
        let is_there = match name.strip_prefix('*') {
            Some(end) => std::fs::read_dir(root().join(folder)).is_ok_and(|found| {
                found.flatten().any(|file| file.file_name().to_string_lossy().ends_with(end))
            }),
            None => root().join(from).is_file(),
        };
        assert!(is_there, "{from} does not exist");
    }
    for place in ["usr/bin/", "usr/lib/systemd/user/", "usr/share/man/man1/", "usr/share/man/man5/"] {
        assert!(places.contains(place), "nothing goes to {place}");
    }
    let version = manifest["package"]["version"].as_str().expect("a version");
    let changelog = read(deb["changelog"].as_str().expect("a path"));
    assert!(
        changelog.starts_with(&format!("bgagent ({version}-1) ")),
        "packaging/deb/changelog is of another version"
    );
}

/// `cargo binstall` finds in a release what `packaging/archive.sh` has put there.
#[test]
fn archives_have_the_names_that_binstall_looks_for() {
    let manifest = manifest();
    let version = manifest["package"]["version"].as_str().expect("a version");
    let target = "x86_64-unknown-linux-gnu";
    let filled = |key: &str| {
        let template = manifest["package"]["metadata"]["binstall"][key].as_str().expect("a text");
        [
            ("{ name }", "bgagent"),
            ("{ version }", version),
            ("{ target }", target),
            ("{ archive-suffix }", ".tar.gz"),
            ("{ binary-ext }", ""),
        ]
        .iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
    };
    let folder = tempfile::tempdir().expect("a folder");
    for program in ["bgagent", "bgagent-gate"] {
        std::fs::write(folder.path().join(program), "a program").expect("a file");
    }
    let made = archive(folder.path(), target);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = PathBuf::from(String::from_utf8(made.stdout).expect("text").trim());
    let name = path.file_name().expect("a name").to_str().expect("text");
    assert_eq!(filled("pkg-url"), format!("{{ repo }}/releases/download/v{version}/{name}"));
    assert_eq!(filled("pkg-fmt"), "tgz");
    let listed = Command::new("tar").arg("-tzf").arg(&path).output().expect("tar");
    let listed = String::from_utf8(listed.stdout).expect("text");
    let listed: BTreeSet<&str> = listed.lines().collect();
    for program in ["bgagent", "bgagent-gate"] {
        let file = filled("bin-dir").replace("{ bin }", program);
        assert!(listed.contains(file.as_str()), "{name} has no {file}");
    }
    let folder_of = name.trim_end_matches(".tar.gz");
    for file in ["LICENSE-MIT", "man/bgagent.1", "completions/bgagent.bash", "agents.example.toml"] {
        assert!(listed.contains(format!("{folder_of}/{file}").as_str()), "{name} has no {file}");
    }
}

#[test]
fn a_program_beyond_its_bound_is_not_released() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bgagent-gate"), "a program").expect("a file");
    std::fs::File::create(folder.path().join("bgagent"))
        .and_then(|file| file.set_len(30_000_000))
        .expect("a file");
    let made = archive(folder.path(), "x86_64-unknown-linux-gnu");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(
        !made.status.success() && said.contains("bgagent has 30000000 bytes, and the bound is"),
        "{said}"
    );
}

fn archive(programs: &Path, target: &str) -> std::process::Output {
    let script = root().join("packaging/archive.sh");
    Command::new(script).arg(programs).arg(target).arg(programs.join("out")).output().expect("a shell")
}

/// The targets of the formula are among those that a release has.
#[test]
fn the_release_has_what_the_formula_fetches() {
    let (formula, release) =
        (read("packaging/homebrew/bgagent.rb.in"), read(".github/workflows/release.yml"));
    let targets: Vec<&str> =
        formula.split("\"@SHA256 ").skip(1).filter_map(|rest| rest.split('@').next()).collect();
    assert_eq!(targets.len(), 4);
    for target in targets {
        assert!(release.contains(&format!("target: {target},")), "no release for {target}");
        assert!(formula.contains(&format!("/bgagent-v@VERSION@-{target}.tar.gz")), "no address for {target}");
    }
}

#[test]
fn a_package_says_of_which_commit_it_is() {
    let hash = "5689754a5d6ee6ff56d5c0e35ad4ff5c2e5b1c4d";
    for (info, commit, is_modified) in [
        (
            format!("{{\n  \"git\": {{\n    \"sha1\": \"{hash}\"\n  }},\n  \"path_in_vcs\": \"\"\n}}"),
            Some(hash),
            false,
        ),
        (format!("{{\"git\":{{\"sha1\":\"{hash}\",\"dirty\":true}}}}"), Some(hash), true),
        (format!("{{\n \"git\": {{\n \"sha1\": \"{hash}\",\n \"dirty\": true\n }}\n}}"), Some(hash), true),
        ("{}".into(), None, false),
        ("{\"git\":{\"sha1\":\"\"}}".into(), None, false),
        ("{\"git\":{\"sha1\":7}}".into(), None, false),
        ("\"sha1\"".into(), None, false),
    ] {
        assert_eq!(build::packaged_from(&info), (commit, is_modified), "{info}");
    }
}

#[test]
fn the_version_names_a_commit_where_there_is_one() {
    let said = |flag: &str| {
        let done = bgagent().arg(flag).output().expect("it runs");
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        String::from_utf8(done.stdout).expect("text")
    };
    let version = said("--version");
    assert_eq!(said("-V"), version);
    assert_eq!(version.lines().count(), 1, "{version}");
    let rest =
        version.trim_end().strip_prefix(concat!("bgagent ", env!("CARGO_PKG_VERSION"))).expect("the version");
    let git = |args: &[&str]| Command::new("git").args(args).current_dir(root()).output();
    let is_checkout =
        root().join(".git").exists() && git(&["log", "-1"]).is_ok_and(|told| told.status.success());
    if !is_checkout {
        return;
    }
    let inner = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')')).expect("brackets");
    let (commit, date) = inner.trim_end_matches(", modified").split_once(' ').expect("a commit and its day");
    let shown = git(&["log", "-1", "--format=%cd", "--date=format:%Y-%m-%d", commit]).expect("git");
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), date, "{version}");
}
