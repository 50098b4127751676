//! Which calls send a model's output out of this machine, and which tools return private data.
use super::shell::{ParameterKind, ShellArg, ShellCommand};
use serde_json::Value;

/// Which parts of a call, chosen by a model, leave this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outward {
    /// Nothing: they stay here, or go to a destination in the configuration.
    #[default]
    Nothing,
    /// A request to the address in the argument `url`.
    Request,
    /// Everything: a third party receives the arguments of each call.
    Everything,
    /// Calls with one of these arguments.
    With(Vec<String>),
    /// Programs with network access, by their names in the argument `command`.
    Commands(Vec<String>),
}

/// What one call sends out of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingData {
    Request {
        address: String,
        /// Only the address is sent: neither headers nor a body.
        is_bare: bool,
    },
    /// Text of the model, to a third party.
    Words,
}

impl Outward {
    /// Returns what a call with these arguments sends out.
    pub fn of(&self, args: &Value) -> Option<OutgoingData> {
        let text = |key: &str| args.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_given = |key: &&str| args.get(*key).is_some_and(|value| !is_empty(value));
        let is_one_of = |names: &[String]| names.iter().any(|name| name == text("command"));
        match self {
            Self::Nothing => None,
            Self::Request => Some(OutgoingData::Request {
                address: text("url").to_owned(),
                is_bare: !["headers", "body"].iter().any(is_given),
            }),
            Self::Everything => Some(OutgoingData::Words),
            Self::With(keys) => keys.iter().any(|key| is_given(&key.as_str())).then_some(OutgoingData::Words),
            Self::Commands(names) => is_one_of(names).then_some(OutgoingData::Words),
        }
    }

    /// Returns whether nothing is ever sent.
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Request | Self::Everything => false,
            Self::With(names) | Self::Commands(names) => names.is_empty(),
        }
    }

    /// Returns the policy for a tool of an MCP server. One with network access, directly or through its sandbox,
    /// may forward all arguments; any other program only arguments that are addresses.
    pub fn of_server(over_network: bool, schema: &Value) -> Self {
        if over_network { Self::Everything } else { Self::With(arguments_that_are_addresses(schema)) }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Names of arguments that are network destinations.
const ADDRESS_ARGUMENTS: &[&str] = &[
    "url", "urls", "uri", "uris", "href", "link", "links", "endpoint", "webhook", "host", "hostname",
    "domain",
];

/// Returns the arguments that take an address, by their name or their format (JSON Schema 2020-12, 7.3).
fn arguments_that_are_addresses(schema: &Value) -> Vec<String> {
    let is_address = |name: &str, schema: &Value| {
        let name = name.to_ascii_lowercase();
        let last = name.rsplit(['_', '-', '.']).next().unwrap_or_default();
        let format = schema["format"].as_str().or(schema["items"]["format"].as_str()).unwrap_or_default();
        ADDRESS_ARGUMENTS.contains(&last)
            || format.starts_with("uri")
            || format.starts_with("iri")
            || format.contains("hostname")
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.filter(|(name, schema)| is_address(name, schema)).map(|(name, _)| name.clone()).collect()
}

/// Programs that send their arguments over the network, by name.
const NETWORK_PROGRAMS: &[&str] = &[
    "aria2c",
    "aws",
    "az",
    "curl",
    "dig",
    "drill",
    "ftp",
    "gcloud",
    "gh",
    "gsutil",
    "host",
    "http",
    "https",
    "kubectl",
    "ldapsearch",
    "lftp",
    "links",
    "lynx",
    "mail",
    "mailx",
    "mosquitto_pub",
    "msmtp",
    "mtr",
    "mutt",
    "nc",
    "ncat",
    "netcat",
    "nmap",
    "nslookup",
    "ping",
    "ping6",
    "rclone",
    "rsync",
    "s3cmd",
    "scp",
    "sendmail",
    "sftp",
    "smbclient",
    "socat",
    "ssh",
    "swaks",
    "telnet",
    "tftp",
    "traceroute",
    "w3m",
    "wget",
    "whois",
    "xh",
];

impl ShellCommand {
    /// Returns whether it sends what a model chose over the network. Any program may, if its sandbox `has_network`.
    pub(super) fn reaches_the_network(&self, has_network: bool) -> bool {
        let program = self.exec.rsplit('/').next().unwrap_or_default();
        (has_network || NETWORK_PROGRAMS.contains(&program))
            && self.args.iter().any(|arg| matches!(arg, ShellArg::Parameter { .. }))
    }

    pub(super) fn reads_any_path(&self) -> bool {
        let is_path = |arg: &ShellArg| matches!(arg, ShellArg::Parameter { kind: ParameterKind::Path, .. });
        self.args.iter().any(is_path)
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what leaves the machine.
    use super::*;
    use crate::domain::{
        HttpSettings, NetTarget, Sandbox, SandboxSetting, ShellSettings, ToolKind, ToolSettings,
    };
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn what_a_model_chose_leaves_with_a_request_a_key_and_a_program_of_the_network() {
        let request = |args: Value| Outward::Request.of(&args);
        let to = |address: &str, is_bare| Some(OutgoingData::Request { address: address.into(), is_bare });
        assert_eq!(
            request(json!({"url": "https://a/", "as": "raw", "method": "GET"})),
            to("https://a/", true)
        );
        assert_eq!(
            request(json!({"url": "https://a/", "headers": {"Accept": "x"}})),
            to("https://a/", false)
        );
        assert_eq!(request(json!({"url": "https://a/", "body": "x"})), to("https://a/", false));
        let bucket = ToolSettings::none(ToolKind::S3).outward();
        assert_eq!(bucket.of(&json!({"op": "list"})), None);
        assert_eq!(bucket.of(&json!({"op": "list", "prefix": ""})), None);
        for args in
            [json!({"op": "get", "key": "a"}), json!({"op": "list", "prefix": "a"}), json!({"after": "a"})]
        {
            assert_eq!(bucket.of(&args), Some(OutgoingData::Words), "{args}");
        }
        let command = |exec: &str, arg: &str| ShellCommand {
            under: Vec::new(),
            exec: exec.into(),
            args: vec![ShellArg::parse(arg).unwrap()],
            read: true,
            description: None,
        };
        let shell = ToolSettings::Shell(Some(ShellSettings {
            commands: [
                ("get", command("/usr/bin/curl", "{url}")),
                ("fixed", command("/usr/bin/curl", "https://a/")),
                ("df", command("/bin/df", "{p:path}")),
            ]
            .map(|(name, command)| (name.to_owned(), command))
            .into(),
            sandbox: Default::default(),
            cwd: "/".into(),
            default_cwd: false,
            env: Default::default(),
            timeout: ShellSettings::TIMEOUT,
            max_output: 1,
        }));
        let leaves = |name: &str| shell.outward().of(&json!({"command": name})).is_some();
        assert_eq!((leaves("get"), leaves("fixed"), leaves("df")), (true, false, false));
        let ToolSettings::Shell(Some(settings)) = &shell else { panic!("it is one") };
        let net = vec![NetTarget::parse("a.example").unwrap()];
        let sandbox = SandboxSetting::On(Arc::new(Sandbox { net, ..Sandbox::default() }));
        let online = ToolSettings::Shell(Some(ShellSettings { sandbox, ..settings.clone() }));
        let leaves = |name: &str| online.outward().of(&json!({"command": name})).is_some();
        assert_eq!(
            (leaves("get"), leaves("fixed"), leaves("df")),
            (true, false, true),
            "any program may send"
        );
        assert!(shell.is_private() && !ToolSettings::Http(HttpSettings::default()).is_private());
        for kind in
            [ToolKind::Sql, ToolKind::Files, ToolKind::Report, ToolKind::Remember, ToolKind::SystemMetrics]
        {
            assert!(ToolSettings::none(kind).outward().is_nothing(), "{kind}");
        }
    }

    #[test]
    fn a_program_of_a_server_is_another_party_where_it_takes_an_address() {
        let schema = json!({"properties": {
            "url": {}, "targetUrl": {"format": "uri"}, "web_hook": {}, "image_url": {}, "pages": {"items": {"format": "uri"}},
            "text": {"type": "string"}, "curl": {},
        }});
        let Outward::With(mut keys) = Outward::of_server(false, &schema) else { panic!("a program") };
        keys.sort();
        assert_eq!(keys, ["image_url", "pages", "targetUrl", "url"]);
        assert!(Outward::of_server(false, &json!({})).is_nothing());
        assert_eq!(Outward::of_server(true, &json!({})).of(&json!({})), Some(OutgoingData::Words));
    }
}
