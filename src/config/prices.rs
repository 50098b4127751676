//! Prices of models, as known to this release: `prices.toml`, with a source and a date for each.
use crate::domain::{Price, Provider};
use serde::Deserialize;
use std::sync::LazyLock;

static PRICES: LazyLock<Vec<ListedModel>> = LazyLock::new(|| {
    let table: Table = toml::from_str(include_str!("prices.toml")).expect("the table is checked by a test");
    table.model
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    model: Vec<ListedModel>,
}

/// A model in the table. The file documents the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedModel {
    provider: String,
    model: String,
    #[serde(default)]
    dated: Vec<String>,
    #[serde(default)]
    alias: Vec<String>,
    input: f64,
    cached_input: Option<f64>,
    cache_write: Option<f64>,
    output: f64,
    above: Option<u64>,
    input_above: Option<f64>,
    cached_input_above: Option<f64>,
    cache_write_above: Option<f64>,
    output_above: Option<f64>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for whoever reads or updates the table"))]
    source: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "for whoever reads or updates the table"))]
    date: String,
}

/// Returns the listed price of a model. `None` if it is not listed; models of `openai-compatible` never are,
/// since anyone can serve them.
pub(super) fn listed_price(provider: Provider, model: &str) -> Option<Price> {
    if provider == Provider::Ollama {
        return Some(Price { input: 0.0, cached_input: 0.0, cache_write: 0.0, output: 0.0 });
    }
    let names = |listed: &&ListedModel| {
        listed.provider == provider.as_str()
            && (listed.model == model || listed.dated.iter().chain(&listed.alias).any(|name| name == model))
    };
    let listed = PRICES.iter().find(names)?;
    Some(listed.price())
}

impl ListedModel {
    /// Returns the price. If long requests cost more, it is the higher price, so that a limit never holds too
    /// little.
    fn price(&self) -> Price {
        let is_tiered = self.above.is_some();
        let worst =
            |usual: f64, long: Option<f64>| if is_tiered { long.unwrap_or(usual).max(usual) } else { usual };
        let input = worst(self.input, self.input_above);
        Price {
            input,
            cached_input: match (self.cached_input, is_tiered) {
                // Without a documented price, cached input is charged as if it were not cached.
                (Some(_), true) => self.cached_input_above.unwrap_or(input),
                (cached, _) => cached.unwrap_or(input),
            },
            cache_write: worst(self.cache_write.unwrap_or(self.input), self.cache_write_above).max(input),
            output: worst(self.output, self.output_above),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the table.
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_model_stands_once_with_a_source_and_a_day_and_sound_figures() {
        let mut names = BTreeSet::new();
        for listed in PRICES.iter() {
            let model = &listed.model;
            assert!(Provider::parse(&listed.provider).is_some(), "{model}: {}", listed.provider);
            for name in [model].into_iter().chain(&listed.dated).chain(&listed.alias) {
                assert!(names.insert((&listed.provider, name.clone())), "{name} stands twice");
            }
            assert!(listed.source.starts_with("https://"), "{model}");
            let day: jiff::civil::Date = listed.date.parse().expect(model);
            assert!(day.year() >= 2026, "{model}");
            let price = listed.price();
            assert!(0.0 < price.input && price.input < price.output && price.output < 1000.0, "{model}");
            assert!(price.cached_input <= price.input && price.cache_write >= price.input, "{model}");
            assert_eq!(listed.above.is_some(), listed.input_above.is_some(), "{model}");
        }
        assert!(names.len() > 40);
    }

    #[test]
    fn long_requests_are_held_at_what_they_cost() {
        let tiered = PRICES.iter().find(|listed| listed.above.is_some()).expect("there is one");
        let provider = Provider::parse(&tiered.provider).expect("known");
        let price = listed_price(provider, &tiered.model).expect("listed");
        assert_eq!(Some(price.input), tiered.input_above.map(|above| above.max(tiered.input)));
        assert_eq!(
            listed_price(Provider::OpenAiCompatible, &tiered.model),
            None,
            "anyone may serve it at any price"
        );
        assert_eq!(listed_price(provider, "a model of tomorrow"), None);
        assert_eq!(listed_price(Provider::Ollama, "x").map(|price| price.output), Some(0.0));
    }
}
