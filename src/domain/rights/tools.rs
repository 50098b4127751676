//! The rights of `[tools.…]` tables.
use super::words::{RightsOf, headers, program, runs, secret, value, walls, word, word_of};
use crate::domain::agent::CommandSpec;
use crate::domain::tool::{
    ArchiveSettings, FeedSettings, FilesSettings, HttpSettings, ProbeSettings, ProbeTarget, S3Settings,
    ShellArg, ShellSettings, SqlSettings, ToolSettings,
};

pub(super) fn of_tool(settings: &ToolSettings) -> RightsOf {
    let mut rights = RightsOf::default();
    match settings {
        ToolSettings::Http(http) => of_http(http, &mut rights),
        ToolSettings::Feed(feed) => of_feed(feed, &mut rights),
        ToolSettings::Sql(Some(sql)) => of_sql(sql, &mut rights),
        ToolSettings::Files(Some(files)) => of_files(files, &mut rights),
        ToolSettings::Shell(Some(shell)) => of_shell(shell, &mut rights),
        ToolSettings::S3(Some(s3)) => of_s3(s3, &mut rights),
        ToolSettings::Probe(Some(probe)) => of_probe(probe, &mut rights),
        ToolSettings::ArchiveRows(Some(archive)) => of_archive(archive, &mut rights),
        // their effects depend on each call, not on the table
        ToolSettings::Probe(None) | ToolSettings::ArchiveRows(None) => {}
        ToolSettings::Sql(None)
        | ToolSettings::Files(None)
        | ToolSettings::Shell(None)
        | ToolSettings::S3(None) => {}
        ToolSettings::SystemMetrics(_)
        | ToolSettings::Remember
        | ToolSettings::Recall
        | ToolSettings::Report => {}
    }
    rights
}

fn of_http(http: &HttpSettings, rights: &mut RightsOf) {
    for host in &http.hosts {
        rights.may(format!("asks {}", word(&host.to_string())));
    }
    for host in &http.allow_private {
        rights.may(format!("asks {} although it is private", word(&host.to_string())));
    }
    for method in &http.methods {
        rights.may(format!("sends {method}"));
    }
    headers(&http.headers, rights);
    if http.https_only {
        rights.held("asks nobody without encryption");
    }
}

fn of_feed(feed: &FeedSettings, rights: &mut RightsOf) {
    match &feed.fixed.urls {
        Some(urls) => urls.iter().for_each(|url| rights.may(format!("reads {}", word(url)))),
        None => rights.may("reads any public address"),
    }
    for (url, login) in &feed.logins {
        let (name, password) = (value(&login.username), secret(&login.password));
        rights.may(format!("logs in at {} as {name} with {password}", word(url)));
    }
    headers(&feed.headers, rights);
}

fn of_sql(sql: &SqlSettings, rights: &mut RightsOf) {
    let password = sql.password.as_ref().map(|password| format!(" with {}", secret(password)));
    rights.may(format!("opens {}{}", value(&sql.url), password.unwrap_or_default()));
    let writes = sql.mode.writes();
    if writes {
        rights.may("changes it");
    }
    if sql.ddl {
        rights.may("creates, changes and drops tables of it");
    }
    for (name, statement) in &sql.statements {
        rights.may(format!("runs {} as {statement:?}", word(name)));
    }
    if !writes || sql.statements.is_empty() {
        rights.may("runs any statement that it may");
    }
    match &sql.tables {
        Some(tables) => tables.iter().for_each(|table| rights.may(format!("touches {} of it", word(table)))),
        None => rights.may("touches all of it"),
    }
}

fn of_files(files: &FilesSettings, rights: &mut RightsOf) {
    for root in &files.roots {
        let root = word_of(root);
        rights.may(format!("reads what is below {root}"));
        if files.mode.writes() {
            rights.may(format!("writes below {root}"));
        }
    }
}

fn of_shell(shell: &ShellSettings, rights: &mut RightsOf) {
    walls("its programs", shell.sandbox.unless_off().as_deref(), rights);
    for (name, command) in &shell.commands {
        let args = command.args.iter().map(|arg| match arg {
            ShellArg::Text(text) => text.clone(),
            // the debug format distinguishes all parameter kinds
            ShellArg::Parameter { name, kind } => format!("{{{name}:{kind:?}}}"),
        });
        let argv: Vec<String> = std::iter::once(command.exec.clone()).chain(args).collect();
        let (env, cwd, stdin) = (shell.env.clone(), shell.cwd.clone(), None);
        let line = runs(&CommandSpec { argv, env, cwd, default_cwd: false, stdin, sandbox: None });
        rights.may(format!("has {}, which {line}", word(name)));
        for folder in &command.under {
            rights.may(format!("hands {} paths below {}", word(name), word_of(folder)));
        }
        if command.read {
            rights.may(format!("is believed that {} only looks", word(name)));
        }
    }
}

fn of_s3(s3: &S3Settings, rights: &mut RightsOf) {
    let prefix = s3.prefix.as_deref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
    let place = word(s3.endpoint.as_deref().unwrap_or(&s3.region));
    let bucket = word(&format!("{}{prefix}", s3.bucket));
    rights.may(format!("reads the bucket {bucket} at {place}"));
    if s3.mode.writes() {
        rights.may(format!("writes to the bucket {bucket} at {place}"));
    }
    let keys = s3.access_key_id.as_ref().map(value).into_iter();
    let secrets = [&s3.secret_access_key, &s3.session_token].into_iter().flatten().map(secret);
    for key in keys.chain(secrets) {
        rights.may(format!("is signed in there with {key}"));
    }
}

fn of_probe(probe: &ProbeSettings, rights: &mut RightsOf) {
    for check in &probe.checks {
        match &check.target {
            ProbeTarget::Command { argv, sandbox } => {
                rights.may(format!("runs {}", program(argv)));
                walls(&program(argv), sandbox.as_deref(), rights);
            }
            ProbeTarget::Http(web) => {
                let method = web.method.map(|method| format!(" by {method}")).unwrap_or_default();
                rights.may(format!("asks {}{method}", word(&web.url)));
                headers(&web.headers, rights);
            }
            ProbeTarget::Tcp { host, port } => rights.may(format!("connects to {}:{port}", word(host))),
            ProbeTarget::Disk { .. }
            | ProbeTarget::Memory
            | ProbeTarget::Load
            | ProbeTarget::Process { .. }
            | ProbeTarget::Systemd { .. } => {}
        }
    }
}

fn of_archive(archive: &ArchiveSettings, rights: &mut RightsOf) {
    let text = "texts and numbers have a form in JSON";
    let (from, to) =
        (serde_json::to_string(&archive.from).expect(text), serde_json::to_string(&archive.to).expect(text));
    rights.may(format!("copies rows of {from} to {to}"));
    if archive.delete {
        rights.may(format!("deletes rows of {from} that it has copied"));
    }
}
