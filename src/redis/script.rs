//! A server-side script, called by its hash and loaded if the server does not have it.
use super::hitch::Hitch;
use super::link::RedisLink;
use super::resp::{RedisCommand, RedisReply};

/// A script (EVALSHA of Redis's commands).
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    /// Its hash, once the server has loaded it.
    name: Option<String>,
}

impl Script {
    /// Creates a script from its Lua text.
    pub const fn new(text: &'static str) -> Self {
        Self { text, name: None }
    }

    /// Calls it. `rest`: the number of keys, the keys, the arguments.
    ///
    /// # Errors
    /// The server's error, or why it could not be called.
    pub async fn call(&mut self, link: &mut RedisLink, rest: &RedisCommand) -> Result<RedisReply, Hitch> {
        // at most twice: a server loses its scripts when it restarts, or when they are flushed
        for _ in 0..2 {
            let name = match &self.name {
                Some(name) => name.clone(),
                None => self.name.insert(load(link, self.text).await?).clone(),
            };
            let mut command = RedisCommand::of(&["EVALSHA", &name]);
            command.append(rest);
            match link.ask(&command).await? {
                RedisReply::Error(error) if error.starts_with("NOSCRIPT") => self.name = None,
                RedisReply::Error(error) => return Err(link.refusal(&error)),
                reply => return Ok(reply),
            }
        }
        Err(Hitch::unknown_answer())
    }
}

async fn load(link: &mut RedisLink, text: &str) -> Result<String, Hitch> {
    match link.ask(&RedisCommand::of(&["SCRIPT", "LOAD", text])).await? {
        RedisReply::Text(name) => Ok(name),
        RedisReply::Error(error) => Err(link.refusal(&error)),
        _ => Err(Hitch::unknown_answer()),
    }
}
