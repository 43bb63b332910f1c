//! A tenant's settings: which server, by which way, in whose name. What is missing or wrong is a reason for waiting, told
//! on each message.

use std::{net::IpAddr, time::Duration};

use lettre::message::Mailbox;
use module_api::prelude::*;
use serde::Deserialize;

/// How long one try may take where nothing is set. Below the deadline that a host gives a wake-up (30 s), with room for
/// writing down what came of it.
const TIMEOUT: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_secs(60);
/// With the usual pauses: a message is given up after a day and three quarters. A choice.
const ATTEMPTS: u32 = 10;

/// As they are stored; the schema in `module.toml` has limits and meaning.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[derive(Default)]
pub(crate) struct MailSettings {
    server: Option<String>,
    port: Option<u16>,
    security: Security,
    ca: Option<String>,
    from: Option<String>,
    username: Option<String>,
    password: Option<String>,
    hello_name: Option<String>,
    timeout_seconds: Option<u64>,
    retry_seconds: Option<f64>,
    attempts: Option<u32>,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// After the greeting; never without.
    #[default]
    Starttls,
    /// From the first byte.
    Tls,
    /// Not at all.
    None,
}

/// A server with all that is needed to hand mail to it. No `Debug`: it holds the password.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) ca: Option<String>,
    pub(crate) from: Mailbox,
    pub(crate) login: Option<(String, String)>,
    pub(crate) hello_name: Option<String>,
    pub(crate) timeout: Duration,
}

impl MailSettings {
    /// What there is now.
    ///
    /// # Errors
    ///
    /// Where they are not of the schema's shape.
    pub(crate) fn of(tenant: &Tenant) -> Result<Self> {
        tenant.settings()
    }

    /// The first pause between two tries.
    pub(crate) fn retry(&self) -> Duration {
        self.retry_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(RETRY)
    }

    /// How many tries a message gets.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.unwrap_or(ATTEMPTS).max(1)
    }

    /// The server.
    ///
    /// # Errors
    ///
    /// Why mail has to wait, in words for the tenant; never with a value of the settings.
    pub(crate) fn server(self) -> Result<Server, String> {
        let (host, from) = match (self.server, self.from) {
            (Some(host), Some(from)) => (host, from),
            (None, None) => return Err("there are no settings: `server` and `from` are missing".to_owned()),
            (None, Some(_)) => return Err("the settings lack `server`".to_owned()),
            (Some(_), None) => return Err("the settings lack `from`".to_owned()),
        };
        let from = from.parse().map_err(|error| format!("`from` in the settings is no address: {error}"))?;
        let login = match (self.username, self.password) {
            (Some(username), Some(password)) => Some((username, password)),
            (None, None) => None,
            // The schema asks for both: the host could not find what the reference stands for.
            _ => return Err("`password` in the settings refers to a secret that can't be read".to_owned()),
        };
        if login.is_some() && self.security == Security::None && !is_this_machine(&host) {
            return Err("`username` and `password` are sent over an encrypted connection only: \
                        set `security` to `starttls` or `tls`"
                .to_owned());
        }
        let port = self.port.unwrap_or(match self.security {
            Security::Starttls => 587,
            Security::Tls => 465,
            Security::None => 25,
        });
        let timeout = self.timeout_seconds.map_or(TIMEOUT, Duration::from_secs).min(TIMEOUT);
        let (security, ca, hello_name) = (self.security, self.ca, self.hello_name);
        Ok(Server { host, port, security, ca, from, login, hello_name, timeout })
    }
}

/// Whether what is sent there stays on this machine.
fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn server(settings: Value) -> Result<Server, String> {
        from_value::<MailSettings>(settings).unwrap().server()
    }

    fn refused(settings: Value) -> String {
        server(settings).err().unwrap()
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(refused(json!({})), "there are no settings: `server` and `from` are missing");
        assert_eq!(refused(json!({"from": "a@b.c"})), "the settings lack `server`");
        assert_eq!(refused(json!({"server": "mail"})), "the settings lack `from`");
        let why = refused(json!({"server": "mail", "from": "a"}));
        assert!(why.starts_with("`from` in the settings is no address"), "{why}");
    }

    #[test]
    fn a_password_is_needed_beside_a_name_and_never_sent_in_plain_text_over_a_network() {
        let with = |server: &str, security: &str, password: Option<&str>| json!({"server": server, "from": "a@b.c", "security": security, "username": "u", "password": password});
        assert!(refused(with("mail", "tls", None)).contains("can't be read"));
        assert!(refused(with("mail", "none", Some("hunter2"))).contains("encrypted connection only"));
        assert!(refused(with("192.0.2.1", "none", Some("hunter2"))).contains("encrypted connection only"));
        for (host, security) in [("mail", "tls"), ("mail", "starttls"), ("127.0.0.1", "none"), ("localhost", "none")] {
            assert!(server(with(host, security, Some("hunter2"))).is_ok(), "{host} {security}");
        }
    }

    #[test]
    fn ports_follow_from_security_and_it_is_encrypted_unless_told_otherwise() {
        let port = |settings: Value| server(settings).map(|server| server.port);
        assert_eq!(port(json!({"server": "m", "from": "a@b.c"})), Ok(587));
        assert_eq!(port(json!({"server": "m", "from": "a@b.c", "security": "tls"})), Ok(465));
        assert_eq!(port(json!({"server": "m", "from": "a@b.c", "security": "none"})), Ok(25));
        assert_eq!(port(json!({"server": "m", "from": "a@b.c", "port": 2525})), Ok(2525));
    }
}
