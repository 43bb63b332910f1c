//! Where the fixtures are, and a loader with threads to run them on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use e2e::{Asked, FakeServices, ModuleFile, Workers, ask, request};
use tempfile::TempDir;
use tenon_host::loader::{Failure, Generation, Hook, Instance, Loader, LoaderSettings};
use tokio::runtime::Runtime;

/// How long anything may take here.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The folder that cargo builds into.
pub(crate) fn built() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.parent().and_then(Path::parent).expect("the folder above `deps`").to_owned()
}

/// A fixture's file.
pub(crate) fn fixture(name: &str) -> ModuleFile {
    ModuleFile::read(&built().join(format!("examples/lib{}.so", name.replace('-', "_"))))
}

/// A loader in a folder of its own, and threads.
pub(crate) struct Stage {
    pub(crate) loader: Loader,
    pub(crate) workers: Workers,
    pub(crate) services: Runtime,
    pub(crate) folder: TempDir,
}

/// An instance with its services.
pub(crate) struct Played {
    pub(crate) instance: Arc<Instance>,
    pub(crate) services: Arc<FakeServices>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut LoaderSettings)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut settings = LoaderSettings::below(folder.path());
        settings.sweep_wait = LONG;
        change(&mut settings);
        let loader = Loader::start(settings).expect("a loader");
        let workers = Workers::start(2, &loader);
        let services = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_park(tenon_host::loader::sweep_this_thread)
            .thread_keep_alive(Duration::from_millis(10))
            .build()
            .expect("a runtime");
        let handle = services.handle().clone();
        loader.add_sweeper(Arc::new(move || drop(handle.spawn(async { tenon_host::loader::sweep_this_thread() }))));
        Self { loader, workers, services, folder }
    }

    pub(crate) fn open(&self, name: &str) -> Arc<Generation> {
        fixture(name).open(&self.loader).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn try_make(&self, generation: &Arc<Generation>, settings: &str) -> Result<Played, Failure> {
        let services = Arc::new(FakeServices::new("t1", settings, self.services.handle()));
        let instance = self.workers.run(0, generation.initialize(Arc::clone(&services) as _))?;
        Ok(Played { instance: Arc::new(instance), services })
    }

    pub(crate) fn make(&self, generation: &Arc<Generation>) -> Played {
        self.try_make(generation, "{}").expect("an instance")
    }

    /// Opens a fixture and makes an instance, which alone holds the generation.
    pub(crate) fn play(&self, name: &str) -> Played {
        self.make(&self.open(name))
    }

    pub(crate) fn ask(&self, played: &Played, method: &str, path: &str, body: &str) -> Asked {
        let request = request(&played.instance, method, path, body);
        let instance = Arc::clone(&played.instance);
        self.workers.run(0, async move { ask(&instance, request, LONG).await })
    }

    /// Status and body of an answer as text.
    pub(crate) fn text(&self, played: &Played, method: &str, path: &str, body: &str) -> (u16, String) {
        match self.ask(played, method, path, body) {
            Asked::Reply(reply, Ok(body)) => (reply.status.as_u16(), text(&body)),
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    pub(crate) fn failure(&self, played: &Played, method: &str, path: &str, body: &str) -> Failure {
        match self.ask(played, method, path, body) {
            Asked::Failed(failure) => failure,
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    /// Waits until nothing is mapped, and looks whether all copies are gone.
    pub(crate) fn expect_empty(&self) {
        let empty = self.loader.wait_for(LONG, |report| report.mapped() == 0);
        assert!(empty, "still there: {:?}", self.loader.report());
        let staged: Vec<_> =
            std::fs::read_dir(self.folder.path().join("staging")).expect("the staging folder").collect();
        assert!(staged.is_empty(), "left behind: {staged:?}");
    }
}

impl Played {
    /// Ends the instance as a host does.
    pub(crate) fn end(self, stage: &Stage) -> Result<(), Failure> {
        self.services.stop();
        stage.workers.run(1, self.instance.run(Hook::Cleanup))
    }
}

pub(crate) fn text(body: &Bytes) -> String {
    String::from_utf8(body.to_vec()).expect("a body in UTF-8")
}
