//! Which parameters a query may have: those that the OpenAPI document has for the operation, and no others. A parameter that
//! nobody reads would be taken for one that holds, as `dryRun` of a change that is made all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    extract::{MatchedPath, Query, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::Method;
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, ParameterIn},
};

use super::{openapi, refusal::Refusal};
use crate::problem::Problem;

/// The parameters of each operation, by path and method.
#[derive(Debug, Clone)]
pub(super) struct Queries(Arc<BTreeMap<(String, Method), BTreeSet<String>>>);

impl Queries {
    /// Those of a document.
    pub(super) fn of(document: &OpenApi) -> Self {
        let mut queries = BTreeMap::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in openapi::operations(item) {
                queries.insert((path.clone(), method), names(operation).map(str::to_owned).collect());
            }
        }
        Self(Arc::new(queries))
    }

    /// What is wrong with the query of a request.
    fn check(&self, request: &Request) -> Result<(), Problem> {
        if request.uri().query().is_none_or(str::is_empty) {
            return Ok(());
        }
        // Whatever GET refuses, HEAD does.
        let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
        let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let Some(known) = path.and_then(|path| self.0.get(&(path, method.clone()))) else { return Ok(()) };
        let asked = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let Query(asked) = asked.map_err(|_| Problem::request_invalid("The query is malformed"))?;
        match asked.into_iter().find(|(name, _)| !known.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(unknown(&name, known)),
        }
    }
}

fn unknown(name: &str, known: &BTreeSet<String>) -> Problem {
    let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Problem::request_invalid(format!("The query is malformed: unknown parameter `{name}`, known here: {known}"))
}

/// The parameters that an operation's query may have.
pub(super) fn names(operation: &Operation) -> impl Iterator<Item = &str> {
    operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(&*parameter.name),
        _ => None,
    })
}

/// Lets a request through whose query has only what is documented.
pub(super) async fn pass(State(queries): State<Queries>, request: Request, next: Next) -> Response {
    match queries.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => Refusal::from(problem).into_response(),
    }
}
