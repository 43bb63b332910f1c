//! Threads like the host's: several current-thread runtimes that run what they are given, run what unloading
//! modules left on them before they wait, and do so when asked.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use tenon_host::loader::{CallRequest, Failure, Instance, Loader, Reply, ReplyBody, sweep_this_thread};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Several runtimes, a thread each.
#[derive(Debug)]
pub struct Workers {
    queues: Vec<UnboundedSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts threads and has them swept by a loader's reaper.
    ///
    /// # Panics
    ///
    /// Where the system has no more threads.
    pub fn start(count: usize, loader: &Loader) -> Self {
        let mut workers = Self { queues: Vec::new(), threads: Vec::new() };
        for _ in 0..count {
            let (queue, mut jobs) = unbounded_channel::<Job>();
            let run = move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .on_thread_park(sweep_this_thread)
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    while let Some(job) = jobs.recv().await {
                        tokio::spawn(job);
                    }
                });
            };
            workers.threads.push(std::thread::spawn(run));
            workers.queues.push(queue);
        }
        let queues = workers.queues.iter().map(UnboundedSender::downgrade).collect::<Vec<_>>();
        loader.add_sweeper(Arc::new(move || {
            for queue in queues.iter().filter_map(|queue| queue.upgrade()) {
                let _ = queue.send(Box::pin(async { sweep_this_thread() }));
            }
        }));
        workers
    }

    /// Runs a future on one of the threads and waits for what it gives.
    ///
    /// # Panics
    ///
    /// Where it panics, or does not end within 30 seconds.
    pub fn run<T: Send + 'static>(&self, worker: usize, future: impl Future<Output = T> + Send + 'static) -> T {
        self.begin(worker, future).recv_timeout(Duration::from_secs(30)).expect("the future ends in time")
    }

    /// Begins a future on one of the threads.
    ///
    /// # Panics
    ///
    /// Where the thread has ended.
    pub fn begin<T: Send + 'static>(
        &self,
        worker: usize,
        future: impl Future<Output = T> + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (done, result) = mpsc::channel();
        let job = async move {
            let _ = done.send(future.await);
        };
        let queue = &self.queues[worker % self.queues.len()];
        queue.send(Box::pin(job)).unwrap_or_else(|_| panic!("worker {worker} has ended"));
        result
    }

    /// Ends the threads and waits for them.
    ///
    /// # Panics
    ///
    /// Where one of them panicked.
    pub fn end(self) {
        drop(self.queues);
        for thread in self.threads {
            thread.join().expect("no worker panics");
        }
    }
}

/// What a call came to.
#[derive(Debug)]
pub enum Asked {
    /// An answer, its body collected; a stream's is what came until it ended, failed or was cut.
    Reply(Reply, Result<Bytes, Failure>),
    /// A failure.
    Failed(Failure),
    /// It was dropped half-way.
    Cut,
}

/// A request as the gateway would pass it on. `path` is as in the manifest, with parameters as they are.
///
/// # Panics
///
/// Where the instance has no such route.
pub fn request(instance: &Instance, method: &str, path: &str, body: &str) -> CallRequest {
    let (plain, _) = path.split_once('?').unwrap_or((path, ""));
    let found = instance.generation().routes().iter().enumerate().find_map(|(at, route)| {
        let params = fits(&route.path, plain)?;
        (route.method == method).then_some((at, params))
    });
    let (at, params) = found.unwrap_or_else(|| panic!("{} has no {method} {path}", instance.generation().name()));
    let built = http::Request::builder().method(method).uri(path).header("x-one", "1").body(()).expect("a request");
    CallRequest {
        route: u32::try_from(at).expect("few routes"),
        parts: built.into_parts().0,
        body: Bytes::copy_from_slice(body.as_bytes()),
        params,
        request_id: Arc::from("0198a0b0-0000-7000-8000-000000000001"),
        subject: Some(Arc::from("anna")),
        roles: Arc::from([Arc::from("Admin"), Arc::from("Member")]),
        deadline_millis: 4_000_000_000_000,
        depth: 0,
    }
}

/// The parameters of a path where it fits a template.
fn fits(template: &str, path: &str) -> Option<Vec<(Arc<str>, String)>> {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let mut params = Vec::new();
    for (expected, given) in template.iter().zip(&path) {
        match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => params.push((Arc::from(name), (*given).to_owned())),
            None if expected == given => {}
            None => return None,
        }
    }
    (template.len() == path.len()).then_some(params)
}

/// Calls an instance and collects the answer; drops the call, or the rest of a stream, after a time.
pub async fn ask(instance: &Arc<Instance>, request: CallRequest, cut: Duration) -> Asked {
    let Ok(outcome) = tokio::time::timeout(cut, instance.call(request)).await else { return Asked::Cut };
    match outcome {
        Err(failure) => Asked::Failed(failure),
        Ok(mut reply) => {
            let body = match std::mem::replace(&mut reply.body, ReplyBody::Bytes(Bytes::new())) {
                ReplyBody::Bytes(bytes) => Ok(bytes),
                ReplyBody::Stream(mut stream) => {
                    let mut all = Vec::new();
                    let collected = tokio::time::timeout(cut, async {
                        while let Some(piece) = stream.next().await {
                            all.extend_from_slice(&piece?);
                        }
                        Ok(())
                    });
                    match collected.await {
                        Ok(Err(failure)) => Err(failure),
                        Ok(Ok(())) | Err(_) => Ok(Bytes::from(all)),
                    }
                }
            };
            Asked::Reply(reply, body)
        }
    }
}
