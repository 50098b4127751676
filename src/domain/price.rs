//! What model requests cost, and how large they are at the worst.
use super::chat::{ModelRequest, Tokens};
use super::fleet::Price;

/// US dollars for these tokens. Cached ones are a part of those sent.
pub fn cost(price: &Price, tokens: &Tokens) -> f64 {
    let cached = tokens.cached.min(tokens.input);
    let sent = (tokens.input - cached) as f64 * price.input + cached as f64 * price.cached_input;
    (sent + tokens.output as f64 * price.output) / 1e6
}

/// An amount as JSON, without the noise of sums of binary fractions: to a millionth of a millionth.
///
/// # Errors
/// Those of the serializer.
pub fn rounded<S: serde::Serializer>(amount: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((amount * 1e12).round() / 1e12)
}

/// The most tokens that a request may be sent as. No tokenizer is asked: half its bytes as JSON, which
/// is about twice what English text needs, and a little for the frame of each part.
pub fn tokens_at_most(request: &ModelRequest) -> u64 {
    let texts = request.system.as_ref().map_or(0, String::len);
    let messages = request.messages.iter().map(json_bytes).sum::<usize>();
    let tools = request.tools.iter().map(json_bytes).sum::<usize>();
    let schema = request.output_schema.as_ref().map_or(0, json_bytes);
    let parts = request.messages.len() + request.tools.len();
    ((texts + messages + tools + schema) as u64).div_ceil(2) + parts as u64 * PER_PART
}

/// Tokens of the frame of a message or a tool.
const PER_PART: u64 = 8;

fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    //! Tests of prices.
    use super::*;
    use crate::domain::ChatMessage;

    #[test]
    fn sums_are_shown_without_noise() {
        let usage = crate::domain::Usage { usd: 0.1 + 0.2, ..Default::default() };
        assert_eq!(serde_json::to_value(usage).unwrap()["usd"].to_string(), "0.3");
        let usage = crate::domain::Usage { usd: 3.0 * 0.00002, ..Default::default() };
        assert_eq!(serde_json::to_value(usage).unwrap()["usd"].to_string(), "0.00006");
    }

    #[test]
    fn costs() {
        let price = Price { input: 2.0, cached_input: 0.5, output: 8.0 };
        for (input, cached, output, usd) in
            [(0, 0, 0, 0.0), (1_000_000, 0, 0, 2.0), (1_000_000, 500_000, 0, 1.25), (0, 7, 500_000, 4.0)]
        {
            let tokens = Tokens { input, cached, output };
            assert!((cost(&price, &tokens) - usd).abs() < 1e-12, "{tokens:?}");
        }
    }

    #[test]
    fn more_is_never_less() {
        let request = |text: &str| ModelRequest {
            system: Some("x".into()),
            messages: vec![ChatMessage::User { text: text.into() }],
            tools: Vec::new(),
            max_output_tokens: 1,
            output_schema: None,
            only_answer: false,
        };
        assert!(tokens_at_most(&request("")) > 8);
        assert_eq!(
            tokens_at_most(&request("äöü äöü!")),
            tokens_at_most(&request("")) + "äöü äöü!".len() as u64 / 2
        );
    }
}
