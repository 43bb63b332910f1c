//! What every story uses: the real programs, hosts that never outlive their test, requests, commands, and modules
//! that are damaged on purpose.

mod artifacts;
mod client;
mod command;
mod host;
mod mail_sink;
mod module_file;
mod services;
mod site;
mod stream;
mod wait;

pub(crate) use artifacts::artifacts;
pub(crate) use client::{Answer, Ask};
pub(crate) use command::{Ran, tenon};
pub(crate) use host::{Host, Setup};
pub(crate) use mail_sink::{MailSink, Manner};
pub(crate) use module_file::{NewModule, with_section};
pub(crate) use services::{MongoServer, RedisServer};
pub(crate) use site::Site;
pub(crate) use stream::Events;
pub(crate) use wait::{LONG, until, until_some};
