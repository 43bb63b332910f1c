//! Three hosts on one MongoDB and one Redis, each a process of its own, and the requests that they are sent.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    rc::Rc,
    time::{Duration, Instant},
};

use e2e::Server;
use serde_json::{Value, json};

use crate::{
    failure::{Doing, Failure, Result},
    host::{HostProcess, any_port},
    interrupt,
    line::{self, body},
    load,
    tenants::built_beside,
};

/// The tenant that is written and asked for.
const TENANT: &str = "acme";

/// The flag that is written and asked for.
const FLAG: &str = "x";

/// How many hosts there are.
pub(super) const HOSTS: usize = 3;

/// How long anything may take that must come; a guess that is generous for a loaded machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The hosts end before their backends.
pub(super) struct Site {
    pub(super) hosts: Vec<Host>,
    pub(super) redis: Server,
    pub(super) mongo: Server,
}

/// One of the hosts.
pub(super) struct Host {
    process: HostProcess,
    folder: PathBuf,
    token: String,
}

/// What a request asks a host for, once it is known where that is.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Where tenants ask.
    pub(super) tenants: SocketAddr,
    /// Where operators ask.
    pub(super) operators: SocketAddr,
    token: String,
}

impl Site {
    /// Starts all of it below a folder, makes the tenant, and waits until each host serves it.
    pub(super) fn start(folder: &Path, [mongo, redis]: &[String; 2]) -> Result<Self> {
        let mongo = Server::start(mongo, &folder.join("mongo")).doing("start MongoDB")?;
        let redis = Server::start(redis, &folder.join("redis")).doing("start Redis")?;
        let config = format!(
            "[store]\nkind = \"mongodb\"\nuri = \"mongodb://127.0.0.1:{}/tenon\"\n[cache]\nuri = \"redis://127.0.0.1:{}/\"\n",
            mongo.port(),
            redis.port()
        );
        let hosts = ["a", "b", "c"].map(|name| Host::start(&folder.join(name), &config));
        let site = Self { hosts: hosts.into_iter().collect::<Result<_>>()?, redis, mongo };
        let first = site.target(0);
        first.operate("POST", "/tenants", &json!({ "id": TENANT }), 201)?;
        first.operate("PUT", &format!("/tenants/{TENANT}/modules/keeper"), &json!({}), 200)?;
        first.operate("PATCH", &format!("/tenants/{TENANT}/flags"), &json!({ FLAG: 0 }), 200)?;
        for target in site.targets() {
            until("a host serves the tenant", || Ok(target.tries(&target.mark()) == 200))?;
        }
        site.until_the_cache_is_there()?;
        Ok(site)
    }

    /// Where a host is.
    pub(super) fn target(&self, host: usize) -> Target {
        let Host { process, token, .. } = &self.hosts[host];
        Target { tenants: process.tenants, operators: process.operators, token: token.clone() }
    }

    /// Where all of them are.
    pub(super) fn targets(&self) -> Vec<Target> {
        (0..HOSTS).map(|host| self.target(host)).collect()
    }

    /// Waits until all hosts have reached the cache.
    pub(super) fn until_the_cache_is_there(&self) -> Result<()> {
        for target in self.targets() {
            let status = target.operators_request("GET", "/status", None);
            until("a host reaches the cache", || {
                let Some(answer) = ask(target.operators, &status) else { return Ok(false) };
                Ok(line::json(&answer)["store"]["tiers"]["shared"]["available"] == true)
            })?;
        }
        Ok(())
    }
}

/// How to start MongoDB and Redis, from the variables that say it.
pub(super) fn server_words() -> Result<[String; 2]> {
    let words = |variable: &str| {
        let hint = "hint: `cargo xtask bench hosts` brings one";
        std::env::var(variable)
            .map_err(|_| Failure::new(format!("{variable} does not say how to start a server\n{hint}")))
    };
    Ok([words("TENON_TEST_MONGODB_SERVER")?, words("TENON_TEST_REDIS_SERVER")?])
}

impl Host {
    fn start(folder: &Path, config: &str) -> Result<Self> {
        let plugins = folder.join("plugins");
        fs::create_dir_all(&plugins).doing(format_args!("make folder `{}`", plugins.display()))?;
        let library = built_beside("examples/libkeeper.so")?;
        fs::copy(&library, plugins.join("keeper.so")).doing(format_args!("copy `{}`", library.display()))?;
        fs::write(folder.join("tenon.toml"), config).doing("write a configuration")?;
        let process = spawn(folder, [any_port(), any_port()])?;
        let token = fs::read_to_string(folder.join("data/admin.token")).doing("read the operators' token")?;
        Ok(Self { process, folder: folder.to_owned(), token: token.trim().to_owned() })
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same addresses, on the same folders.
    pub(super) fn restart(&mut self) -> Result<()> {
        let addresses = [self.process.tenants, self.process.operators];
        self.process = spawn(&self.folder, addresses)?;
        Ok(())
    }
}

fn spawn(folder: &Path, addresses: [SocketAddr; 2]) -> Result<HostProcess> {
    let log = File::options().create(true).append(true).open(folder.join("host.log")).doing("make a log")?;
    let mut command = HostProcess::command(folder, addresses)?;
    // Developers say by a header who they are.
    command.arg("--dev").arg("--config").arg(folder.join("tenon.toml")).stderr(Stdio::from(log));
    let mut process = HostProcess::spawn(command)?;
    process.until_it_listens()?;
    Ok(process)
}

impl Target {
    fn request(&self, method: &str, path: &str, value: Option<&Value>) -> Vec<u8> {
        let text = value.map_or_else(String::new, Value::to_string);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nX-Tenant-Id: {TENANT}\r\nX-Dev-User: ada\r\nX-Dev-Roles: Admin\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.tenants,
            text.len()
        );
        (head + &text).into_bytes()
    }

    /// A request of operators, below `/admin/v1`.
    fn operators_request(&self, method: &str, path: &str, value: Option<&Value>) -> Vec<u8> {
        let text = value.map_or_else(String::new, Value::to_string);
        let head = format!(
            "{method} /admin/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.operators,
            self.token,
            text.len()
        );
        (head + &text).into_bytes()
    }

    /// For the guarded route, which touches no document.
    pub(super) fn mark(&self) -> Vec<u8> {
        self.request("GET", "/bench/keeper/mark", None)
    }

    /// For the value of the flag.
    pub(super) fn flag(&self) -> Vec<u8> {
        let context = json!({ "context": { "targetingKey": "u" } });
        self.request("POST", &format!("/ofrep/v1/evaluate/flags/{FLAG}"), Some(&context))
    }

    /// Sets the flag; of operators.
    pub(super) fn set_flag(&self, value: u64) -> Vec<u8> {
        self.operators_request("PATCH", &format!("/tenants/{TENANT}/flags"), Some(&json!({ FLAG: value })))
    }

    /// Writes a document.
    pub(super) fn write(&self, id: &str, number: u64) -> Vec<u8> {
        self.request("POST", &format!("/bench/keeper/entries/{id}"), Some(&json!({ "number": number })))
    }

    /// Reads a document.
    pub(super) fn read(&self, id: &str) -> Vec<u8> {
        self.request("GET", &format!("/bench/keeper/entries/{id}"), None)
    }

    /// Makes a tenant; of operators.
    pub(super) fn create(&self, tenant: &str) -> Vec<u8> {
        self.operators_request("POST", "/tenants", Some(&json!({ "id": tenant })))
    }

    /// The tenants behind a cursor, as the store has them; of operators.
    pub(super) fn list(&self, cursor: Option<&str>) -> Vec<u8> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        self.operators_request("GET", &format!("/tenants?limit=200{cursor}"), None)
    }

    /// The status of a tenant's request; 0 where there is no answer.
    pub(super) fn tries(&self, request: &[u8]) -> u16 {
        ask(self.tenants, request).map_or(0, |answer| line::status(&answer))
    }

    fn operate(&self, method: &str, path: &str, value: &Value, status: u16) -> Result<()> {
        let request = self.operators_request(method, path, Some(value));
        let answer = ask(self.operators, &request).unwrap_or_default();
        if line::status(&answer) == status {
            Ok(())
        } else {
            Err(Failure::new(format!("{method} {path}: expected {status}, found: {}", line::shown(&answer))))
        }
    }
}

/// The value of the flag in an answer.
pub(super) fn value(answer: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(body(answer)).ok()?["value"].as_u64()
}

/// The answer to a request on a connection of its own; `None` where there is none.
pub(super) fn ask(address: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
    load::answers(address, Rc::from([request.to_vec()])).ok()?.pop()
}

/// Waits until a condition holds, and fails where it does not in time.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + LONG;
    while !holds()? {
        interrupt::check()?;
        if Instant::now() > deadline {
            return Err(Failure::new(format!("waited {LONG:?} in vain: {what}")));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Runs something on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("make a runtime")?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, work))
}

/// What a client got that should be there.
pub(super) fn missing(answer: &io::Result<Vec<u8>>) -> String {
    match answer {
        Ok(answer) => line::shown(answer),
        Err(error) => error.to_string(),
    }
}
