//! `http`: one request to an allowed host, with the answer in a form that a model can use. An answer with an
//! error status is a result, not an error. So is every answer to a request that changes something: a caller
//! that saw only an error would repeat it.
//!
//! Where a request may go is guarded by `net`; whether an agent may make it is decided elsewhere.
use super::contract::{About, Call, ToolOutput};
use super::settings;
use crate::domain::{
    ChosenHeaders, Effect, HostPattern, HttpArgs, HttpBody, HttpMethod, HttpSettings, ReadsWhen, ToolError,
    ToolKind, ToolSettings,
};
use crate::net::{self, Allow, Bounds, GuardError, Request, Unanswered};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

mod content;
pub(super) use content::decoded;
mod page;

fn allow(settings: &HttpSettings) -> Allow {
    Allow::hosts(settings.hosts.clone())
        .and_private(settings.allow_private.clone())
        .https_only(settings.https_only)
}

/// Describes an instance with these settings.
pub(super) fn about(settings: &HttpSettings) -> About {
    let changes = settings.can_change();
    let reads_when = changes.then(|| ReadsWhen {
        key: "method".into(),
        values: [HttpMethod::Get, HttpMethod::Head].map(|method| method.as_str().into()).into(),
        by_default: settings.default_method().only_reads(),
    });
    About { effect: if changes { Effect::Effect } else { Effect::Read }, reads_when, untrusted: true }
}

/// Makes the request.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let ToolSettings::Http(settings) = &*call.settings else {
        return Err(settings::missing(ToolKind::Http.as_str()));
    };
    let HttpArgs { url, method, headers, form, body } = call.arguments()?;
    if settings.hosts.is_empty() && settings.allow_private.is_empty() {
        return Err(ToolError::Failed(no_hosts_error(&call.tool, &url)));
    }
    let allow = allow(settings);
    // Checked first, so that no secret is fetched for a request that will not be made.
    net::check(&url, &allow).map_err(|error| explain(&call, settings, error))?;
    let method = method.unwrap_or(settings.default_method());
    let kind = match &body {
        Some(HttpBody::Text(_)) => "text/plain; charset=utf-8",
        _ => "application/json",
    };
    let mut request = Request {
        method: net::method(method),
        url,
        headers: chosen_headers(&headers)?,
        own_headers: HeaderMap::new(),
        has_secret: settings.has_secret(),
        body: body.map(bytes),
        redirects: call.context.redirects.clone(),
    };
    if request.body.is_some() && method.only_reads() {
        return Err(ToolError::Arguments(format!("tool `{}`: {method} takes no `body`", call.tool)));
    }
    if request.body.is_some() && !request.headers.contains_key(CONTENT_TYPE) {
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if !request.headers.contains_key(ACCEPT) {
        let any =
            HeaderValue::from_static("text/markdown, text/html;q=0.9, application/json;q=0.9, */*;q=0.5");
        request.headers.insert(ACCEPT, any);
    }
    request.own_headers = configured_headers(&call, settings, method).await?;
    // Some of the time is reserved for preparing the result.
    let bounds = Bounds {
        time: call.bound.mul_f64(0.9),
        bytes: usize::try_from(settings.max_bytes).unwrap_or(usize::MAX),
    };
    let fetched = net::attempt(request, &allow, bounds).await.map_err(|unanswered| match unanswered {
        Unanswered { may_have_happened: true, error } if error != GuardError::Timeout => {
            ToolError::Unsure(format!("{error}; nobody knows whether the {method} was carried out"))
        }
        Unanswered { error, .. } => explain(&call, settings, error),
    })?;
    let result = if method.only_reads() {
        let unfit = |why: String| ToolError::Failed(format!("{why}; leave `as` out to see what came"));
        content::result(fetched, form).await.map_err(unfit)?
    } else {
        content::unconditional_result(fetched, form).await
    };
    Ok(ToolOutput::of(result))
}

fn no_hosts_error(tool: &str, url: &str) -> String {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.filter(|host| HostPattern::parse(host).is_ok()).unwrap_or_else(|| "example.org".into());
    format!(
        "tool `{tool}` may ask no host: define a table such as [tools.web] with type = \"http\" and \
         hosts = [\"{host}\"], and call `web`"
    )
}

/// Converts an error of the guard, with advice.
fn explain(call: &Call, settings: &HttpSettings, error: GuardError) -> ToolError {
    let tool = &call.tool;
    match error {
        GuardError::Address(_) | GuardError::Port { .. } => {
            ToolError::Arguments(format!("tool `{tool}`: {error}"))
        }
        GuardError::Host { .. } => ToolError::Arguments(format!(
            "tool `{tool}`: {error}; it may ask {}, as `hosts` and `allow_private` of [tools.{tool}] say",
            settings.shown_hosts()
        )),
        GuardError::Private { ref host, address } => ToolError::Failed(format!(
            "{error}; a person can allow it with allow_private = [\"{}\"] in [tools.{tool}]",
            naming(host, address)
        )),
        GuardError::InTheClear { .. } => ToolError::Failed(format!("{error} of [tools.{tool}]")),
        GuardError::Timeout => {
            ToolError::Timeout { tool: tool.clone(), secs: call.bound.as_secs_f64().ceil() as u64 }
        }
        GuardError::Unresolved { .. } | GuardError::Redirect(_) | GuardError::Failed(_) => {
            ToolError::Failed(error.to_string())
        }
    }
}

/// Returns how `allow_private` names a host with an address.
pub(super) fn naming(host: &str, address: std::net::IpAddr) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse() == Ok(address) { host.to_owned() } else { format!("{host}={address}") }
}

/// Returns the headers that the caller chose; the schema allows only harmless ones.
fn chosen_headers(headers: &ChosenHeaders) -> Result<HeaderMap, ToolError> {
    let mut all = HeaderMap::new();
    for (name, value) in &headers.0 {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(all.insert(name, value)),
            _ => {
                let error =
                    format!("the value of the header `{name}` has characters that a header can't hold");
                return Err(ToolError::Arguments(error));
            }
        }
    }
    Ok(all)
}

fn bytes(body: HttpBody) -> Vec<u8> {
    match body {
        HttpBody::Text(text) => text.into_bytes(),
        HttpBody::Json(value) => value.to_string().into_bytes(),
    }
}

/// Returns the configured headers with their secrets resolved, and the idempotency key of the call for
/// methods that change something.
async fn configured_headers(
    call: &Call,
    settings: &HttpSettings,
    method: HttpMethod,
) -> Result<HeaderMap, ToolError> {
    let mut all = settings::headers(&settings.headers, call.bound).await?;
    let key = call.context.idempotency_key.as_deref().filter(|_| !method.only_reads());
    if let Some(value) = key.and_then(|key| HeaderValue::from_str(key).ok()) {
        all.insert(HeaderName::from_static("idempotency-key"), value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
