//! A copy of what another store holds: documents come with the revisions that they have there.

use std::sync::Arc;

use super::{SqliteStore, StoreError, definitions, marks, tenants};
use crate::{
    names::TenantId,
    stores::{Mark, StoredDefinitions, TenantDocument},
};

impl SqliteStore {
    /// Takes tenants over; those that are `gone` are forgotten. What is here and newer stays.
    pub(in crate::stores) async fn adopt(
        &self,
        documents: Vec<Arc<TenantDocument>>,
        gone: Vec<TenantId>,
    ) -> Result<(), StoreError> {
        self.write(move |connection| tenants::adopt(connection, &documents, &gone)).await
    }

    /// Takes over all tenants above `after` and up to `until`: what is here and not among them, nor `unreadable` there,
    /// is forgotten.
    pub(in crate::stores) async fn adopt_page(
        &self,
        after: Option<TenantId>,
        until: Option<TenantId>,
        documents: Vec<Arc<TenantDocument>>,
        unreadable: Vec<TenantId>,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            tenants::adopt_page(connection, (after.as_ref(), until.as_ref()), &documents, &unreadable)
        })
        .await
    }

    /// Takes marks over, all that there are.
    pub(in crate::stores) async fn adopt_marks(&self, all: Vec<Mark>) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.prepare_cached("DELETE FROM marks")?.execute([])?;
            all.iter().try_for_each(|mark| marks::set(connection, mark))
        })
        .await
    }

    /// Takes the definitions of flags over, or that there are none.
    pub(in crate::stores) async fn adopt_definitions(
        &self,
        found: Option<StoredDefinitions>,
    ) -> Result<(), StoreError> {
        self.write(move |connection| definitions::adopt(connection, found.as_ref())).await
    }
}
