//! The configuration of a meter: the model, its provider, and what the run may use.
use crate::domain::{Fleet, Limits, ModelSpec, Price, ProgramOwner, Usage};
use crate::net;
use hyper::HeaderMap;
use reqwest::{Client, Url};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Timeout for connecting to a provider.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum timeout for a provider: a reasoning model may be silent for long.
const MIN_PROVIDER_TIMEOUT: Duration = Duration::from_secs(300);

/// The provider that a meter sends requests to, with its key.
#[derive(Clone)]
pub struct Upstream {
    /// The provider's address with its version: `https://api.anthropic.com/v1`.
    pub base: Url,
    /// Follows no redirects.
    pub client: Client,
    /// Headers that replace those of the program, including the credentials.
    pub headers: HeaderMap,
    /// The values of those credentials, which must not be returned to the program.
    pub secrets: Vec<Zeroizing<String>>,
}

impl Upstream {
    /// Creates an upstream with its own client.
    ///
    /// # Errors
    /// Why there can't be a client.
    pub fn new(base: Url, headers: HeaderMap, secrets: Vec<Zeroizing<String>>) -> Result<Self, String> {
        let client = net::pooled(&base, CONNECT_TIMEOUT)?;
        Ok(Self { base, client, headers, secrets })
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("base", &net::origin(&self.base)).finish_non_exhaustive()
    }
}

/// What a run may use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeterLimits {
    pub requests: Option<u64>,
    pub tokens: Option<u64>,
    pub usd: Option<f64>,
    /// Dollars are limited, here or by a daily or monthly budget: models without a price are refused.
    pub dollars: bool,
    /// Usage of earlier attempts.
    pub before: Usage,
}

impl MeterLimits {
    /// Returns the limits of an agent in its fleet.
    pub fn of(fleet: &Fleet, limits: &Limits, before: Usage) -> Self {
        let dollars = [
            limits.max_usd_per_run,
            limits.usd_per_day,
            fleet.budget.usd_per_day,
            fleet.budget.usd_per_month,
        ];
        Self {
            requests: Some(limits.request_limit),
            tokens: Some(limits.total_tokens_limit),
            usd: limits.max_usd_per_run,
            dollars: dollars.iter().any(Option::is_some),
            before,
        }
    }
}

/// Timeouts for a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterPatience {
    /// Until the head of an answer.
    pub head: Duration,
    /// Between two chunks of an answer.
    pub pause: Duration,
}

/// The parameters of a meter.
#[derive(Clone, Debug)]
pub struct MeterSpec {
    /// Name of the `[models.…]` table that requests use.
    pub table: String,
    pub model: ModelSpec,
    /// Other tables of the same provider, by name: for models that a program uses besides its own.
    pub side: BTreeMap<String, ModelSpec>,
    pub limits: MeterLimits,
    /// Maximum output tokens if a request has no limit.
    pub max_output_tokens: u64,
    pub upstream: Upstream,
    pub patience: MeterPatience,
    pub owner: ProgramOwner,
}

impl MeterSpec {
    /// Creates the parameters for the model of a table of the fleet: with its `max_output_tokens`, and its `request_timeout`,
    /// but at least 300 s, for the head of an answer and between its chunks. `None`: there is no such table.
    pub fn of(
        fleet: &Fleet,
        table: &str,
        upstream: Upstream,
        limits: MeterLimits,
        owner: ProgramOwner,
    ) -> Option<Self> {
        let model = fleet.models.get(table)?.clone();
        let is_side = |(name, spec): &(&String, &ModelSpec)| {
            *name != table && spec.provider == model.provider && spec.base_url == model.base_url
        };
        let side = fleet.models.iter().filter(is_side);
        let side = side.map(|(name, spec)| (name.clone(), spec.clone())).collect();
        let wait = Duration::try_from(model.request_timeout).unwrap_or_default().max(MIN_PROVIDER_TIMEOUT);
        Some(Self {
            table: table.to_owned(),
            side,
            limits,
            max_output_tokens: model.max_output_tokens,
            upstream,
            patience: MeterPatience { head: wait, pause: wait },
            owner,
            model,
        })
    }

    /// Names the setting that the timeout comes from.
    pub(super) fn whose_patience(&self) -> String {
        let least = MIN_PROVIDER_TIMEOUT.as_secs();
        format!("`request_timeout` of [models.{}], or {least} s if that is longer", self.table)
    }

    /// Returns the table that prices a model, with the price: the meter's own, or another of the same provider. `None`: no
    /// table names it.
    pub(super) fn priced_by(&self, model: &str) -> Option<(&str, Option<Price>)> {
        let own = std::iter::once((&self.table, &self.model));
        let all = || own.clone().chain(&self.side);
        // a table for a release takes precedence over one for all releases
        let exact = all().find(|(_, spec)| plain(&spec.model) == plain(model));
        let found = exact.or_else(|| all().find(|(_, spec)| is_model(&spec.model, model)));
        found.map(|(name, spec)| (name.as_str(), spec.price))
    }
}

/// Returns a name without Gemini's prefix.
fn plain(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

/// Returns whether this is the model of a table. Providers name a release of a model by appending its date.
fn is_model(named: &str, model: &str) -> bool {
    let (named, model) = (plain(named), plain(model));
    let is_date = |text: &str| {
        let digits = text.chars().filter(char::is_ascii_digit).count();
        digits == 8 && text.chars().all(|c| c.is_ascii_digit() || c == '-')
    };
    model.strip_prefix(named).is_some_and(|rest| {
        rest.is_empty() || rest == "-latest" || rest.strip_prefix('-').is_some_and(is_date)
    })
}

#[cfg(test)]
mod tests {
    //! Tests of names of models.
    use super::*;

    #[test]
    fn a_release_with_its_date_is_the_same_model() {
        for (named, model, same) in [
            ("claude-haiku-4-5", "claude-haiku-4-5", true),
            ("claude-haiku-4-5", "claude-haiku-4-5-20251001", true),
            ("gpt-5", "gpt-5-2025-08-07", true),
            ("gemini-2.5-pro", "models/gemini-2.5-pro", true),
            ("gpt-5", "gpt-5-pro", false),
            ("gpt-5", "gpt-5-pro-2025-10-06", false),
            ("gpt-5", "gpt-5.1", false),
            ("claude-haiku-4-5", "claude-haiku-4", false),
            ("claude-opus-4-1-20250805", "claude-opus-4-1", false),
        ] {
            assert_eq!(is_model(named, model), same, "{named} {model}");
        }
    }
}
