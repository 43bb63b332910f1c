//! The way to the server: the driver's settings, and what is found out and made at the first call that gets through.

use std::{sync::Arc, time::Duration};

use bson::{Document, doc};
use mongodb::{
    Client, Collection, Database,
    options::{Acknowledgment, ClientOptions, ConnectionString, DatabaseOptions, ReadConcern, WriteConcern},
};
use tokio::sync::OnceCell;

use super::{
    MongoSettings, StoreError,
    events::Mended,
    failure::unavailable,
    schema::{self, NAMES, Name},
};

/// How many connections there may be where the URI does not say. The driver's own 10 would be a queue for a busy host.
const MAX_CONNECTIONS: u32 = 32;

/// A client, and the database once it has answered.
pub(super) struct Link {
    pub(super) settings: MongoSettings,
    /// Its name.
    pub(super) database: String,
    /// For other clients.
    pub(super) options: ClientOptions,
    client: Client,
    server: OnceCell<Server>,
}

/// The database, ready: its indexes are there.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) database: Database,
    /// Whether several writes can be one commit: not on a standalone server.
    pub(super) has_transactions: bool,
    collections: Arc<[Collection<Document>; NAMES.len()]>,
    /// How long it takes to claim deliveries at most; what is due besides can be claimed by the next call. A part of the
    /// time in which the caller wants an answer, without which all that was claimed would have to run out.
    pub(super) claiming: Duration,
    pub(super) mended: Arc<Mended>,
}

impl Link {
    pub(super) async fn new(uri: &str, settings: MongoSettings) -> Result<Self, StoreError> {
        let options = options(uri, settings).await?;
        let database = options.default_database.clone().ok_or_else(no_database)?;
        let client = Client::with_options(options.clone());
        let client = client.map_err(unavailable)?;
        Ok(Self { settings, database, options, client, server: OnceCell::new() })
    }

    /// The database, made ready by whoever is first.
    pub(super) async fn server(&self) -> Result<Server, StoreError> {
        let made = self.server.get_or_try_init(|| async {
            let server = self.find_out().await?;
            schema::make_indexes(&server).await?;
            Ok::<_, StoreError>(server)
        });
        made.await.cloned()
    }

    async fn find_out(&self) -> Result<Server, StoreError> {
        let hello = self.client.database(&self.database).run_command(doc! { "hello": 1 }).await?;
        let is_router = hello.get_str("msg").is_ok_and(|message| message == "isdbgrid");
        let has_transactions = hello.contains_key("setName") || is_router;
        // What a majority has can't be taken back by an election, so a revision that was read once never goes back.
        let read = if has_transactions { ReadConcern::majority() } else { ReadConcern::local() };
        let options = DatabaseOptions::builder().read_concern(read).write_concern(durable()).build();
        let database = self.client.database_with_options(&self.database, options);
        let collections = Arc::new(NAMES.map(|name| database.collection(name)));
        let claiming = self.settings.answer_within.mul_f32(0.4);
        Ok(Server {
            client: self.client.clone(),
            database,
            has_transactions,
            collections,
            claiming,
            mended: Arc::default(),
        })
    }
}

impl Server {
    /// Whether it answers.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.database.run_command(doc! { "ping": 1 }).await.map(drop)?)
    }

    pub(super) fn collection(&self, name: Name) -> &Collection<Document> {
        &self.collections[name.0]
    }
}

/// On the journal of a majority.
pub(super) fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}

fn no_database() -> StoreError {
    StoreError::Unavailable("the URI names no database, as in `mongodb://localhost:27017/tenon`".into())
}

/// Whether this is a URI that names a database.
pub(super) fn check(uri: &str) -> Result<(), StoreError> {
    let parsed = ConnectionString::parse(uri);
    let parsed = parsed.map_err(unavailable)?;
    parsed.default_database.map(drop).ok_or_else(no_database)
}

/// The driver's settings for a URI.
async fn options(uri: &str, settings: MongoSettings) -> Result<ClientOptions, StoreError> {
    let parsed = ClientOptions::parse(uri).await;
    let mut options = parsed.map_err(unavailable)?;
    // The driver's own is 30 seconds. A little less than the answer takes, so that it tells what the driver says.
    let selection = settings.answer_within.mul_f32(0.85);
    options.server_selection_timeout = Some(selection);
    options.connect_timeout = Some(selection);
    options.max_pool_size.get_or_insert(MAX_CONNECTIONS);
    options.app_name.get_or_insert_with(|| "tenon".to_owned());
    options.write_concern = Some(durable());
    options.read_concern = None;
    options.selection_criteria = None;
    Ok(options)
}
