//! The file of flag definitions: read at the start, looked at again and again, and taken over when it has changed. On a
//! thread of its own, as a file system may be slow.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use crate::{
    admin::DefinitionsFile,
    flags::{DefinitionErrors, Definitions, MAX_FILE_BYTES},
    tenancy::Tenancy,
};

/// How often the file is looked at. It is small, and its content says more than its times.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file's content, or why there is none.
type Content = Result<Vec<u8>, String>;

fn content(file: &Path) -> Content {
    let read = || {
        if !std::fs::metadata(file)?.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        let mut content = Vec::new();
        File::open(file)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut content)?;
        Ok(content)
    };
    read().map_err(|error| error.to_string())
}

fn parse(content: &Content) -> Result<Definitions, DefinitionErrors> {
    content.as_ref().map_err(DefinitionErrors::unreadable).and_then(|content| Definitions::parse(content))
}

/// A content that was understood, which is UTF-8 then.
fn text(content: &Content) -> Arc<str> {
    String::from_utf8_lossy(content.as_deref().unwrap_or_default()).into()
}

/// What was read at the start.
pub(super) struct FirstLook {
    file: PathBuf,
    content: Content,
    definitions: Definitions,
}

impl FirstLook {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it: a host does not start with flags that nobody meant.
    pub(super) fn at(file: &Path) -> Result<Self, DefinitionErrors> {
        let content = content(file);
        let definitions = parse(&content)?;
        Ok(Self { file: file.to_owned(), content, definitions })
    }
}

/// The thread that looks; it ends when this is dropped.
pub(super) struct DefinitionsKeeper {
    /// What operators are told of the file.
    news: Arc<DefinitionsFile>,
    /// Gone: the thread ends with its next look. It is not waited for: the file may be on a disk that hangs.
    _stop: Sender<()>,
}

impl DefinitionsKeeper {
    /// Puts what was read in force and begins to look.
    pub(super) fn start(first: FirstLook, tenancy: Tenancy) -> std::io::Result<Self> {
        let FirstLook { file, content: mut last, definitions } = first;
        tenancy.define_blocking(Arc::new(definitions));
        let news = Arc::new(DefinitionsFile::new(file.clone(), text(&last)));
        let told = Arc::clone(&news);
        let (stop, stopped) = channel::<()>();
        std::thread::Builder::new().name("tenon-flags".to_owned()).spawn(move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = content(&file);
                if now != last {
                    take(&file, &now, &tenancy, &told);
                    last = now;
                }
            }
        })?;
        Ok(Self { news, _stop: stop })
    }

    pub(super) fn news(&self) -> Arc<DefinitionsFile> {
        Arc::clone(&self.news)
    }
}

fn take(file: &Path, content: &Content, tenancy: &Tenancy, told: &DefinitionsFile) {
    let file = file.display();
    match parse(content) {
        Ok(definitions) => {
            tracing::info!(%file, revision = definitions.revision(), flags = definitions.len(), "flags are defined anew");
            tenancy.define_blocking(Arc::new(definitions));
            told.is_good(text(content));
        }
        Err(errors) => {
            for problem in errors.problems() {
                tracing::warn!(%file, "flags stay defined as they were: {problem}");
            }
            told.is_bad(errors.problems().iter().map(ToString::to_string).collect());
        }
    }
}
