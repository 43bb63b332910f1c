//! Who needs whom, and in which order: the catalog's resolver over HTTP.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{Json, OfModule, module_name},
    modules_wire::DependencyItem,
    refusal::Refusal,
    state::Shared,
};
use crate::{catalog::Catalog, names::ModuleName, problem::Problem};

/// What a module needs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tree {
    pub(super) module: String,
    /// Whether all that it needs is in the registry, without a circle.
    pub(super) valid: bool,
    /// The same for people.
    pub(super) message: String,
    /// All that it requires, directly or through others, dependencies first; optional dependencies are not here.
    pub(super) requires: Vec<String>,
    /// The module and everything in `requires`, by name.
    pub(super) nodes: Vec<Node>,
}

/// One module of a tree.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Node {
    pub(super) name: String,
    /// The newest in the registry; left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// What that version uses, optional ones too.
    pub(super) dependencies: Vec<DependencyItem>,
}

/// Modules to be ordered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    #[schema(example = json!(["tasks", "hr-core"]))]
    names: Vec<String>,
}

/// The order in which they are loaded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Order {
    /// What a module uses comes before it, ties by name; only those that were asked for.
    #[schema(example = json!(["hr-core", "tasks"]))]
    order: Vec<String>,
}

/// Shows what a module needs, directly or through others.
#[utoipa::path(get, path = "/admin/v1/modules/{module}/tree", tag = "modules", operation_id = "moduleTree",
    params(("module" = String, Path, description = "Name of the module")),
    responses((status = 200, description = "By the newest version of each", body = Tree)))]
pub(super) async fn tree(State(admin): State<Shared>, OfModule(name): OfModule) -> Result<axum::Json<Tree>, Refusal> {
    let catalog = admin.tenancy.catalog();
    require_known(&catalog, &name)?;
    let graph = catalog.graph();
    let requires = graph.get_dependency_tree(&name);
    let validation = graph.validate_dependencies(&name);
    let mut nodes: Vec<Node> = requires.iter().chain([&name]).map(|name| node(&catalog, name)).collect();
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(axum::Json(Tree {
        module: name.to_string(),
        valid: validation.valid,
        message: validation.message,
        requires: requires.iter().map(ToString::to_string).collect(),
        nodes,
    }))
}

/// Puts modules into the order in which they are loaded.
#[utoipa::path(post, path = "/admin/v1/modules/order", tag = "modules", operation_id = "orderModules",
    request_body = Names,
    responses((status = 200, description = "Dependencies first", body = Order)))]
pub(super) async fn order(State(admin): State<Shared>, Json(asked): Json<Names>) -> Result<axum::Json<Order>, Refusal> {
    let catalog = admin.tenancy.catalog();
    let names = asked.names.iter().map(|name| module_name(name)).collect::<Result<Vec<_>, _>>()?;
    for name in &names {
        require_known(&catalog, name)?;
    }
    let ordered = catalog.graph().get_load_order(&names);
    let ordered = ordered.map_err(|cycle| Problem::module_circular_dependency(&cycle.0))?;
    Ok(axum::Json(Order { order: ordered.iter().map(ToString::to_string).collect() }))
}

fn require_known(catalog: &Catalog, name: &ModuleName) -> Result<(), Problem> {
    if catalog.get(name.as_str()).is_empty() { Err(Problem::module_not_found(name.as_str())) } else { Ok(()) }
}

fn node(catalog: &Catalog, name: &ModuleName) -> Node {
    let newest = catalog.get(name.as_str()).first();
    Node {
        name: name.to_string(),
        version: newest.map(|candidate| candidate.version.to_string()),
        dependencies: newest.map(|candidate| DependencyItem::all(candidate)).unwrap_or_default(),
    }
}
