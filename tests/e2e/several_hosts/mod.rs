//! Three host processes on one store and one shared cache: what one of them changes, all of them see; each of the
//! backends, and a host, may go and come back.

mod cache;
mod outages;
mod writes;

use std::path::Path;

use mongodb::bson::Document;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Answer, Ask, Host, MongoServer, RedisServer, Setup, until};

/// The module that the hosts have: without collections, so that a tenant can begin to use it while the store is away,
/// and with some, in another.
const MODULES: &[&str] = &["asks", "answers"];

const NOTES: &str = "/fixtures/answers/notes";

struct Site {
    hosts: Vec<Host>,
    redis: RedisServer,
    mongo: MongoServer,
    _folder: TempDir,
}

impl Site {
    /// Three hosts that are ready, and tenant `acme`, which all of them know. `None` where the servers are not to be had.
    fn start(what: &str) -> Option<Self> {
        Self::with(what, "")
    }

    /// With these lines at the end of each configuration.
    fn with(what: &str, lines: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let sub = |name: &str| -> std::path::PathBuf {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let mongo = MongoServer::start(what, &sub("mongo"))?;
        let redis = RedisServer::start(what, &sub("redis"))?;
        let config = format!(
            "[store]\nkind = \"mongodb\"\nuri = \"{}\"\n[cache]\nuri = \"{}\"\n{lines}",
            mongo.uri("tenon"),
            redis.url()
        );
        let hosts: Vec<Host> = (0..3).map(|_| Setup::with(MODULES).config(&config).start()).collect();
        let site = Self { hosts, redis, mongo, _folder: folder };
        site.hosts[0].tenant("acme", MODULES);
        for host in &site.hosts {
            until("a host serves the tenant", || {
                flag(host, "acme", "x").is_ok() && status(host)["store"]["available"] == true
            });
            until("the shared cache is there", || status(host)["store"]["tiers"]["shared"]["available"] == true);
        }
        Some(site)
    }

    /// Waits until every host says this of a flag.
    fn until_all_say(&self, tenant: &str, name: &str, value: &Value) {
        for host in &self.hosts {
            until("a change is everywhere", || flag(host, tenant, name).is_ok_and(|found| found == *value));
        }
    }

    /// The tenants' collection, as another program has it.
    fn foreign(&self) -> Foreign {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = runtime.block_on(mongodb::Client::with_uri_str(self.mongo.uri("tenon"))).unwrap();
        Foreign { tenants: client.database("tenon").collection("tenants"), runtime }
    }
}

/// Another program on the database.
struct Foreign {
    tenants: mongodb::Collection<Document>,
    runtime: tokio::runtime::Runtime,
}

impl Foreign {
    fn update(&self, tenant: &str, change: Document) {
        let query = mongodb::bson::doc! { "tenantId": tenant };
        let done = self.runtime.block_on(self.tenants.update_one(query, change).into_future()).unwrap();
        assert_eq!(done.matched_count, 1);
    }

    fn delete(&self, tenant: &str) {
        let query = mongodb::bson::doc! { "tenantId": tenant };
        let done = self.runtime.block_on(self.tenants.delete_one(query).into_future()).unwrap();
        assert_eq!(done.deleted_count, 1);
    }

    fn find(&self, tenant: &str) -> Document {
        let query = mongodb::bson::doc! { "tenantId": tenant };
        self.runtime.block_on(self.tenants.find_one(query).into_future()).unwrap().unwrap()
    }
}

/// The value of a flag as clients get it; or what they get instead.
fn flag(host: &Host, tenant: &str, name: &str) -> Result<Value, Box<Answer>> {
    let answer = ask_flag(host, tenant, name).send();
    match answer.status {
        200 => Ok(answer.json()["value"].clone()),
        404 if answer.json()["errorCode"] == "FLAG_NOT_FOUND" => Ok(Value::Null),
        _ => Err(Box::new(answer)),
    }
}

fn ask_flag(host: &Host, tenant: &str, name: &str) -> Ask {
    let context = json!({ "context": { "targetingKey": "u" } });
    host.of(tenant, "POST", &format!("/ofrep/v1/evaluate/flags/{name}")).json(&context)
}

fn set(host: &Host, tenant: &str, assignment: &str) -> i32 {
    host.tenon(&["flags", "set", tenant, assignment]).code
}

fn status(host: &Host) -> Value {
    host.ask_operators("GET", "/admin/v1/status").token(&host.token()).send().json()
}

/// Starts a host on the folders of one that has ended, with the same configuration.
fn again(setup: &Setup) -> Host {
    setup.clone().start()
}

fn is_below(folder: &Path, file: &str) -> bool {
    folder.join(file).is_file()
}
