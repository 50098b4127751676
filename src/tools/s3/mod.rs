//! `s3`: lists, gets and puts objects of S3-compatible storage, beneath the bucket and the prefix that the
//! configuration names. The client beneath it, [`Bucket`], is for other tools too.
use super::contract::{About as ToolAbout, Call, ToolError, ToolOutput};
use super::settings;
use crate::domain::{Effect, ReadsWhen, S3Settings, ToolKind, ToolSettings};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::{Value, json};

mod bucket;
mod error;
mod exchange;

pub use bucket::{About, Bucket, Listed, Listing, Object};
pub use error::{S3Error, S3ErrorKind};

/// Bytes of an object that a result can hold.
const MAX_SHOWN: usize = 160 << 10;
/// Objects of a list where the caller does not say, and at the most.
const MAX_LISTED: (u64, u64) = (100, 1000);
/// Bytes of keys in a list.
const MAX_KEYS: usize = 128 << 10;

/// What an instance is; without settings: what it might be at the worst.
pub(super) fn about(settings: Option<&S3Settings>) -> ToolAbout {
    let writes = settings.is_none_or(|settings| settings.mode.writes());
    let ops: &[&str] = if writes { &["list", "get", "head", "put"] } else { &["list", "get", "head"] };
    let place = settings.map_or_else(String::new, |S3Settings { bucket, prefix, .. }| match prefix {
        Some(prefix) => format!(" In `{bucket}`, beneath `{prefix}/`."),
        None => format!(" In `{bucket}`."),
    });
    let mut properties = json!({
        "op": {"enum": ops, "description": format!("head: what is known of an object, without its content.{place}")},
        "key": {"type": "string", "description": "For get, head and put: the object."},
        "prefix": {"type": "string", "description": "For list: what the keys begin with; left out: all."},
        "after": {"type": "string", "description": "For list: only keys after this one."},
        "max": {
            "type": "integer", "minimum": 1, "maximum": MAX_LISTED.1,
            "description": format!("For list: at most so many; left out: {}.", MAX_LISTED.0),
        },
    });
    if writes {
        properties["text"] = json!({"type": "string", "description": "For put: the content, as text."});
        properties["base64"] = json!({"type": "string", "description": "For put: the content, in base64."});
        properties["content_type"] = json!({"type": "string", "description": "For put: what it is."});
    }
    ToolAbout {
        effect: if writes { Effect::Effect } else { Effect::Read },
        reads_when: writes.then(|| ReadsWhen {
            key: "op".into(),
            values: vec!["list".into(), "get".into(), "head".into()],
            by_default: false,
        }),
        untrusted: true,
        schema: json!({
            "type": "object", "properties": properties, "required": ["op"], "additionalProperties": false,
        }),
    }
}

/// Does what is asked.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let ToolSettings::S3(Some(settings)) = &*call.settings else {
        return Err(settings::missing(ToolKind::S3.as_str()));
    };
    let most = SignedDuration::try_from(call.bound.mul_f64(0.9)).unwrap_or(SignedDuration::MAX);
    let settings = S3Settings { timeout: settings.timeout.min(most), ..settings.clone() };
    let request = Op::of(&call, &settings)?;
    let bucket = Bucket::open(&settings).await.map_err(|error| explain(error, false))?;
    let put = matches!(request, Op::Put { .. });
    request.run(&bucket, &settings).await.map(ToolOutput::of).map_err(|error| explain(error, put))
}

/// What is asked, its arguments checked.
enum Op<'a> {
    List { prefix: &'a str, after: Option<&'a str>, most: usize },
    Get { key: &'a str },
    Head { key: &'a str },
    Put { key: &'a str, bytes: Vec<u8>, content_type: &'a str },
}

impl<'a> Op<'a> {
    fn of(call: &'a Call, settings: &S3Settings) -> Result<Self, ToolError> {
        let refuse = |why: String| Err(ToolError::Arguments(format!("tool `{}`: {why}", call.tool)));
        let text = |key: &str| call.args[key].as_str();
        let op = text("op").unwrap_or_default();
        let belongs: &[&str] = match op {
            "list" => &["op", "prefix", "after", "max"],
            "put" => &["op", "key", "text", "base64", "content_type"],
            _ => &["op", "key"],
        };
        let given = call.args.as_object().into_iter().flat_map(|args| args.keys());
        if let Some(other) = given.into_iter().find(|key| !belongs.contains(&key.as_str())) {
            return refuse(format!("`{other}` is not for {op}"));
        }
        if op == "list" {
            let most = call.args["max"].as_u64().unwrap_or(MAX_LISTED.0).min(MAX_LISTED.1);
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            return Ok(Self::List { prefix: text("prefix").unwrap_or_default(), after: text("after"), most });
        }
        let Some(key) = text("key") else { return refuse(format!("{op} needs `key`")) };
        match op {
            "get" => Ok(Self::Get { key }),
            "head" => Ok(Self::Head { key }),
            "put" if settings.mode.writes() => {
                let (bytes, usual) = match (text("text"), text("base64").map(|text| STANDARD.decode(text))) {
                    (Some(text), None) => (text.as_bytes().to_vec(), "text/plain; charset=utf-8"),
                    (None, Some(Ok(bytes))) => (bytes, "application/octet-stream"),
                    (None, Some(Err(error))) => return refuse(format!("`base64` can't be read: {error}")),
                    _ => return refuse("put needs either `text` or `base64`".into()),
                };
                let most = settings::size(settings.max_bytes);
                if bytes.len() > most {
                    return refuse(format!("the content has {} bytes, and {most} are the most", bytes.len()));
                }
                Ok(Self::Put { key, bytes, content_type: text("content_type").unwrap_or(usual) })
            }
            other => refuse(format!("`{other}` is not allowed: the tool is read-only")),
        }
    }

    async fn run(self, bucket: &Bucket, settings: &S3Settings) -> Result<Value, S3Error> {
        match self {
            Self::List { prefix, after, most } => Ok(listed(bucket.list(prefix, after, most).await?)),
            Self::Get { key } => {
                let object = bucket.get_some(key, settings::size(settings.max_bytes).min(MAX_SHOWN)).await?;
                let mut result = described(key, &object.about);
                result["truncated"] = object.truncated.into();
                match text_of(&object) {
                    Some(text) => result["text"] = text.into(),
                    None => result["base64"] = STANDARD.encode(&object.bytes).into(),
                }
                Ok(result)
            }
            Self::Head { key } => Ok(described(key, &bucket.head(key).await?)),
            Self::Put { key, bytes, content_type } => {
                Ok(described(key, &bucket.put(key, bytes, content_type).await?))
            }
        }
    }
}

/// The content as text, if it is some; the end may have been cut within a character.
fn text_of(object: &Object) -> Option<&str> {
    match std::str::from_utf8(&object.bytes) {
        Ok(text) => Some(text),
        Err(error) if object.truncated && error.error_len().is_none() => {
            std::str::from_utf8(&object.bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

fn described(key: &str, about: &About) -> Value {
    let mut result = json!({"key": key});
    let facts = [
        ("bytes", about.bytes.map(Value::from)),
        ("modified", about.modified.clone().map(Value::from)),
        ("content_type", about.content_type.clone().map(Value::from)),
        ("sha256", about.sha256.clone().map(Value::from)),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            result[name] = fact;
        }
    }
    result
}

/// As many as a result can hold.
fn listed(listing: Listing) -> Value {
    let (mut keys, mut more) = (0, listing.more);
    let mut objects = Vec::new();
    for object in listing.objects {
        keys += object.key.len() + 100;
        if keys > MAX_KEYS {
            more = true;
            break;
        }
        objects.push(json!({"key": object.key, "bytes": object.bytes, "modified": object.modified}));
    }
    json!({"objects": objects, "truncated": more})
}

/// `changes`: it was to change something, and may have.
fn explain(error: S3Error, changes: bool) -> ToolError {
    use S3ErrorKind::{Key, Network, Server, Timeout};
    match error.kind {
        Key => ToolError::Arguments(error.message),
        Network | Server | Timeout if changes => ToolError::Unsure(error.message),
        _ => ToolError::Failed(error.message),
    }
}

#[cfg(test)]
mod tests;
