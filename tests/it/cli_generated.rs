//! What is generated and checked in is what this release generates. `UPDATE=1 cargo test` writes
//! it anew.
use std::path::{Path, PathBuf};

#[test]
fn man_pages_are_up_to_date() {
    check("man", bgagent::cli::man_pages());
}

#[test]
fn completions_are_up_to_date() {
    let files = [("bash", "bgagent.bash"), ("zsh", "_bgagent"), ("fish", "bgagent.fish")];
    let scripts = files.map(|(shell, file)| {
        (file.to_owned(), bgagent::cli::completion_script(shell).expect("a shell that is known"))
    });
    check("completions", scripts.to_vec());
}

#[test]
fn the_schema_is_up_to_date() {
    let text = serde_json::to_string_pretty(&bgagent::config::schema()).expect("it serializes") + "\n";
    check_file("agents.schema.json", &text);
}

#[test]
fn the_reference_of_the_configuration_is_up_to_date() {
    check_file("docs/CONFIGURATION.md", &bgagent::config::markdown());
}

#[test]
fn the_document_of_the_protocol_is_up_to_date() {
    check_file("docs/PROTOCOL.md", &bgagent::protocol::markdown());
}

#[test]
fn the_unit_of_packages_is_up_to_date() {
    check_file("packaging/systemd/bgagent.service", &bgagent::cli::packaged_unit());
}

fn check_file(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{name} is old; UPDATE=1 cargo test writes it anew");
}

/// The folder holds exactly these files.
fn check(folder: &str, files: Vec<(String, Vec<u8>)>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let names: Vec<PathBuf> = files.iter().map(|(name, _)| folder.join(name)).collect();
    let there: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map(|entries| entries.map(|entry| entry.expect("a folder can be read").path()).collect())
        .unwrap_or_default();
    let surplus: Vec<&PathBuf> = there.iter().filter(|path| !names.contains(path)).collect();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        for path in surplus {
            std::fs::remove_file(path).expect("the file can be removed");
        }
        for (path, (_, content)) in names.iter().zip(&files) {
            std::fs::write(path, content).expect("the file can be written");
        }
        return;
    }
    assert!(surplus.is_empty(), "no longer generated: {surplus:?}; UPDATE=1 cargo test removes them");
    for (path, (_, content)) in names.iter().zip(&files) {
        let found = std::fs::read(path).unwrap_or_default();
        assert!(found == *content, "{} is old; UPDATE=1 cargo test writes it anew", path.display());
    }
}

/// `bgagent man list` is a page; a folder of that name has a path.
#[test]
fn man_prints_the_page_of_a_command_or_writes_all_into_a_folder() {
    let bgagent = |args: &[&str], folder: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bgagent"));
        let done = command.arg("man").args(args).current_dir(folder).output().expect("it runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text")
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (name, page) in
        [("list", "bgagent-list"), ("mcp-list", "bgagent-mcp-list"), ("bgagent-why.1", "bgagent-why")]
    {
        let text = bgagent(&[name], folder.path());
        assert!(text.contains(&format!(".TH {} 1", page.to_uppercase())), "{name}: {text:.200}");
    }
    assert!(bgagent(&["agents.toml"], folder.path()).contains(".TH AGENTS.TOML 5"));
    assert!(bgagent(&[], folder.path()).contains(".TH BGAGENT 1"));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    assert_eq!(bgagent(&["./list"], folder.path()), "");
    assert!(folder.path().join("list/bgagent-list.1").exists());
    // a slip is no name of a folder
    let wrong = std::process::Command::new(env!("CARGO_BIN_EXE_bgagent"))
        .args(["man", "statsu"])
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no page `statsu`") && said.contains("did you mean `status`?"), "{said}");
    assert!(!folder.path().join("statsu").exists());
    std::fs::create_dir(folder.path().join("pages")).expect("a folder");
    assert_eq!(bgagent(&["pages"], folder.path()), "");
    assert!(folder.path().join("pages/bgagent.1").exists());
}
