//! What the program is made of may be published with it: `deny.toml`, for who has no `cargo deny`.
use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What `deny.toml` says of licences, crates and sources.
struct Policy {
    licenses: Vec<Licensee>,
    /// Crates that must not come in, with those that may bring them.
    denied: BTreeMap<String, BTreeSet<String>>,
    registries: BTreeSet<String>,
}

impl Policy {
    fn read(text: &str) -> Self {
        let all: toml::Table = toml::from_str(text).expect("deny.toml is TOML");
        let list = |table: &str, key: &str| all[table][key].as_array().expect("a list").clone();
        let texts = |table: &str, key: &str| -> Vec<String> {
            list(table, key).iter().map(|value| value.as_str().expect("a text").to_owned()).collect()
        };
        let licenses = texts("licenses", "allow");
        let denied = list("bans", "deny");
        Self {
            licenses: licenses.iter().map(|id| Licensee::parse(id).expect("a licence of SPDX")).collect(),
            denied: denied.iter().map(denied_crate).collect(),
            registries: texts("sources", "allow-registry").into_iter().collect(),
        }
    }

    /// What speaks against a package, of `cargo metadata`, that these bring.
    fn against(&self, package: &Value, brought_by: &BTreeSet<String>) -> Option<String> {
        let name = package["name"].as_str().expect("a name");
        let license = package["license"].as_str().unwrap_or_default();
        let allowed = Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
            expression.evaluate(|wanted| self.licenses.iter().any(|license| license.satisfies(wanted)))
        });
        let is_ours = package["source"].is_null();
        let registry = package["source"].as_str().and_then(|source| source.strip_prefix("registry+"));
        if !allowed {
            Some(format!("{name}: the licence \"{license}\" is not allowed"))
        } else if self.denied.get(name).is_some_and(|may| brought_by.is_empty() || !brought_by.is_subset(may))
        {
            Some(format!("{name}: the crate is denied"))
        } else if !is_ours && !registry.is_some_and(|from| self.registries.contains(from)) {
            Some(format!("{name}: it comes from {}", package["source"]))
        } else {
            None
        }
    }
}

/// A crate that must not come in, and those that may bring it.
fn denied_crate(one: &toml::Value) -> (String, BTreeSet<String>) {
    let text = |value: &toml::Value| value.as_str().expect("a name").to_owned();
    let wrappers = one.get("wrappers").and_then(toml::Value::as_array);
    (text(&one["crate"]), wrappers.into_iter().flatten().map(text).collect())
}

/// Names of the packages that bring each one, by its id.
fn bringers(all: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let names: BTreeMap<String, String> =
        list(&all["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let mut bringers = BTreeMap::<String, BTreeSet<String>>::new();
    for node in list(&all["resolve"]["nodes"]) {
        for dependency in list(&node["dependencies"]) {
            bringers.entry(text(&dependency)).or_default().insert(names[&text(&node["id"])].clone());
        }
    }
    bringers
}

fn policy() -> Policy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    Policy::read(&std::fs::read_to_string(path).expect("deny.toml"))
}

#[test]
fn every_dependency_is_one_that_may_be_published() {
    let version = Command::new("rustc").arg("-vV").output().expect("rustc");
    let version = String::from_utf8(version.stdout).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = all["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "only {} packages were looked at", packages.len());
    let policy = policy();
    let (bringers, nobody) = (bringers(&all), BTreeSet::new());
    let brought_by =
        |package: &Value| bringers.get(package["id"].as_str().expect("an id")).unwrap_or(&nobody);
    let against: Vec<String> =
        packages.iter().filter_map(|package| policy.against(package, brought_by(package))).collect();
    assert!(against.is_empty(), "see deny.toml:\n{}", against.join("\n"));
}

#[test]
fn what_must_not_come_in_is_refused() {
    let policy = policy();
    let index = "registry+https://github.com/rust-lang/crates.io-index";
    for (name, license, source, says) in [
        ("a", "MIT/Apache-2.0", index, None),
        ("a", "GPL-3.0-only OR MIT", index, None),
        ("a", "GPL-3.0-only AND MIT", index, Some("is not allowed")),
        ("a", "", index, Some("is not allowed")),
        ("a", "My own", index, Some("is not allowed")),
        ("openssl-sys", "MIT", index, Some("the crate is denied")),
        ("a", "MIT", "git+https://example.org/a", Some("it comes from")),
        ("a", "MIT", "registry+https://example.org/index", Some("it comes from")),
    ] {
        let package = serde_json::json!({"name": name, "license": license, "source": source});
        let against = policy.against(&package, &BTreeSet::new());
        let is_right = match (&against, says) {
            (None, None) => true,
            (Some(text), Some(part)) => text.contains(part),
            _ => false,
        };
        assert!(is_right, "{package}: {against:?}");
    }
    let anyhow = serde_json::json!({"name": "anyhow", "license": "MIT", "source": index});
    for (brought_by, is_refused) in
        [(vec![], true), (vec!["prost-derive"], false), (vec!["prost-derive", "x"], true)]
    {
        let brought_by = brought_by.into_iter().map(str::to_owned).collect();
        assert_eq!(policy.against(&anyhow, &brought_by).is_some(), is_refused, "{brought_by:?}");
    }
}
