//! One file for each page: it asks, and puts the answers into the words of its template.
mod agents;
mod approvals;
mod fleet;
mod incidents;
mod log;
mod now;
mod runs;
mod spending;
mod timeline;
mod transcript;

use super::admission::Admission;
use super::ask::DaemonPool;
use super::html::{Moment, line};
use crate::client::ClientError;
use crate::protocol::{Code, DaemonView, GetDaemonStatus, NoParams};
use askama::Template;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const STYLE: &str = include_str!("../static/style.css");
const SCRIPT: &str = include_str!("../static/script.js");

/// What all requests share.
pub(super) struct WebState {
    pub(super) admission: Admission,
    pub(super) pool: DaemonPool,
    /// The page may change things.
    pub(super) control: bool,
    /// Moves with each event of the daemon.
    pub(super) changed: watch::Sender<u64>,
    /// Streams of events that are open.
    pub(super) streams: AtomicUsize,
    began: Instant,
    /// When the newest request came, in milliseconds since the beginning.
    seen: AtomicU64,
    /// Names the assets: a new release is not mixed with an old one.
    assets: String,
}

/// Cheap to clone.
pub(super) type Web = Arc<WebState>;

impl WebState {
    pub(super) fn new(admission: Admission, pool: DaemonPool, control: bool) -> Self {
        use sha2::{Digest, Sha256};
        let hash = Sha256::new().chain_update(STYLE).chain_update(SCRIPT).finalize();
        Self {
            admission,
            pool,
            control,
            changed: watch::Sender::new(0),
            streams: AtomicUsize::new(0),
            began: Instant::now(),
            seen: AtomicU64::new(0),
            assets: hash[..6].iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Somebody looks.
    pub(super) fn seen(&self) {
        self.seen.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns when nobody has looked for so long.
    pub(super) async fn is_idle_for(&self, bound: Duration) {
        loop {
            let seen = Duration::from_millis(self.seen.load(Ordering::Relaxed));
            let idle = self.began.elapsed().saturating_sub(seen);
            let Some(left) = bound.checked_sub(idle).filter(|left| !left.is_zero()) else { return };
            tokio::time::sleep(left).await;
        }
    }
}

/// All pages. None of them changes anything.
pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(now::now))
        .route("/timeline", get(timeline::timeline))
        .route("/timeline/{agent}", get(timeline::slots))
        .route("/agents", get(agents::agents))
        .route("/agents/{agent}", get(agents::agent))
        .route("/runs", get(runs::runs))
        .route("/runs/{run}", get(runs::run))
        .route("/runs/{run}/output", get(runs::output))
        .route("/incidents", get(incidents::incidents))
        .route("/approvals", get(approvals::approvals))
        .route("/spending", get(spending::spending))
        .route("/log", get(log::log))
        .route("/find", get(log::find))
        .route("/static/{file}", get(asset))
}

/// The style sheet and the script, under names that change with them.
async fn asset(axum::extract::Path(file): axum::extract::Path<String>) -> Response {
    let (kind, text) = match file.rsplit_once('.') {
        Some((_, "css")) => ("text/css; charset=utf-8", STYLE),
        Some((_, "js")) => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// What is around each page.
pub(super) struct Frame {
    title: String,
    /// Which entry of the navigation it is under.
    here: &'static str,
    agents: u64,
    incidents: u64,
    approvals: u64,
    /// What a person should know of the daemon.
    banner: Option<String>,
    control: bool,
    form: String,
    assets: String,
    now: String,
    clock: String,
    version: String,
}

impl Frame {
    /// Asks the daemon how it stands.
    pub(super) async fn of(
        web: &Web,
        here: &'static str,
        title: &str,
    ) -> Result<(Self, DaemonView), PageError> {
        let daemon = web.pool.call::<GetDaemonStatus>(NoParams {}).await?;
        let mut frame = Self::bare(web, here, title);
        frame.agents = daemon.agents.values().sum();
        frame.incidents = daemon.incidents;
        frame.approvals = daemon.approvals;
        frame.version = daemon.version.clone();
        frame.banner = daemon.problem.as_deref().map(line).or_else(|| {
            let error = daemon.config_errors.first()?.lines().next()?;
            Some(format!(
                "The newest configuration was not taken up, the one before it is in force: {}",
                line(error)
            ))
        });
        Ok((frame, daemon))
    }

    fn bare(web: &Web, here: &'static str, title: &str) -> Self {
        let moment = Moment::new();
        Self {
            title: title.to_owned(),
            here,
            agents: 0,
            incidents: 0,
            approvals: 0,
            banner: None,
            control: web.control,
            form: web.admission.form.clone(),
            assets: web.assets.clone(),
            now: moment.now.to_string(),
            clock: moment.when(moment.now).local,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Why there is no page.
pub(super) struct PageError {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl PageError {
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, title: "That can't be asked", text: text.into() }
    }
}

impl From<ClientError> for PageError {
    fn from(error: ClientError) -> Self {
        let text = line(&error.to_string());
        match &error {
            ClientError::Refused(refusal) => match refusal.kind() {
                Some(Code::NoSuchAgent | Code::NoSuchRun) => {
                    Self { status: StatusCode::NOT_FOUND, title: "There is no such thing", text }
                }
                _ => Self { status: StatusCode::BAD_REQUEST, title: "The daemon said no", text },
            },
            ClientError::Protocol { .. } => {
                let text = format!("{text}. Restart `bgagent ui`.");
                Self { status: StatusCode::BAD_GATEWAY, title: "The daemon is of another release", text }
            }
            _ => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "The daemon does not answer",
                text: format!("{text}. Start it: `bgagent daemon`, or `systemctl --user start bgagent`."),
            },
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    title: &'static str,
    text: String,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let page = MessagePage { title: self.title, text: self.text };
        (self.status, html(&page)).into_response()
    }
}

/// A page that is not there.
pub(super) async fn not_found() -> PageError {
    PageError { status: StatusCode::NOT_FOUND, title: "There is no such page", text: String::new() }
}

pub(in crate::web) use approvals::hash_of as call_hash;

type Page = Result<Response, PageError>;

fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("this page can't be made: {error}\n")).into_response()
        }
    }
}
