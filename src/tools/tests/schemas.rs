//! The schemas that models are shown, whole. `UPDATE=1 cargo test --lib tools::tests::schemas` writes them anew; the
//! difference is read like that of code.
use super::*;
use crate::domain::{
    ArchiveSettings, FeedArgs, FeedSettings, FilesSettings, HostPattern, HttpMethod, HttpSettings,
    PrivateHost, ProbeSettings, S3Settings, ShellArg, ShellCommand, ShellSettings,
};
use serde::Deserialize;
use std::path::Path;

fn http(methods: &[HttpMethod]) -> ToolSettings {
    ToolSettings::Http(HttpSettings {
        hosts: vec![HostPattern::parse("api.example.org").unwrap()],
        allow_private: vec![PrivateHost::parse("nas.lan").unwrap()],
        methods: methods.into(),
        ..HttpSettings::default()
    })
}

fn sql(mode: ToolMode, statements: &[&str], tables: Option<&[&str]>) -> ToolSettings {
    let statements = statements.iter().map(|name| ((*name).to_owned(), format!("SELECT '{name}'")));
    ToolSettings::Sql(Some(SqlSettings {
        mode,
        statements: statements.collect(),
        tables: tables.map(|tables| tables.iter().map(|table| (*table).to_owned()).collect()),
        ..SqlSettings::of(TextOrSecret::Text("sqlite:///x".into()))
    }))
}

fn files(mode: ToolMode) -> ToolSettings {
    ToolSettings::Files(Some(FilesSettings {
        roots: vec!["/srv/notes".into(), "/srv/logs".into()],
        mode,
        max_bytes: FilesSettings::MAX_BYTES,
        config: "/agents.toml".into(),
        guarded: Arc::default(),
    }))
}

fn s3(mode: ToolMode, prefix: Option<&str>) -> ToolSettings {
    let prefix = prefix.map(str::to_owned);
    ToolSettings::S3(Some(S3Settings { mode, prefix, ..S3Settings::of("backups".into()) }))
}

fn shell() -> ToolSettings {
    let command = |args: &[&str], description: Option<&str>| ShellCommand {
        exec: "/bin/x".into(),
        args: args.iter().map(|arg| ShellArg::parse(arg).unwrap()).collect(),
        under: vec!["/data".into(), "/srv".into()],
        read: false,
        description: description.map(str::to_owned),
    };
    let commands = [
        ("df", command(&["-h", "{path:path}", "{n:int(1..5)}"], Some("free space"))),
        ("say", command(&["{text}", "{count:int}", "{level:low|high}"], None)),
    ];
    ToolSettings::Shell(Some(ShellSettings {
        commands: commands.map(|(name, command)| (name.to_owned(), command)).into(),
        cwd: "/".into(),
        default_cwd: false,
        env: BTreeMap::new(),
        timeout: ShellSettings::TIMEOUT,
        max_output: ShellSettings::MAX_OUTPUT,
        sandbox: SandboxSetting::Unset,
    }))
}

fn archive() -> ToolSettings {
    let from = json!({"url": "sqlite:/x.db", "table": "t", "key": ["id"], "column": "at", "older_than": 60});
    let settings = ArchiveSettings::deserialize(json!({"from": from, "to": {"folder": "/archive"}})).unwrap();
    ToolSettings::ArchiveRows(Some(Box::new(settings)))
}

/// An instance for each way in which settings change a schema.
fn instances() -> Vec<(&'static str, ToolKind, ToolSettings)> {
    use ToolMode::{ReadOnly, ReadWrite};
    let fixed = FeedArgs { urls: Some(Vec::new()), max_items: Some(20), ..FeedArgs::default() };
    let metrics = |top, disks| ToolSettings::SystemMetrics(MetricsArgs { top, disks });
    vec![
        ("archive of a table", ToolKind::ArchiveRows, archive()),
        (
            "feed of fixed sources",
            ToolKind::Feed,
            ToolSettings::Feed(FeedSettings { fixed, ..FeedSettings::default() }),
        ),
        ("files to read", ToolKind::Files, files(ReadOnly)),
        ("files to write", ToolKind::Files, files(ReadWrite)),
        ("http that changes", ToolKind::Http, http(&[HttpMethod::Post, HttpMethod::Delete])),
        ("http that reads", ToolKind::Http, http(&[HttpMethod::Get])),
        ("metrics with disks", ToolKind::SystemMetrics, metrics(None, Some(true))),
        ("metrics with top", ToolKind::SystemMetrics, metrics(Some(3), None)),
        ("probe of fixed checks", ToolKind::Probe, ToolSettings::Probe(Some(ProbeSettings::default()))),
        ("s3 to read", ToolKind::S3, s3(ReadOnly, None)),
        ("s3 to write", ToolKind::S3, s3(ReadWrite, Some("daily"))),
        ("shell", ToolKind::Shell, shell()),
        ("sql to read", ToolKind::Sql, sql(ReadOnly, &[], Some(&["orders", "users"]))),
        ("sql to read, with statements", ToolKind::Sql, sql(ReadOnly, &["one", "two"], None)),
        ("sql to write", ToolKind::Sql, sql(ReadWrite, &[], None)),
        ("sql to write, with statements", ToolKind::Sql, sql(ReadWrite, &["one"], None)),
    ]
}

#[test]
fn schemas_are_those_that_are_written_down() {
    let mut fleet = Fleet::empty("/agents.toml".into());
    for (name, kind, settings) in instances() {
        fleet.tools.insert(name.into(), ToolSpec { kind, settings });
    }
    let schemas: BTreeMap<_, _> =
        Tools::new(&fleet).list().into_iter().map(|tool| (tool.name, tool.schema)).collect();
    let fresh = serde_json::to_string_pretty(&schemas).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tools/tests/schemas.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, fresh).expect("our folder");
        return;
    }
    let written = std::fs::read_to_string(&path).expect("the schemas");
    assert_eq!(written, fresh, "a schema has changed; if it is better, write it there with UPDATE=1");
}
