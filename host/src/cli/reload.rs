//! `tenon reload`: the plugins folder, read now.

use http::Method;

use super::{
    answers::{NamedVersion, Reloaded},
    args::Reload,
    client::{Client, segment},
    failure::Failure,
    output::Output,
    table::Table,
};

/// Reads the folder and shows what differs.
pub(super) fn reload(host: &Client, json: bool, what: &Reload) -> Result<Output, Failure> {
    let path = what
        .module
        .as_deref()
        .map_or("/admin/v1/reload".to_owned(), |module| format!("/admin/v1/modules/{}/reload", segment(module)));
    let answer = host.send(Method::POST, &path, None)?;
    if json {
        return Ok(Output::json(&answer));
    }
    let reloaded: Reloaded = host.view(&answer)?;
    let mut table = Table::new(&["CHANGE", "MODULE", "VERSION", "PROBLEM"]);
    let mut lines = 0;
    for (what, versions) in [("added", reloaded.added), ("replaced", reloaded.replaced), ("removed", reloaded.removed)]
    {
        for NamedVersion { module, version } in versions {
            lines += 1;
            table.row([what.to_owned(), module, version, String::new()]);
        }
    }
    for rejected in reloaded.rejected {
        lines += 1;
        let problem = format!("{}: {}", rejected.code, rejected.problems.join("; "));
        table.row(["kept out".to_owned(), rejected.path, String::new(), problem]);
    }
    Ok(if lines == 0 { Output::default().remark("nothing has changed") } else { Output::text(table) })
}
