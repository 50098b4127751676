//! The frame around each page, and the error pages.
use super::html::{Moment, line};
use super::state::Web;
use crate::client::ClientError;
use crate::protocol::{Code, DaemonView, GetDaemonStatus, NoParams};
use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The frame around each page.
pub(super) struct Frame {
    pub(super) title: String,
    /// The current entry of the navigation.
    pub(super) here: &'static str,
    pub(super) agents: u64,
    pub(super) incidents: u64,
    pub(super) approvals: u64,
    /// A notice about the state of the daemon.
    pub(super) banner: Option<String>,
    pub(super) control: bool,
    pub(super) form: String,
    pub(super) assets: String,
    pub(super) now: String,
    pub(super) clock: String,
    pub(super) version: String,
}

impl Frame {
    /// Builds the frame from the status of the daemon.
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
                "The newest configuration was not applied, the one before it is in force: {}",
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

/// An error page.
pub(super) struct PageError {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl PageError {
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, title: "Invalid request", text: text.into() }
    }
}

impl PageError {
    /// Returns the error for a request that can't be parsed, such as a form with a missing field.
    pub(super) fn malformed(status: StatusCode) -> Self {
        let title = match status {
            StatusCode::NOT_FOUND => "There is no such page",
            StatusCode::METHOD_NOT_ALLOWED => "This page takes no such request",
            _ => "Invalid request",
        };
        Self { status, title, text: "Go back, reload the page and try again.".to_owned() }
    }
}

impl From<ClientError> for PageError {
    fn from(error: ClientError) -> Self {
        let text = line(&error.to_string());
        match &error {
            ClientError::Refused(refusal) => match refusal.kind() {
                Some(Code::NoSuchAgent) => {
                    Self { status: StatusCode::NOT_FOUND, title: "There is no such agent", text }
                }
                Some(Code::NoSuchRun) => {
                    Self { status: StatusCode::NOT_FOUND, title: "There is no such run", text }
                }
                _ => Self { status: StatusCode::BAD_REQUEST, title: "The daemon refused", text },
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

/// Answers an unknown path.
pub(super) async fn not_found() -> PageError {
    PageError { status: StatusCode::NOT_FOUND, title: "There is no such page", text: String::new() }
}

pub(super) type Page = Result<Response, PageError>;

pub(super) fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("this page can't be made: {error}\n")).into_response()
        }
    }
}
