//! Model providers.
use super::words::words;

words! {
    /// Who answers, and in which form it is asked.
    Provider {
        /// OpenAI.
        OpenAi = "openai",
        /// Anthropic.
        Anthropic = "anthropic",
        /// Google.
        Gemini = "gemini",
        /// An Ollama server.
        Ollama = "ollama",
        /// Any server that speaks OpenAI's chat completions.
        OpenAiCompatible = "openai-compatible",
    }
}

impl Provider {
    /// Returns the name of its wire format, for messages.
    pub const fn wire(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
            Self::Ollama | Self::OpenAiCompatible => "OpenAI's chat completions",
        }
    }
}
