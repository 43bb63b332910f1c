//! The two addresses a host listens on. Both are loopback: a host in development mode takes nothing else.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::failure::{Doing, Result};

const TENANTS: u16 = 8080;
const ADMIN: u16 = 8081;

/// Where tenants and operators are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// Tenant traffic.
    pub(super) tenants: SocketAddr,
    /// Operator traffic.
    pub(super) admin: SocketAddr,
}

impl Ports {
    /// The documented ports, each replaced by a free one where somebody else has it.
    pub(super) fn usual_or_free() -> Result<Self> {
        Self::first_free(TENANTS, ADMIN)
    }

    /// Ports that nobody uses.
    pub(super) fn free() -> Result<Self> {
        Self::first_free(0, 0)
    }

    /// True where both are the documented ones.
    pub(super) fn are_usual(self) -> bool {
        self.tenants.port() == TENANTS && self.admin_is_usual()
    }

    /// True where the command line finds the host without being told.
    pub(super) fn admin_is_usual(self) -> bool {
        self.admin.port() == ADMIN
    }

    /// Both are held until both are known, so they differ. Between here and the host's own bind somebody else may
    /// take one; the host then says so and ends.
    fn first_free(tenants: u16, admin: u16) -> Result<Self> {
        let tenants = listen(tenants)?;
        let admin = listen(admin)?;
        let address = |listener: &TcpListener| listener.local_addr().doing(|| "read a port".to_owned());
        Ok(Self { tenants: address(&tenants)?, admin: address(&admin)? })
    }
}

fn listen(wanted: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_taken| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .doing(|| "find a free port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = taken.local_addr().unwrap().port();
        let ports = Ports::first_free(number, 0).unwrap();
        assert_ne!(ports.tenants.port(), number);
        assert_ne!(ports.tenants, ports.admin);
        assert!(!ports.are_usual());
    }
}
