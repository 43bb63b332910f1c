//! Queries: what is not documented is refused, and nothing is done.

use http::StatusCode;

use super::{
    super::{openapi, queries},
    desk::Desk,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_takes_a_parameter_that_is_not_documented() {
    let desk = Desk::new(false);
    desk.stored("acme", &[]).await;
    let document = openapi::whole();
    let mut count = 0;
    for (path, item) in &document.paths.paths {
        let named = path.replace("{tenant}", "acme").replace("{module}", "tasks").replace("{flag}", "export");
        let named = named.replace("{key}", "7").replace("{id}", "7");
        for (method, operation) in openapi::operations(item) {
            count += 1;
            let names: Vec<_> = queries::names(operation).collect();
            // A name of another operation is none here either.
            for unknown in ["surprise", "dryRun"] {
                if names.contains(&unknown) {
                    continue;
                }
                for query in [format!("{unknown}=true"), unknown.to_owned(), format!("&{unknown}=")] {
                    let answer = desk.ask(method.as_str(), &format!("{named}?{query}")).await;
                    let (status, code, message) = answer.refusal();
                    assert_eq!((status, &*code), (400, "REQUEST_INVALID"), "{method} {path}?{query}: {message}");
                    assert!(message.contains(&format!("`{unknown}`")), "{method} {path}?{query}: {message}");
                }
            }
            if method == "GET" {
                let answer = desk.ask("HEAD", &format!("{named}?surprise=1")).await;
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "HEAD {path}");
            }
        }
    }
    assert_eq!(count, 51);
    let acme = desk.store.tenant(&"acme".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(acme.revision, 1, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_refused_only_behind_the_door_and_where_there_is_a_route() {
    let desk = Desk::new(false);
    let without = http::Request::builder().uri("/admin/v1/status?surprise=1");
    assert_eq!(desk.send(without, axum::body::Body::empty()).await.refusal().1, "UNAUTHENTICATED");
    assert_eq!(desk.ask("GET", "/admin/v1/nothing?surprise=1").await.refusal().1, "ROUTE_NOT_FOUND");
    assert_eq!(desk.ask("PUT", "/admin/v1/status?surprise=1").await.refusal().1, "METHOD_NOT_ALLOWED");
    assert_eq!(desk.ask("GET", "/admin/v1/status?").await.status, StatusCode::OK);
}
