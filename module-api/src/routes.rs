//! The table of handlers that a module offers.

use std::fmt;

use crate::{
    handler::{Erased, Handler, erase},
    module::Module,
};

/// A method of HTTP that a route can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are HTTP's own")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// As HTTP writes it, upper case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Collects a module's handlers; each path is written as in `module.toml`, under the module's base.
pub struct Routes<M> {
    pub(crate) entries: Vec<Entry<M>>,
}

pub(crate) struct Entry<M> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) handler: Erased<M>,
}

impl<M> fmt::Debug for Routes<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| (entry.method.as_str(), &entry.path))).finish()
    }
}

impl<M: Module> Routes<M> {
    pub(crate) fn of_module() -> Self {
        let mut routes = Self { entries: Vec::new() };
        M::routes(&mut routes);
        routes
    }

    /// A handler for GET.
    pub fn get<A: 'static, H>(&mut self, path: &str, handler: H) -> &mut Self
    where
        H: for<'a> Handler<'a, M, A, Fut: Send>,
    {
        self.on(Method::Get, path, handler)
    }

    /// A handler for POST.
    pub fn post<A: 'static, H>(&mut self, path: &str, handler: H) -> &mut Self
    where
        H: for<'a> Handler<'a, M, A, Fut: Send>,
    {
        self.on(Method::Post, path, handler)
    }

    /// A handler for PUT.
    pub fn put<A: 'static, H>(&mut self, path: &str, handler: H) -> &mut Self
    where
        H: for<'a> Handler<'a, M, A, Fut: Send>,
    {
        self.on(Method::Put, path, handler)
    }

    /// A handler for PATCH.
    pub fn patch<A: 'static, H>(&mut self, path: &str, handler: H) -> &mut Self
    where
        H: for<'a> Handler<'a, M, A, Fut: Send>,
    {
        self.on(Method::Patch, path, handler)
    }

    /// A handler for DELETE.
    pub fn delete<A: 'static, H>(&mut self, path: &str, handler: H) -> &mut Self
    where
        H: for<'a> Handler<'a, M, A, Fut: Send>,
    {
        self.on(Method::Delete, path, handler)
    }

    /// A handler for a method named as a value.
    // `Fut: Send` stands here and not in the impls of `Handler`: only then does the compiler name the value
    // that isn't `Send` and the await it is held across.
    pub fn on<A: 'static, H>(&mut self, method: Method, path: &str, handler: H) -> &mut Self
    where
        H: for<'a> Handler<'a, M, A, Fut: Send>,
    {
        self.entries.push(Entry { method, path: path.to_owned(), handler: erase(handler) });
        self
    }
}
