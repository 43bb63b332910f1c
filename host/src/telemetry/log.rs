//! Sets up the process's log.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter,
    fmt::{self, MakeWriter},
    util::{SubscriberInitExt, TryInitError},
};

type AnySubscriber = Box<dyn Subscriber + Send + Sync>;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// For people; coloured on a terminal, unless `NO_COLOR` is set and not empty.
    Text,
    /// One JSON object a line, with the fields of the event at its top level.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is malformed.
    #[error("`{filter}` is no log filter")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a subscriber already, as an embedding application may.
    #[error("the process has a log already")]
    Started(#[source] Box<TryInitError>),
}

/// Starts the log of this process, on stderr. Done once, by a binary and not by the library: an application
/// that embeds the host keeps its own subscriber.
///
/// `filter` has directives such as `info,tenon_host=debug`.
///
/// # Errors
///
/// A malformed filter, or a process that has a subscriber already.
pub fn start_log(style: LogStyle, filter: &str) -> Result<(), LogError> {
    let colour = style == LogStyle::Text && wants_colour();
    let started = subscriber(style, filter, colour, io::stderr)?.try_init();
    started.map_err(|error| LogError::Started(Box::new(error)))
}

fn subscriber<W>(style: LogStyle, filter: &str, colour: bool, writer: W) -> Result<AnySubscriber, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let parsed = EnvFilter::builder().parse(filter);
    let filter = parsed.map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    let log = fmt::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour);
    Ok(match style {
        LogStyle::Text => Box::new(log.finish()),
        LogStyle::Json => Box::new(log.json().flatten_event(true).with_span_list(false).finish()),
    })
}

fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(style: LogStyle) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = subscriber(style, "warn,quiet=off", false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(log, || {
            let _request = tracing::error_span!("request", tenant = "acme").entered();
            tracing::warn!(target: "loud", count = 3, "it happened");
            tracing::info!(target: "loud", "too small to tell");
            tracing::error!(target: "quiet", "switched off");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_lines_have_the_span_and_the_fields() {
        let text = logged(LogStyle::Text);
        assert!(text.ends_with("WARN request{tenant=\"acme\"}: loud: it happened count=3\n"), "{text}");
        assert_eq!(text.lines().count(), 1, "the filter holds");
    }

    #[test]
    fn json_lines_have_the_span_and_the_fields() {
        let line: serde_json::Value = serde_json::from_str(&logged(LogStyle::Json)).unwrap();
        assert_eq!((&line["message"], &line["count"]), (&"it happened".into(), &3.into()));
        assert_eq!((&line["level"], &line["span"]["tenant"]), (&"WARN".into(), &"acme".into()));
    }

    #[test]
    fn a_bad_filter_is_refused() {
        let error = start_log(LogStyle::Text, "tenon=loud").unwrap_err();
        assert_eq!(error.to_string(), "`tenon=loud` is no log filter");
    }
}
