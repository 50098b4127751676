//! The parts of a request that are not text: images, documents, and references to what the provider stores or would fetch.
//! Recognized by position in the provider's schema and by declared type, never by content, which is controlled by the sender.
use super::wire::ModelWire;

/// Maximum tokens of an image for Anthropic, regardless of its size in bytes: larger ones are scaled down to 2,576 pixels
/// ("Image costs" of its page on vision, the newest models).
pub(super) const PICTURE_MESSAGES: u64 = 5_000;
/// The same for other providers. "Calculating costs" of OpenAI's page on vision: ten thousand patches at the original detail.
pub(super) const PICTURE: u64 = 12_000;
/// Maximum tokens of all documents of a request. Each page is also sent as an image, and a file of a few kilobytes can have any
/// number of them; so the only limit is the largest context window, a million tokens.
pub(super) const DOCUMENTS: u64 = 1_050_000;

/// Image formats that providers read as one image.
const PICTURES: [&str; 8] = ["png", "jpeg", "jpg", "gif", "webp", "heic", "heif", "bmp"];

/// The meaning of a string where a file is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// It is sent to the model as it is.
    Text,
    Picture,
    Document,
    /// A reference: the provider stores or fetches it.
    Elsewhere,
    /// A format without upper bound, or more expensive than the table's price.
    Unbounded,
}

/// Returns whether the value of this key is a file or the name of one. `above`: the key of the enclosing object. Both
/// [`super::object::folded`].
pub(super) fn is_file(wire: ModelWire, above: &str, key: &str) -> bool {
    match wire {
        ModelWire::Messages => key == "fileid" || (above == "source" && matches!(key, "data" | "url")),
        ModelWire::Responses | ModelWire::Chat => {
            matches!(key, "imageurl" | "fileurl" | "fileid" | "filedata" | "videourl" | "audiourl")
                || matches!((above, key), ("imageurl" | "videourl" | "audiourl", "url"))
                || matches!((above, key), ("inputaudio" | "inputvideo", "data") | ("audio", "id"))
        }
        ModelWire::Gemini => matches!((above, key), ("inlinedata", "data") | ("filedata", "fileuri")),
    }
}

/// Returns the meaning of a string that [`is_file`] identifies. `kind` and `media`: `type` and `media_type` beside it.
pub(super) fn means(
    wire: ModelWire,
    above: &str,
    key: &str,
    kind: Option<&str>,
    media: Option<&str>,
    text: &str,
) -> Means {
    match (wire, above, key) {
        (ModelWire::Messages, "source", "data") => match kind {
            Some("text") => Means::Text,
            Some("base64") => of_type(media.unwrap_or_default()),
            _ => Means::Unbounded,
        },
        (ModelWire::Gemini, "inlinedata", "data") => of_type(media.unwrap_or_default()),
        (ModelWire::Responses | ModelWire::Chat, _, "filedata") => Means::Document,
        (ModelWire::Responses | ModelWire::Chat, _, "imageurl") | (_, "imageurl", "url") => {
            match data_type(text) {
                Some(media) if of_type(media) == Means::Picture => Means::Picture,
                Some(_) => Means::Unbounded,
                None => Means::Elsewhere,
            }
        }
        (_, _, "videourl" | "audiourl") | (_, "videourl" | "audiourl" | "inputaudio" | "inputvideo", _) => {
            Means::Unbounded
        }
        _ => Means::Elsewhere,
    }
}

/// Returns the media type of a `data:` URL (RFC 2397); `None`: it is another URL.
fn data_type(url: &str) -> Option<&str> {
    let start = url.get(..5).filter(|start| start.eq_ignore_ascii_case("data:"))?;
    url[start.len()..].split([';', ',']).next()
}

fn of_type(media: &str) -> Means {
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.split_once('/') {
        Some(("image", form)) if PICTURES.contains(&form) => Means::Picture,
        Some(("application", "pdf")) => Means::Document,
        Some(("text", _)) => Means::Text,
        // audio is more expensive than text, and a few bytes of video can last a second
        _ => Means::Unbounded,
    }
}

/// Returns whether this type of content part is known to cost no more than its content.
pub(super) fn is_known_part(wire: ModelWire, kind: &str) -> bool {
    match wire {
        ModelWire::Messages => {
            matches!(
                kind,
                "text"
                    | "image"
                    | "document"
                    | "thinking"
                    | "redacted_thinking"
                    | "tool_use"
                    | "server_tool_use"
                    | "mcp_tool_use"
                    | "tool_reference"
                    | "compaction"
                    | "tool_addition"
                    | "tool_removal"
                    | "fallback"
            ) || kind.ends_with("_result")
                || kind.ends_with("_error")
        }
        ModelWire::Chat | ModelWire::Responses => matches!(
            kind,
            "text"
                | "input_text"
                | "output_text"
                | "summary_text"
                | "reasoning_text"
                | "refusal"
                | "thinking"
                | "image_url"
                | "input_image"
                | "computer_screenshot"
                | "file"
                | "input_file"
                | "encrypted_content"
        ),
        ModelWire::Gemini => true,
    }
}
