//! From the text of a `module.toml` to a [`Manifest`]: judges `host-api` first, then reports every problem
//! of every key at once.

use std::{fmt, str::FromStr};

use module_api::stamp::StampFields;
use semver::{Version, VersionReq};
use toml::de::DeTable;

use super::{
    declared::Manifest,
    parse_tables as tables,
    source::{ManifestProblem, Problems, Section, Value},
};

/// The keys that stand above the first table.
const TOP_LEVEL: [&str; 13] = [
    "name",
    "display-name",
    "category",
    "version",
    "description",
    "authors",
    "license",
    "host-api",
    "provides-to",
    "subscribes",
    "publishes",
    "outbound",
    "models",
];

/// Why a text gives no [`Manifest`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// It was written for other hosts. Its other keys were not judged: a later host may know more of them.
    #[error("needs a host with module-api `{range}`, this host has {host}")]
    HostApi {
        /// What `host-api` asks for.
        range: VersionReq,
        /// What this host has.
        host: Version,
    },
    /// All that is wrong with it, in the order of the text.
    #[error("{}", lines(.0))]
    Invalid(Vec<ManifestProblem>),
}

fn lines(problems: &[ManifestProblem]) -> String {
    problems.iter().map(ManifestProblem::to_string).collect::<Vec<_>>().join("\n")
}

impl Manifest {
    /// Reads a `module.toml` as a host with module-api version `host` does; `stamp` gives what it leaves out.
    ///
    /// # Errors
    ///
    /// [`ManifestError::HostApi`] if the host is outside `host-api`, else [`ManifestError::Invalid`].
    pub fn parse(text: &[u8], stamp: &StampFields, host: &Version) -> Result<Self, ManifestError> {
        let mut problems = Problems::default();
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                problems.add(error.valid_up_to(), "", "the text is not UTF-8 from here on");
                let readable = String::from_utf8_lossy(&text[..error.valid_up_to()]);
                return Err(ManifestError::Invalid(problems.listed(&readable)));
            }
        };
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for error in errors {
                problems.add(error.span().map_or(0, |span| span.start), "", error.message().trim());
            }
            return Err(ManifestError::Invalid(problems.listed(text)));
        }
        let mut root = Section::root(document.get_ref());
        let host_api = match root.take("host-api") {
            Some(value) => value.parsed::<VersionReq>(&mut problems),
            None => stamped(&format!("^{}", stamp.api_version), "host-api", &mut problems),
        };
        if let Some(range) = host_api.as_ref().filter(|range| !range.matches(host)) {
            return Err(ManifestError::HostApi { range: range.clone(), host: host.clone() });
        }
        match (read(root, text, stamp, host_api, &mut problems), problems.is_empty()) {
            (Some(manifest), true) => Ok(manifest),
            _ => Err(ManifestError::Invalid(problems.listed(text))),
        }
    }
}

/// A value that `module.toml` leaves to the stamp.
fn stamped<T: FromStr<Err: fmt::Display>>(text: &str, key: &str, problems: &mut Problems) -> Option<T> {
    let refuse = |error| problems.add(0, key, format!("is left to the stamp, which says `{text}`: {error}"));
    text.parse().map_err(refuse).ok()
}

/// Reads all keys but `host-api`. `None` only with a problem reported.
fn read(
    mut root: Section<'_>,
    text: &str,
    stamp: &StampFields,
    host_api: Option<VersionReq>,
    problems: &mut Problems,
) -> Option<Manifest> {
    let name = root.need("name", problems).and_then(|value| value.parsed(problems));
    let display_name = root.take("display-name").and_then(|value| value.line(problems));
    let category = root.take("category").and_then(|value| value.line(problems));
    let version = match root.take("version") {
        Some(value) => value.parsed(problems),
        None => stamped(&stamp.version, "version", problems),
    };
    let description = root.take("description").map(|value| value.text(problems).unwrap_or_default().to_owned());
    let authors = root
        .take("authors")
        .map(|value| value.items(problems).iter().filter_map(|author| author.line(problems)).map(Box::from).collect());
    let license = root.take("license").map(|value| value.line(problems).unwrap_or_default());
    let provides_to = root.take("provides-to").map(|value| distinct(&value, problems).into());
    let publishes = root.take("publishes").map(|value| distinct(&value, problems).into()).unwrap_or_default();
    let subscribes = root.take("subscribes");
    let outbound = root.take("outbound").map(|value| distinct(&value, problems).into()).unwrap_or_default();
    let depends_on = root.take("dependencies");
    let dependencies = depends_on.as_ref().map(|value| tables::dependencies(value, problems)).unwrap_or_default();
    let pricing = root.take("pricing").and_then(|value| tables::pricing(&value, text, problems));
    let features = root.take("features").map(|value| tables::features(&value, problems)).unwrap_or_default();
    let models = root.take("models").map(|value| tables::models(&value, problems)).unwrap_or_default();
    let settings = root.take("settings").and_then(|value| tables::settings(&value, problems));
    let routes = root.take("routes").and_then(|value| tables::routes(&value, &features, problems));
    root.finish(&[], problems);

    let subscribes = subscribes.map(|value| subscriptions(&value, depends_on.as_ref(), problems)).unwrap_or_default();
    let name: crate::names::ModuleName = name?;
    Some(Manifest {
        display_name: display_name.map_or_else(|| name.as_str().into(), Box::from),
        name,
        category: category.map(Box::from),
        version: version?,
        description: description.unwrap_or_else(|| stamp.description.clone()).into(),
        authors: authors
            .unwrap_or_else(|| stamp.authors.split(':').filter(|author| !author.is_empty()).map(Box::from).collect()),
        license: license.unwrap_or_else(|| stamp.license.clone()).into(),
        host_api: host_api?,
        provides_to,
        publishes,
        subscribes: subscribes.into(),
        outbound,
        dependencies,
        pricing: pricing.map(Box::new),
        features,
        models,
        settings: settings.map(Box::new),
        routes,
    })
}

/// The items of an array of texts, sorted; one that is listed twice is a problem.
pub(super) fn distinct<T>(list: &Value<'_>, problems: &mut Problems) -> Vec<T>
where
    T: FromStr<Err: fmt::Display> + Ord,
{
    let mut read: Vec<T> = Vec::new();
    for item in list.items(problems) {
        let Some(value) = item.parsed::<T>(problems) else { continue };
        match read.binary_search(&value) {
            Ok(_) => item.wrong("is listed twice", problems),
            Err(place) => read.insert(place, value),
        }
    }
    read
}

/// Events can only come from modules that are there when this one is. What counts is that the name stands
/// in `[dependencies]`: a mistake beside it is reported there.
fn subscriptions(
    list: &Value<'_>,
    depends_on: Option<&Value<'_>>,
    problems: &mut Problems,
) -> Vec<super::declared::Subscription> {
    let known = |module: &str| depends_on.is_some_and(|it| it.toml().get(module).is_some());
    for item in list.items(&mut Problems::default()) {
        let module = item.toml().as_str().and_then(|text| text.split_once(':')).map(|(module, _)| module);
        if let Some(module) = module.filter(|module| !known(module)) {
            let message = format!("names module `{}`, which is not in [dependencies]", super::source::shown(module));
            item.wrong(message, problems);
        }
    }
    distinct(list, problems)
}

/// Reports keys that a table does not have, with a hint for those that belong above the first table.
pub(super) fn finish(section: Section<'_>, problems: &mut Problems) {
    section.finish(&TOP_LEVEL, problems);
}
