//! Other modules in a test: answers to this one's calls, judged by the rules of a host before they are asked.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderName, HeaderValue, Method, Uri, header};
use serde::de::DeserializeOwned;

use crate::{
    Module,
    abi::{FAILURE_MISUSE, FAILURE_UNREACHABLE, RawCall, RawFailure, RawHeader},
};

use super::{
    TestAnswer, TestHost,
    answer::{Answerer, answerer},
    executor::lock,
    lend::{Behalf, behalf},
    scope::id_of_work,
    store::failure,
    world::World,
};

/// Headers that say who asks, for whom, or how a connection is to be treated: the host's to say.
const NOT_FROM_MODULES: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A call of the module under test to one that it depends on, as that one would see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CalledRequest {
    /// Who is asked.
    pub module: String,
    /// Upper case, such as `GET`.
    pub method: String,
    /// Under the other module's base, without the query, such as `/employees/7`.
    pub path: String,
    /// What follows `?`, still encoded, may be empty.
    pub query: String,
    /// Names in lower case; those that only a host may set are gone.
    pub headers: Vec<(String, String)>,
    /// May be empty.
    pub body: Vec<u8>,
    /// In whose name it is made.
    pub user: Option<String>,
    /// Those of the user; of a call in the module's own name `module:NAME` alone.
    pub roles: Vec<String>,
    /// Whether it is made in the module's own name.
    pub as_module: bool,
    /// The id of the request that it is made in.
    pub id: String,
}

impl CalledRequest {
    /// Method and path, as `GET /employees/7`: what most tests tell calls apart by.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The value of a header, by name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    ///
    /// Where it is no `T`; the call is named.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let read = serde_json::from_slice(&self.body);
        read.unwrap_or_else(|error| panic!("the body of {} to {} can't be read: {error}", self.line(), self.module))
    }
}

/// The other modules, and what they were asked.
#[derive(Default)]
pub(super) struct Peers {
    answers: BTreeMap<String, Answerer<CalledRequest>>,
    asked: Vec<CalledRequest>,
}

/// Other modules.
impl<M: Module> TestHost<M> {
    /// With a module that this one depends on; the closure answers its calls. Without, an optional dependency is
    /// absent and a required one can't be reached. The closure stands behind the other module's guards: which roles
    /// it asks for is the closure's to say.
    ///
    /// A closure that panics, as by an assertion, fails the test when the module has ended its work.
    ///
    /// # Panics
    ///
    /// Where `module.toml` does not name the module under `[dependencies]`.
    #[must_use]
    #[track_caller]
    pub fn module(self, name: &str, answer: impl FnMut(&CalledRequest) -> TestAnswer + Send + 'static) -> Self {
        self.set_module(name, answer);
        self
    }

    /// As [`TestHost::module`], while the instance lives: enables the other module, or lets it answer otherwise.
    ///
    /// # Panics
    ///
    /// As [`TestHost::module`].
    #[track_caller]
    pub fn set_module(&self, name: &str, answer: impl FnMut(&CalledRequest) -> TestAnswer + Send + 'static) {
        let declared = &self.world.manifest.dependencies;
        assert!(declared.contains_key(name), "module.toml does not name `{name}` under [dependencies]");
        lock(&self.world.peers).answers.insert(name.to_owned(), answerer(answer));
    }

    /// Disables another module.
    pub fn remove_module(&self, name: &str) {
        let removed = lock(&self.world.peers).answers.remove(name);
        drop(removed);
    }

    /// The calls to other modules so far, in their order.
    pub fn calls(&self) -> Vec<CalledRequest> {
        lock(&self.world.peers).asked.clone()
    }
}

/// Who answers a call, and what they are asked; `None` where an optional module is absent. Reads what the call borrows.
pub(super) fn read(
    world: &World,
    instance: u64,
    call: RawCall,
) -> Result<Option<(Answerer<CalledRequest>, CalledRequest)>, RawFailure> {
    let module = call.module.as_str();
    let Some(is_optional) = world.manifest.dependencies.get(module) else {
        return misuse(format!("module `{module}` is not among the dependencies"));
    };
    let as_module = call.behalf.is_null();
    let caller = if as_module {
        let id = id_of_work(instance).unwrap_or_else(|| world.next_id());
        Behalf { user: None, roles: vec![format!("module:{}", world.manifest.name)], id }
    } else {
        let foreign = || failure(FAILURE_MISUSE, "the request was not made to this instance");
        behalf(&call, instance).ok_or_else(foreign)?
    };
    let Some(answerer) = lock(&world.peers).answers.get(module).map(Arc::clone) else {
        let text = format!("module `{module}` does not run for the tenant; a test gives it by `TestHost::module`");
        return if *is_optional { Ok(None) } else { Err(failure(FAILURE_UNREACHABLE, text)) };
    };
    let (path, query) = read_path(&call.path)?;
    let Ok(method) = call.method.parse::<Method>() else {
        return misuse(format!("`{}` is no method", call.method));
    };
    let request = CalledRequest {
        module: module.to_owned(),
        method: method.to_string(),
        path,
        query,
        headers: read_headers(&call.headers)?,
        body: call.body.into_vec(),
        user: caller.user,
        roles: caller.roles,
        as_module,
        id: caller.id,
    };
    lock(&world.peers).asked.push(request.clone());
    Ok(Some((answerer, request)))
}

fn misuse<T>(text: String) -> Result<T, RawFailure> {
    Err(failure(FAILURE_MISUSE, text))
}

fn read_path(text: &str) -> Result<(String, String), RawFailure> {
    if !text.starts_with('/') {
        return misuse(format!("the path `{text}` does not begin with `/`"));
    }
    let uri: Uri = text.parse().or_else(|error| misuse(format!("the path `{text}` can't be: {error}")))?;
    Ok((uri.path().to_owned(), uri.query().unwrap_or_default().to_owned()))
}

fn read_headers(given: &[RawHeader]) -> Result<Vec<(String, String)>, RawFailure> {
    let mut headers = Vec::new();
    for RawHeader { name, value } in given {
        let (Ok(name), Ok(_)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            return misuse(format!("the header `{name}` can't be sent"));
        };
        if !NOT_FROM_MODULES.contains(&name) && !name.as_str().starts_with("x-forwarded-") {
            headers.push((name.to_string(), value.as_str().to_owned()));
        }
    }
    Ok(headers)
}
