//! The library in somebody else's program: a host inside this process, asked through its own functions.

use std::{fs, sync::Arc, time::Duration};

use tenon_host::{
    app::Host,
    config::Config,
    names::TenantId,
    refusals,
    tenancy::{Change, Dependencies, Mode, NewTenant, TenancyError},
};

use crate::harness::{Ask, Setup};

fn config(setup: &Setup) -> Config {
    Config {
        plugins: setup.plugins(),
        data: setup.data(),
        listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: ([127, 0, 0, 1], 0).into(),
        dev: true,
        ..Config::default()
    }
}

fn enable(module: &str) -> Change {
    let module = module.parse().unwrap();
    Change::Enable { module, version: None, isolation: None, dependencies: Dependencies::EnableToo }
}

/// A program keeps its host in an `Arc` and hands it from task to task.
const _: () = {
    const fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Host>();
};

#[test]
fn a_host_is_started_asked_and_stopped_inside_another_program() {
    let setup = Setup::with(&["hr-core", "tasks"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = runtime.block_on(Host::builder().config(config(&setup)).start()).unwrap();

    let registry = host.registry();
    let names: Vec<&str> = registry.names().map(|name| name.as_str()).collect();
    assert_eq!(names, ["hr-core", "tasks"]);
    let order = registry.graph().get_load_order(&["tasks".parse().unwrap(), "hr-core".parse().unwrap()]).unwrap();
    assert_eq!(order.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["hr-core", "tasks"]);

    let acme: TenantId = "acme".parse().unwrap();
    runtime.block_on(async {
        host.tenants().create(NewTenant { id: acme.clone(), name: None }).await.unwrap();
        let report = host.tenants().change(&acme, enable("tasks"), None, "tester", Mode::Commit).await.unwrap();
        assert_eq!(report.enabled.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["hr-core", "tasks"]);
        let loaded = host.tenants().change(&acme, Change::Load, None, "tester", Mode::Commit).await.unwrap();
        assert_eq!(loaded.modules.len(), 2);
    });
    let answer =
        Ask::new(host.address(), "GET", "/api/v1/tasks/items").header("x-tenant-id", "acme").by("ada", "").send();
    answer.expect(200);
    assert_eq!((host.stats().instances, host.libraries().live.len()), (2, 2));
    assert!(fs::read_to_string(host.admin_token_path()).is_ok_and(|token| token.trim().len() >= 32));

    let tenants = host.tenants().clone();
    let address = host.address();
    runtime.block_on(host.shutdown());
    assert!(Ask::new(address, "GET", "/").try_send().is_err(), "nobody listens any more");
    let late = runtime.block_on(tenants.load(&"other".parse().unwrap())).unwrap_err();
    assert_eq!((&late, late.code()), (&TenancyError::ShuttingDown, "SHUTTING_DOWN"));
    assert_eq!(refusals::of_tenancy(&late).message(), "The host is shutting down");
}

#[test]
fn a_file_is_seen_at_once_where_the_program_asks_for_it() {
    let setup = Setup::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let host = Host::builder().config(config(&setup)).sweep_every(Duration::from_millis(20)).start().await.unwrap();
        assert_eq!(host.registry().names().count(), 0);
        setup.add("answers");
        host.rescan(None).await.unwrap();
        let registry = host.registry();
        assert_eq!(registry.get("answers").len(), 1);
        assert!(Arc::ptr_eq(&registry.get("answers")[0], &host.registry().get("answers")[0]));
        host.shutdown().await;
    });
}

#[test]
fn a_host_that_can_not_start_says_why_and_leaves_nothing() {
    let setup = Setup::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    fs::write(setup.data(), "a file where the folder should be").unwrap();
    let error = runtime.block_on(Host::builder().config(config(&setup)).start()).unwrap_err();
    assert!(error.to_string().contains("data"), "{error}");

    fs::remove_file(setup.data()).unwrap();
    let first = runtime.block_on(Host::builder().config(config(&setup)).start()).unwrap();
    let taken = Config { data: setup.folder().join("second"), listen: first.address(), ..config(&setup) };
    let error = runtime.block_on(Host::builder().config(taken).start()).unwrap_err();
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    runtime.block_on(first.shutdown());
}
