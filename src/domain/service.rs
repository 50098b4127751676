//! The services that messages are sent to, as data: address, format, length limits, and how each signals a rate
//! limit. The source of each row is the documentation that it links.
use super::excerpt::LengthUnit;
use super::words::words;

words! {
    /// Kinds of `[notify.…]` tables.
    NotifyType {
        /// An HTTP POST.
        Webhook = "webhook",
        /// An incoming webhook of Slack.
        Slack = "slack",
        /// A webhook of Discord.
        Discord = "discord",
        /// A webhook of a workflow of Microsoft Teams.
        Teams = "teams",
        /// A bot of Telegram.
        Telegram = "telegram",
        /// A topic of ntfy.
        Ntfy = "ntfy",
        /// A room of Matrix.
        Matrix = "matrix",
        /// An application of Gotify.
        Gotify = "gotify",
        /// A program.
        Command = "command",
        /// A mail.
        Email = "email",
        /// A notification on the screen.
        Desktop = "desktop",
        /// A file.
        File = "file",
    }
}

impl NotifyType {
    /// Returns whether recipients can answer a message.
    pub fn brings_answers(self) -> bool {
        matches!(self, Self::Telegram | Self::Ntfy | Self::Matrix)
    }
}

/// How text is escaped for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// Not escaped.
    Plain,
    /// `&`, `<` and `>` are written as entities.
    Entities,
    /// Entities as above, and `@` never mentions anybody.
    EntitiesWithoutMentions,
    /// Characters with a meaning in Markdown are escaped with a backslash, except in addresses.
    Markdown,
    /// Markdown as above, and each line break becomes a blank line.
    CardMarkdown,
}

/// Inserted between an `@` and a name to prevent a mention; it has no width (U+2060).
const WORD_JOINER: char = '\u{2060}';

impl Escaping {
    /// Returns the escaped text.
    pub fn written(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Entities => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            Self::EntitiesWithoutMentions => {
                Self::Entities.written(text).replace('@', &format!("@{WORD_JOINER}"))
            }
            Self::Markdown => without_markdown(text),
            Self::CardMarkdown => without_markdown(text).replace('\n', "\n\n"),
        }
    }
}

/// Escapes a text so that Markdown shows it literally. Addresses stay unchanged: nothing within them has a meaning.
fn without_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let (mut rest, mut begins_line) = (text, true);
    while let Some(c) = rest.chars().next() {
        let address = address_length(rest);
        let next = address.unwrap_or(c.len_utf8());
        let has_meaning = matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '<' | '>');
        if address.is_none() && (has_meaning || (c == '#' && begins_line)) {
            out.push('\\');
        }
        out.push_str(&rest[..next]);
        begins_line = c == '\n' || (begins_line && c.is_whitespace());
        rest = &rest[next..];
    }
    out
}

/// Returns the length of the address at the beginning of the text, if there is one.
fn address_length(text: &str) -> Option<usize> {
    let begins = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    let ends = |c: char| c.is_whitespace() || "\\*~`|[]()<>\"".contains(c);
    begins.then(|| text.find(ends).unwrap_or(text.len()))
}

/// Built-in knowledge about a service.
#[derive(Clone, Copy, Debug)]
pub struct ServicePreset {
    /// The `type` of its tables.
    pub kind: NotifyType,
    /// HTTP method.
    pub method: &'static str,
    /// Address; its placeholders are the keys of the table, and `{idempotency_key}`.
    pub url: &'static str,
    /// Parameters added to the query of the address, unless present already.
    pub query: &'static [(&'static str, &'static str)],
    /// Default of `{url}`.
    pub usual_url: Option<&'static str>,
    /// Required keys of a table.
    pub needs: &'static [&'static str],
    /// Optional keys of a table.
    pub takes: &'static [&'static str],
    /// Header with the `token`, if there is one.
    pub token_header: Option<(&'static str, &'static str)>,
    /// JSON with placeholders; those of the message are described in docs/NOTIFICATIONS.md.
    pub body: &'static str,
    /// Escaping of `{title}` and `{text}`.
    pub escaping: Escaping,
    /// Maximum length of the complete field that contains `{text}`, and its unit.
    pub most: (usize, LengthUnit),
    /// Maximum length of the body, in bytes.
    pub most_bytes: usize,
    /// Path of the delay in a rate-limit response, and the number of its units per second; in addition to the
    /// header `Retry-After`.
    pub retry_after: Option<(&'static str, f64)>,
    /// `{priority}` for information, warnings, and critical messages.
    pub priority: [u8; 3],
    /// Path of a replacement value in a refusal, and the key that it replaces.
    pub moved_to: Option<(&'static str, &'static str)>,
    /// Documentation of these facts.
    pub docs: &'static str,
}

impl ServicePreset {
    /// Returns the row of a type; `None`: the type is not a service.
    pub fn of(kind: NotifyType) -> Option<&'static Self> {
        SERVICES.iter().find(|preset| preset.kind == kind)
    }
}

/// All services.
pub const SERVICES: &[ServicePreset] = &[
    // Messages of more than 40,000 characters are cut; 4,000 are recommended. One message per second, short bursts
    // allowed. Links are not unfurled: an address in a message could leak what a model has read.
    ServicePreset {
        kind: NotifyType::Slack,
        method: "POST",
        url: "{url}",
        query: &[],
        usual_url: None,
        needs: &["url"],
        takes: &[],
        token_header: None,
        body: r#"{"text": "*{title}*\n{text}", "unfurl_links": false, "unfurl_media": false}"#,
        escaping: Escaping::Entities,
        most: (4_000, LengthUnit::Chars),
        most_bytes: 40_000,
        retry_after: None,
        priority: [0, 0, 0],
        moved_to: None,
        docs: "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks",
    },
    // `content` of at most 2,000 characters; 429 has `retry_after` in seconds, with a fraction. `flags` 4
    // suppresses link previews, and mentions notify nobody. Without `wait` the message is accepted before it is
    // validated.
    ServicePreset {
        kind: NotifyType::Discord,
        method: "POST",
        url: "{url}",
        query: &[("wait", "true")],
        usual_url: None,
        needs: &["url"],
        takes: &[],
        token_header: None,
        body: r#"{"content": "**{title}**\n{text}", "flags": 4, "allowed_mentions": {"parse": []}}"#,
        escaping: Escaping::Markdown,
        most: (2_000, LengthUnit::Utf16),
        most_bytes: 64 << 10,
        retry_after: Some(("retry_after", 1.0)),
        priority: [0, 0, 0],
        moved_to: None,
        docs: "https://docs.discord.com/developers/resources/webhook#execute-webhook",
    },
    // A message has at most 28 KB in total; four requests per second.
    ServicePreset {
        kind: NotifyType::Teams,
        method: "POST",
        url: "{url}",
        query: &[],
        usual_url: None,
        needs: &["url"],
        takes: &[],
        token_header: None,
        body: r#"{"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null,
            "content": {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
            "body": [{"type": "TextBlock", "text": "{title}", "weight": "Bolder", "wrap": true},
                     {"type": "TextBlock", "text": "{text}", "wrap": true}]}}]}"#,
        escaping: Escaping::CardMarkdown,
        most: (20_000, LengthUnit::Bytes),
        most_bytes: 27_000,
        retry_after: None,
        priority: [0, 0, 0],
        moved_to: None,
        docs: "https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook",
    },
    // 1 to 4,096 characters; 429 has `parameters.retry_after` in seconds. A group that becomes a supergroup gets a
    // new id.
    ServicePreset {
        kind: NotifyType::Telegram,
        method: "POST",
        url: "{url}/bot{token}/sendMessage",
        query: &[],
        usual_url: Some("https://api.telegram.org"),
        needs: &["token", "chat"],
        takes: &["url"],
        token_header: None,
        body: r#"{"chat_id": "{chat}", "text": "<b>{title}</b>\n{text}", "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": true}}"#,
        escaping: Escaping::EntitiesWithoutMentions,
        most: (4_096, LengthUnit::Utf16),
        most_bytes: 64 << 10,
        retry_after: Some(("parameters.retry_after", 1.0)),
        priority: [0, 0, 0],
        moved_to: Some(("parameters.migrate_to_chat_id", "chat")),
        docs: "https://core.telegram.org/bots/api#sendmessage",
    },
    // A message of more than 4,096 bytes becomes a file; a title has at most 250.
    ServicePreset {
        kind: NotifyType::Ntfy,
        method: "POST",
        url: "{url}/",
        query: &[],
        usual_url: Some("https://ntfy.sh"),
        needs: &["topic"],
        takes: &["url", "token", "reply_topic"],
        token_header: Some(("Authorization", "Bearer {token}")),
        body: r#"{"topic": "{topic}", "title": "{title}", "message": "{text}", "priority": "{priority}"}"#,
        escaping: Escaping::Plain,
        most: (4_000, LengthUnit::Bytes),
        most_bytes: 8_000,
        retry_after: None,
        priority: [3, 4, 5],
        moved_to: None,
        docs: "https://docs.ntfy.sh/publish/#publish-as-json",
    },
    // An event has at most 64 KiB; repeated requests with the same transaction id are deduplicated. 429 has
    // `retry_after_ms`. `m.text` because `m.notice` does not alert. Empty `m.mentions`: no text of a result
    // mentions anybody.
    ServicePreset {
        kind: NotifyType::Matrix,
        method: "PUT",
        url: "{url}/_matrix/client/v3/rooms/{room}/send/m.room.message/{idempotency_key}",
        query: &[],
        usual_url: None,
        needs: &["url", "room", "token"],
        takes: &[],
        token_header: Some(("Authorization", "Bearer {token}")),
        body: r#"{"msgtype": "m.text", "body": "{title}\n{text}", "m.mentions": {}}"#,
        escaping: Escaping::Plain,
        most: (30_000, LengthUnit::Bytes),
        most_bytes: 60_000,
        retry_after: Some(("retry_after_ms", 1_000.0)),
        priority: [0, 0, 0],
        moved_to: None,
        docs: "https://spec.matrix.org/latest/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid",
    },
    // Priorities from 4 on make a sound, from 8 on they vibrate as well.
    ServicePreset {
        kind: NotifyType::Gotify,
        method: "POST",
        url: "{url}/message",
        query: &[],
        usual_url: None,
        needs: &["url", "token"],
        takes: &[],
        token_header: Some(("X-Gotify-Key", "{token}")),
        body: r#"{"title": "{title}", "message": "{text}", "priority": "{priority}"}"#,
        escaping: Escaping::Plain,
        most: (16_000, LengthUnit::Bytes),
        most_bytes: 64 << 10,
        retry_after: None,
        priority: [3, 5, 8],
        moved_to: None,
        docs: "https://gotify.net/docs/pushmsg",
    },
];

#[cfg(test)]
mod tests {
    //! Tests of how words are written for a service.
    use super::*;

    #[test]
    fn words_of_a_result_have_no_meaning_for_a_service() {
        let markdown = |text| Escaping::Markdown.written(text);
        assert_eq!(markdown("[log in](https://evil.example)"), "\\[log in\\](https://evil.example)");
        assert_eq!(markdown("# a\n #b c#\n> *x* __y__"), "\\# a\n \\#b c#\n\\> \\*x\\* \\_\\_y\\_\\_");
        assert_eq!(markdown("<@123> @here ```x```"), "\\<@123\\> @here \\`\\`\\`x\\`\\`\\`");
        assert_eq!(markdown("at https://a.example/b_c?d=e_f, or"), "at https://a.example/b_c?d=e_f, or");
        assert_eq!(Escaping::CardMarkdown.written("a\n_b_"), "a\n\n\\_b\\_");
        let telegram = Escaping::EntitiesWithoutMentions.written("<b> @all");
        assert_eq!(telegram, "&lt;b&gt; @\u{2060}all");
        for preset in SERVICES {
            assert_eq!(
                preset.escaping.written("plain words, 1.5 %"),
                "plain words, 1.5 %",
                "{}",
                preset.kind
            );
        }
    }
}
