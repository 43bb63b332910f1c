//! Tenant traffic: hyper with interned route tables and nothing between. A request takes one snapshot, passes
//! the guards in their written order, and is lent to an instance.

mod admission;
mod body;
mod call;
mod calls;
mod connection;
mod crew;
mod cors;
mod door;
mod guards;
mod head_timer;
mod listener;
mod naming;
mod ofrep;
mod patient;
mod proxies;
mod respond;
mod serve;

pub use body::AnswerBody;
pub use crew::Crew;
pub use door::{Door, DoorSettings};
pub use listener::{Gateway, GatewaySettings, Listener, RuntimeMode};
pub use naming::TenantNaming;
pub use ofrep::OfrepSettings;
pub use proxies::TrustedProxies;
