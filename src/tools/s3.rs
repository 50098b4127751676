//! `s3`: lists, gets and puts objects of S3-compatible storage, within the configured bucket and prefix. The
//! client is a room of its own (`crate::s3`), which archives use as well.
use super::contract::{About as ToolAbout, Call, ToolOutput};
use super::settings;
use crate::domain::{Effect, ReadsWhen, S3Args, S3Op, S3Settings, ToolError, ToolKind, ToolSettings, size};
use crate::s3::{About, Bucket, Listing, Object, S3Error, S3ErrorKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Maximum number of bytes of an object in a result.
const MAX_CONTENT_BYTES: usize = 160 << 10;
/// Maximum number of bytes of keys in a list.
const MAX_KEYS_BYTES: usize = 128 << 10;

/// Describes an instance; without settings, the strongest effect that one could have.
pub(super) fn about(settings: Option<&S3Settings>) -> ToolAbout {
    let writes = settings.is_none_or(|settings| settings.mode.writes());
    ToolAbout {
        effect: if writes { Effect::Effect } else { Effect::Read },
        reads_when: writes.then(|| ReadsWhen { key: "op".into(), values: S3Op::reads(), by_default: false }),
        untrusted: true,
    }
}

/// Performs the requested operation.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let ToolSettings::S3(Some(settings)) = &*call.settings else {
        return Err(settings::missing(ToolKind::S3.as_str()));
    };
    let most = SignedDuration::try_from(call.bound.mul_f64(0.9)).unwrap_or(SignedDuration::MAX);
    let settings = S3Settings { timeout: settings.timeout.min(most), ..settings.clone() };
    let request = Request::of(call.arguments()?, &settings)
        .map_err(|why| ToolError::Arguments(format!("tool `{}`: {why}", call.tool)))?;
    let bucket = Bucket::open(&settings).await.map_err(|error| explain(error, false))?;
    let put = matches!(request, Request::Put { .. });
    request.run(&bucket, &settings).await.map(ToolOutput::of).map_err(|error| explain(error, put))
}

/// A request with validated arguments.
enum Request {
    List { prefix: String, after: Option<String>, most: usize },
    Get { key: String },
    Head { key: String },
    Put { key: String, bytes: Vec<u8>, content_type: String },
}

impl Request {
    fn of(args: S3Args, settings: &S3Settings) -> Result<Self, String> {
        if let Some(other) = args.surplus().first() {
            return Err(format!("`{other}` is not for {}", args.op));
        }
        let S3Args { op, key, prefix, after, max, text, base64, content_type } = args;
        let key = || key.ok_or_else(|| format!("{op} needs `key`"));
        Ok(match op {
            S3Op::List => {
                let most = size(max.unwrap_or(S3Args::MAX).min(S3Args::LARGEST_MAX));
                Self::List { prefix: prefix.unwrap_or_default(), after, most }
            }
            S3Op::Get => Self::Get { key: key()? },
            S3Op::Head => Self::Head { key: key()? },
            S3Op::Put if settings.mode.writes() => {
                let key = key()?;
                let (bytes, usual) = match (text, base64.map(|text| STANDARD.decode(text))) {
                    (Some(text), None) => (text.into_bytes(), "text/plain; charset=utf-8"),
                    (None, Some(Ok(bytes))) => (bytes, "application/octet-stream"),
                    (None, Some(Err(error))) => return Err(format!("`base64` can't be read: {error}")),
                    _ => return Err("put needs either `text` or `base64`".into()),
                };
                let most = size(settings.max_bytes);
                if bytes.len() > most {
                    return Err(format!("the content has {} bytes, and {most} are the most", bytes.len()));
                }
                Self::Put { key, bytes, content_type: content_type.unwrap_or_else(|| usual.to_owned()) }
            }
            S3Op::Put => return Err(format!("`{op}` is not allowed: the tool is read-only")),
        })
    }

    async fn run(self, bucket: &Bucket, settings: &S3Settings) -> Result<Value, S3Error> {
        match self {
            Self::List { prefix, after, most } => {
                Ok(listed(bucket.list(&prefix, after.as_deref(), most).await?))
            }
            Self::Get { key } => {
                let object = bucket.get_some(&key, size(settings.max_bytes).min(MAX_CONTENT_BYTES)).await?;
                let mut result = described(&key, &object.about);
                result["truncated"] = object.truncated.into();
                match text_of(&object) {
                    Some(text) => result["text"] = text.into(),
                    None => result["base64"] = STANDARD.encode(&object.bytes).into(),
                }
                Ok(result)
            }
            Self::Head { key } => Ok(described(&key, &bucket.head(&key).await?)),
            Self::Put { key, bytes, content_type } => {
                Ok(described(&key, &bucket.put(&key, bytes, &content_type).await?))
            }
        }
    }
}

/// Returns the content as text, if it is UTF-8; the end may have been cut within a character.
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

/// Returns as many objects as a result can hold.
fn listed(listing: Listing) -> Value {
    let (mut keys, mut more) = (0, listing.more);
    let mut objects = Vec::new();
    for object in listing.objects {
        keys += object.key.len() + 100;
        if keys > MAX_KEYS_BYTES {
            more = true;
            break;
        }
        objects.push(json!({"key": object.key, "bytes": object.bytes, "modified": object.modified}));
    }
    json!({"objects": objects, "truncated": more})
}

/// Converts an error. `changes`: the request was to change something, and may have done so.
fn explain(error: S3Error, changes: bool) -> ToolError {
    use S3ErrorKind::{Key, Network, Server, Timeout};
    match error.kind {
        Key => ToolError::Arguments(error.message),
        Network | Server | Timeout if changes => ToolError::Unsure(error.message),
        _ => ToolError::Failed(error.message),
    }
}
