//! What can't be written at all.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_never_takes_is_refused_and_not_away() {
    let Some(place) = Place::new("what is too large for the database") else { return };
    let event = NewEvent {
        tenant: id("acme"),
        publisher: "herald".parse().unwrap(),
        name: "large".to_owned(),
        event_id: "large".to_owned(),
        body: vec![b'1'; 17 << 20],
        published_at: 10,
        subscribers: vec!["tasks".parse().unwrap()],
        most_waiting: 10,
    };
    let refused = place.store().publish(event, None).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}
