//! The database schema, as a list of frozen steps.
//!
//! A migration that has been released is never edited; a change is a new file. Migrations name
//! tables and columns as literals and never import the entities, which move on without them.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

mod audit;
mod inbound;
mod m20261123_000001_initial;
mod oauth;
mod sqlite_facts;
mod webhook;
mod workflow;

/// Runs every migration that a database has not had yet, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261123_000001_initial::Migration)]
    }
}
