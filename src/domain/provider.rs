//! Who answers requests to models.
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
    /// As it is said of requests to it: whose form they have.
    pub const fn wire(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
            Self::Ollama | Self::OpenAiCompatible => "OpenAI's chat completions",
        }
    }
}
