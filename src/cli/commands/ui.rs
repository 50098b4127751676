//! `bgagent ui`: the page in the browser.
use super::prelude::*;
use crate::cli::args::UiArgs;
use crate::web::{self, WebOptions};

pub(in crate::cli) fn run(app: &mut App, args: &UiArgs) -> Result<Outcome, Failure> {
    // without a daemon the page would be empty, so fail before the browser opens
    app.connect()?;
    let address = app.address()?;
    let state_dir = app.paths()?.state_dir.clone();
    let options = WebOptions { listen: args.listen, control: args.control, open: args.open, state_dir };
    app.flush()?;
    let json = app.json;
    let say = move |own: &str, plain: &str| {
        use std::io::Write;
        let text = if json {
            format!("{}\n", serde_json::json!({"url": own, "plain_url": plain}))
        } else {
            format!("{own}\n{plain}   for a browser that does not resolve *.localhost\n")
        };
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    };
    if !json {
        let rights = if args.control {
            "it can start, pause, stop and approve"
        } else {
            "read-only; --control lets it act"
        };
        app.note(&format!(
            "the link works once, within two minutes; Enter prints another, Ctrl-C ends the page; {rights}"
        ));
    }
    web::serve(address, &options, say).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => Failure::usage(error.to_string()),
        _ => Failure::Conflict {
            what: format!("can't listen at {}: {error}", args.listen),
            hint: "give another port, or `--listen 127.0.0.1:0` for any that is free".into(),
        },
    })?;
    Ok(Outcome::Done)
}
