//! Keeps issuers' key sets up to date: files by looking at them, URLs by fetching them. On a thread of its own, so that
//! no module holds it up.

use std::{path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use reqwest::{Client, StatusCode};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    client::{HttpClient, HttpClientError, chain},
    key_times::KeyTimes,
};
use crate::{
    config::JwksSource,
    identity::{KeySet, KeySetChange},
};

/// The most bytes of a key set. A choice: a hundred keys fit ten times.
const MAX_SET_BYTES: usize = 1 << 20;

/// How long a fetch may take; a guess that is generous.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The thread that keeps the sets; it ends when this is dropped.
#[derive(Debug)]
pub struct KeyKeeper {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why no keeper was started.
#[derive(Debug, thiserror::Error)]
pub enum KeyKeeperError {
    /// There is no client.
    #[error(transparent)]
    Client(#[from] HttpClientError),
    /// There is no thread, or no runtime on it.
    #[error("the thread for issuers' keys")]
    Thread(#[from] std::io::Error),
}

impl KeyKeeper {
    /// Begins to keep these sets. What is fetched is not waited for: until it is there, tokens by its keys are refused.
    ///
    /// # Errors
    ///
    /// [`KeyKeeperError`]; nothing is left running.
    pub fn start(sets: Vec<Arc<KeySet>>, http: &HttpClient, times: KeyTimes) -> Result<Self, KeyKeeperError> {
        if sets.is_empty() {
            return Ok(Self { stop: None, thread: None });
        }
        let client = http.build(|builder| builder.timeout(FETCH_TIMEOUT))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("tenon-keys".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut keeping = JoinSet::new();
                for set in sets {
                    keeping.spawn(keep(set, client.clone(), times));
                }
                let _ = stopped.await;
            });
            // A name that is being looked up has a thread of the runtime's; it is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for KeyKeeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn keep(set: Arc<KeySet>, client: Client, times: KeyTimes) {
    match &set.rules().source {
        JwksSource::File(file) => keep_file(&set, file, times).await,
        JwksSource::Url(url) => keep_url(&set, url, &client, times).await,
    }
}

/// Reads the file again and again: it is small, and its content says more than its times.
async fn keep_file(set: &KeySet, file: &Path, times: KeyTimes) {
    let (mut last, mut unused) = (None, Vec::new());
    loop {
        let content = std::fs::read(file).map_err(|error| error.to_string());
        if last.as_ref() != Some(&content) {
            match &content {
                Ok(bytes) => take(set, bytes, &mut unused).unwrap_or_else(|why| warn_file(set, file, &why)),
                Err(why) => warn_file(set, file, why),
            }
            last = Some(content);
        }
        tokio::time::sleep(times.look_every).await;
    }
}

fn warn_file(set: &KeySet, file: &Path, why: &str) {
    let file = file.display();
    tracing::warn!(issuer = set.issuer(), %file, "the keys are kept as they were: {why}");
}

async fn keep_url(set: &KeySet, url: &str, client: &Client, times: KeyTimes) {
    let refresh = set.rules().refresh;
    let (mut failures, mut unused) = (0, Vec::new());
    loop {
        let begun = Instant::now();
        let fetched = match fetch(client, url).await {
            Ok(content) => take(set, &content, &mut unused),
            Err(why) => Err(why),
        };
        let next = match fetched {
            Ok(()) => {
                failures = 0;
                begun + refresh
            }
            Err(why) => {
                failures += 1;
                let pause = times.after_failures(failures).min(refresh);
                tracing::warn!(
                    issuer = set.issuer(), url, failures, again_in = ?pause,
                    "the issuer's keys can't be fetched; those that are known stay in force: {why}"
                );
                begun + pause
            }
        };
        tokio::select! {
            () = sleep_until(next) => {}
            // Anybody can name keys that don't exist, so the issuer is not asked for each.
            () = set.missed() => sleep_until(next.min(begun + times.least_between)).await,
        }
    }
}

/// Takes new content, and tells what it changed; of entries that are not used, those that `told` does not have.
fn take(set: &KeySet, content: &[u8], told: &mut Vec<String>) -> Result<(), String> {
    let KeySetChange { added, removed, unused } = set.replace(content).map_err(|error| error.to_string())?;
    if !added.is_empty() || !removed.is_empty() {
        tracing::info!(issuer = set.issuer(), ?added, ?removed, "the issuer's keys have changed");
    }
    for reason in unused.iter().filter(|reason| !told.contains(reason)) {
        tracing::warn!(issuer = set.issuer(), "a key of the issuer is not used: {reason}");
    }
    *told = unused;
    Ok(())
}

async fn fetch(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let told = |error: reqwest::Error| chain(&error.without_url());
    let mut response = client.get(url).header("accept", "application/json").send().await.map_err(told)?;
    if response.status() != StatusCode::OK {
        return Err(format!("the answer is {}", response.status()));
    }
    let mut content = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(told)? {
        if content.len() + piece.len() > MAX_SET_BYTES {
            return Err(format!("the answer has more than {MAX_SET_BYTES} bytes"));
        }
        content.extend_from_slice(&piece);
    }
    Ok(content)
}
