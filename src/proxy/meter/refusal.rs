//! What a program is told instead of an answer of a model, in the form of its provider.
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
    /// It is no refusal of what the run asks for: it is no request of a model, or not the run's.
    is_odd: bool,
    /// It may be asked again.
    later: bool,
}

/// Seconds after which a program may ask again for what there was no room for.
const LATER: &str = "5";

impl NotSent {
    /// One that ends the program.
    pub(super) fn because(why: RunError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, why, is_odd: false, later: false }
    }

    pub(super) fn odd(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, why: RunError::new(ErrorKind::Config, message), is_odd: true, later: false }
    }

    /// One that there is no room for now. It is no refusal: programs ask again.
    pub(super) fn later(message: &str) -> Self {
        Self { later: true, ..Self::odd(StatusCode::SERVICE_UNAVAILABLE, format!("not sent: {message}")) }
    }

    /// Notes it, and says it in the provider's form.
    pub(super) fn answer(self, state: &MeterState, wire: ModelWire) -> Answer {
        if self.is_odd {
            state.passed_over()
        } else {
            state.refused(&self.why)
        }
        let mut answer = in_form(wire, self.status, &self.why.message);
        // clients of Anthropic and OpenAI ask again for some statuses unless this says otherwise
        let again = if self.later { "true" } else { "false" };
        answer.headers_mut().insert("x-should-retry", HeaderValue::from_static(again));
        if self.later {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(LATER));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("HTTP/1.1"));
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade, close"));
        }
        answer
    }
}

/// An error in the form of the provider.
pub(super) fn in_form(wire: ModelWire, status: StatusCode, message: &str) -> Answer {
    let error = wire.error(status.as_u16(), &format!("bgagent: {message}"));
    of_type(status, "application/json", error.to_string())
}
