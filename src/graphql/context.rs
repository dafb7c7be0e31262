//! What a resolver may ask of its context: the services, the caller, the loaders.

use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, Result};

use super::error::{Code, coded};
use super::loader::Loaders;
use crate::app::{Caller, Role, Services};

/// Typed access to what a request carries.
pub trait ContextExt<'a> {
    /// The services of the process.
    fn services(&self) -> &'a Services;
    /// Who asks.
    ///
    /// # Errors
    /// UNAUTHENTICATED if the request carries no token.
    fn caller(&self) -> Result<&'a Caller>;
    /// Who asks, if the token allows at least what `role` does.
    ///
    /// # Errors
    /// UNAUTHENTICATED without a token; FORBIDDEN, naming the role, with one that does not suffice.
    fn require(&self, role: Role) -> Result<&'a Caller>;
    /// The loaders of this request, bound to the caller's workspace.
    ///
    /// # Errors
    /// UNAUTHENTICATED if the request carries no token.
    fn loaders(&self) -> Result<&'a DataLoader<Loaders>>;
}

impl<'a> ContextExt<'a> for Context<'a> {
    fn services(&self) -> &'a Services {
        self.data_opt()
            .expect("the schema is built with its services")
    }

    fn caller(&self) -> Result<&'a Caller> {
        self.data_opt().ok_or_else(unauthenticated)
    }

    fn require(&self, role: Role) -> Result<&'a Caller> {
        let caller = self.caller()?;
        if caller.role >= role {
            return Ok(caller);
        }
        let message = format!(
            "This needs a token with the role {role}, and yours has {}; `cadenza token create \
             --role {}` makes one.",
            caller.role,
            role.to_string().to_lowercase()
        );
        Err(coded(Code::Forbidden, message))
    }

    fn loaders(&self) -> Result<&'a DataLoader<Loaders>> {
        self.data_opt().ok_or_else(unauthenticated)
    }
}

fn unauthenticated() -> async_graphql::Error {
    coded(Code::Unauthenticated, super::error::NO_TOKEN)
}
