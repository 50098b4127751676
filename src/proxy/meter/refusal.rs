//! The answers to a program when no request is sent to the provider, in the format of its wire.
use super::state::MeterState;
use super::wire::ModelWire;
use crate::domain::{ErrorKind, RunError};
use crate::proxy::reply::{Answer, of_type};
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, RETRY_AFTER, UPGRADE};

/// Why a request is not sent.
#[derive(Debug)]
pub(super) struct NotSent {
    status: StatusCode,
    why: RunError,
    /// Not counted as a refusal: it is not a model request, or lacks the run's key.
    is_odd: bool,
    /// It may be retried.
    later: bool,
}

/// `Retry-After` in seconds, when there was no memory.
const RETRY_AFTER_SECS: &str = "5";

impl NotSent {
    /// A refusal that ends the program.
    pub(super) fn because(why: RunError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, why, is_odd: false, later: false }
    }

    pub(super) fn odd(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, why: RunError::new(ErrorKind::Config, message), is_odd: true, later: false }
    }

    /// A temporary lack of memory. Not a refusal: programs retry.
    pub(super) fn later(message: &str) -> Self {
        Self { later: true, ..Self::odd(StatusCode::SERVICE_UNAVAILABLE, format!("not sent: {message}")) }
    }

    /// Records it, and returns it in the provider's format.
    pub(super) fn answer(self, state: &MeterState, wire: ModelWire) -> Answer {
        if self.is_odd {
            state.passed_over()
        } else {
            state.refused(&self.why)
        }
        let mut answer = in_form(wire, self.status, &self.why.message);
        // clients of Anthropic and OpenAI retry some statuses unless this says otherwise
        let again = if self.later { "true" } else { "false" };
        answer.headers_mut().insert("x-should-retry", HeaderValue::from_static(again));
        if self.later {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("HTTP/1.1"));
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade, close"));
        }
        answer
    }
}

/// Returns an error in the provider's format.
pub(super) fn in_form(wire: ModelWire, status: StatusCode, message: &str) -> Answer {
    let error = wire.error(status.as_u16(), &format!("bgagent: {message}"));
    of_type(status, "application/json", error.to_string())
}
