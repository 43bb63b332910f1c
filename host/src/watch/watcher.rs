//! Watches the folder on a thread of its own.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use notify::{Config, Event, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};

use super::settle::{Said, Settle, said};

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// The file system's own.
    #[default]
    Events,
    /// Looking again and again, for file systems without events.
    Poll,
}

/// What to watch, and how.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// The plugins folder. It need not exist yet, and may be replaced by another of its name.
    pub folder: PathBuf,
    /// Where events come from.
    pub mode: WatchMode,
    /// How long a file that nobody closed must be unchanged to count as whole.
    pub settle: Duration,
    /// How often to look with [`WatchMode::Poll`], and for a folder that came, went or was replaced.
    pub look_every: Duration,
}

enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// A running watch; dropping it ends the thread.
#[derive(Debug)]
pub struct Watch {
    messages: Sender<Message>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    /// Begins to watch. `on_change` is called on the watch's thread, never twice at a time, and may block.
    ///
    /// # Errors
    ///
    /// Where the thread can't be made. A folder that can't be watched is looked at instead, and logged.
    pub fn start(settings: WatchSettings, on_change: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let mut settings = settings;
        // Events name files by absolute paths.
        settings.folder = std::path::absolute(&settings.folder)?;
        let (messages, received) = mpsc::channel();
        let to_self = messages.clone();
        let thread = std::thread::Builder::new()
            .name("tenon-watch".to_owned())
            .spawn(move || Loop { settings, on_change, to_self, watched: None }.run(&received))?;
        Ok(Self { messages, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watch's thread panicked");
        }
    }
}

/// A folder that is being watched, by identity and not by name.
struct Watched {
    identity: Option<(u64, u64)>,
    /// Ends with this value.
    _watcher: Box<dyn Watcher + Send>,
}

struct Loop<F> {
    settings: WatchSettings,
    on_change: F,
    to_self: Sender<Message>,
    watched: Option<Watched>,
}

impl<F: FnMut() + Send> Loop<F> {
    fn run(mut self, received: &Receiver<Message>) {
        let mut settle = Settle::new(self.settings.settle);
        // Read once at the start: a file may have come after the folder was read and before it was watched.
        self.look(&mut settle);
        loop {
            let now = Instant::now();
            let wait = settle.wait(now).unwrap_or(self.settings.look_every).min(self.settings.look_every);
            match received.recv_timeout(wait) {
                Ok(first) => {
                    // All that has come by now, so that a hundred new files are read once and not a hundred times.
                    for message in std::iter::once(first).chain(std::iter::from_fn(|| received.try_recv().ok())) {
                        match message {
                            Message::Event(event) => self.take(event, &mut settle),
                            Message::Stop => return,
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.look(&mut settle),
            }
            if settle.take_due(Instant::now()) {
                (self.on_change)();
            }
        }
    }

    fn take(&mut self, event: notify::Result<Event>, settle: &mut Settle) {
        match event {
            Ok(event) => {
                let said = said(&event);
                if said == Said::Whole && event.paths.contains(&self.settings.folder) {
                    // The folder itself went. The next one of its name may well get its inode.
                    self.watched = None;
                    self.watch_again();
                }
                settle.note(said, Instant::now());
            }
            Err(error) => {
                // Events may have been lost: the folder itself tells.
                tracing::warn!(%error, "the plugins folder's events are not complete");
                settle.note(Said::Changing, Instant::now());
            }
        }
    }

    /// Looks whether another folder has the name by now, or one at all.
    fn look(&mut self, settle: &mut Settle) {
        let watched = self.watched.as_ref().and_then(|watched| watched.identity);
        let found = identity(&self.settings.folder);
        if watched != found {
            self.watch_again();
            settle.note(Said::Whole, Instant::now());
        }
    }

    /// Watches whatever folder has the name now.
    fn watch_again(&mut self) {
        self.watched = None;
        let identity = identity(&self.settings.folder);
        if identity.is_none() {
            return;
        }
        let made = match self.settings.mode {
            WatchMode::Events => self.by_events().or_else(|error| {
                tracing::warn!(%error, "the plugins folder has no events; it is looked at instead");
                self.by_looking()
            }),
            WatchMode::Poll => self.by_looking(),
        };
        match made {
            Ok(watcher) => self.watched = Some(Watched { identity, _watcher: watcher }),
            Err(error) => tracing::error!(%error, "the plugins folder can't be watched"),
        }
    }

    fn by_events(&self) -> notify::Result<Box<dyn Watcher + Send>> {
        let to_self = self.to_self.clone();
        let mut watcher = RecommendedWatcher::new(forward(to_self), Config::default())?;
        watcher.watch(&self.settings.folder, RecursiveMode::NonRecursive)?;
        Ok(Box::new(watcher))
    }

    fn by_looking(&self) -> notify::Result<Box<dyn Watcher + Send>> {
        let config = Config::default().with_poll_interval(self.settings.look_every);
        let mut watcher = PollWatcher::new(forward(self.to_self.clone()), config)?;
        watcher.watch(&self.settings.folder, RecursiveMode::NonRecursive)?;
        Ok(Box::new(watcher))
    }
}

fn forward(to: Sender<Message>) -> impl FnMut(notify::Result<Event>) + Send + 'static {
    move |event| {
        let _ = to.send(Message::Event(event));
    }
}

/// Device and inode; `None` where there is no such folder.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    let found = std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((found.dev(), found.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = found;
        Some((0, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a watch of a folder and gives what counts its changes.
    fn watch(folder: &Path) -> (Watch, Receiver<()>) {
        let (tell, told) = mpsc::channel();
        let settings = WatchSettings {
            folder: folder.to_owned(),
            mode: WatchMode::Events,
            settle: Duration::from_millis(20),
            look_every: Duration::from_millis(50),
        };
        let watch = Watch::start(settings, move || {
            let _ = tell.send(());
        })
        .unwrap();
        (watch, told)
    }

    /// Waits until a change is told and for as long as more follow.
    fn settled(told: &Receiver<()>) {
        told.recv_timeout(Duration::from_secs(20)).unwrap();
        while told.recv_timeout(Duration::from_millis(300)).is_ok() {}
    }

    #[test]
    fn a_folder_that_is_made_anew_is_watched_whatever_its_inode() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("plugins");
        std::fs::create_dir(&folder).unwrap();
        let (_watch, told) = watch(&folder);
        // The first reading says that it watches.
        settled(&told);
        for round in 0..5 {
            std::fs::remove_dir_all(&folder).unwrap();
            std::fs::create_dir(&folder).unwrap();
            settled(&told);
            std::fs::write(folder.join("a.so"), [round]).unwrap();
            settled(&told);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_tells_nothing_until_it_comes() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("plugins");
        let (_watch, told) = watch(&folder);
        assert!(told.recv_timeout(Duration::from_millis(400)).is_err());
        std::fs::create_dir(&folder).unwrap();
        settled(&told);
    }
}
