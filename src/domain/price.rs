//! The cost of model requests. Counting their tokens is left to `tokens`.
use super::chat::Tokens;
use super::fleet::Price;

/// Returns the cost of these tokens in US dollars. Cached tokens are part of the input.
pub fn cost(price: &Price, tokens: &Tokens) -> f64 {
    let cached = tokens.cached.min(tokens.input);
    let written = tokens.written.min(tokens.input - cached);
    let fresh = tokens.input - cached - written;
    let sent =
        fresh as f64 * price.input + cached as f64 * price.cached_input + written as f64 * price.cache_write;
    (sent + tokens.output as f64 * price.output) / 1e6
}

#[cfg(test)]
mod tests {
    //! Tests of prices.
    use super::*;

    #[test]
    fn sums_are_shown_without_noise() {
        let usage = crate::domain::Usage { usd: 0.1 + 0.2, ..Default::default() };
        assert_eq!(serde_json::to_value(usage).unwrap()["usd"].to_string(), "0.3");
        let usage = crate::domain::Usage { usd: 3.0 * 0.00002, ..Default::default() };
        assert_eq!(serde_json::to_value(usage).unwrap()["usd"].to_string(), "0.00006");
    }

    #[test]
    fn costs() {
        let price = Price { input: 2.0, cached_input: 0.5, cache_write: 2.5, output: 8.0 };
        for (input, cached, written, output, usd) in [
            (0, 0, 0, 0, 0.0),
            (1_000_000, 0, 0, 0, 2.0),
            (1_000_000, 500_000, 0, 0, 1.25),
            (1_000_000, 500_000, 500_000, 0, 1.5),
            (1_000_000, 0, 5_000_000, 0, 2.5),
            (0, 7, 7, 500_000, 4.0),
        ] {
            let tokens = Tokens { input, cached, written, output };
            assert!((cost(&price, &tokens) - usd).abs() < 1e-12, "{tokens:?}");
        }
    }
}
