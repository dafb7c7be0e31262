//! What a resolver may ask of its context: the services, the caller, the loaders.

use async_graphql::{Context, Result};

use super::error::{Code, coded};
use super::loader::Asking;
use crate::app::{Caller, Role, Services};

/// Typed access to what a request carries.
pub trait ContextExt<'a> {
    /// The services of the process.
    fn services(&self) -> &'a Services;
    /// Who asks, for something of the whole workspace.
    ///
    /// # Errors
    /// UNAUTHENTICATED if the request carries no token; FORBIDDEN with one that is limited to some
    /// sequences.
    fn caller(&self) -> Result<&'a Caller>;
    /// Who asks, for something that a token may be limited in: the resolver narrows what it reads
    /// and changes to the caller's scope.
    ///
    /// # Errors
    /// UNAUTHENTICATED if the request carries no token.
    fn caller_within(&self) -> Result<&'a Caller>;
    /// As [`ContextExt::caller`], if the token allows at least what `role` does.
    ///
    /// # Errors
    /// As [`ContextExt::caller`]; FORBIDDEN, naming the role, with a token that does not suffice.
    fn require(&self, role: Role) -> Result<&'a Caller>;
    /// As [`ContextExt::caller_within`], if the token allows at least what `role` does.
    ///
    /// # Errors
    /// As [`ContextExt::caller_within`]; FORBIDDEN, naming the role, with a token that does not
    /// suffice.
    fn require_within(&self, role: Role) -> Result<&'a Caller>;
    /// The loaders of this request, bound to the caller's workspace.
    ///
    /// # Errors
    /// UNAUTHENTICATED if the request carries no token.
    fn loaders(&self) -> Result<&'a Asking>;
}

impl<'a> ContextExt<'a> for Context<'a> {
    fn services(&self) -> &'a Services {
        self.data_opt()
            .expect("the schema is built with its services")
    }

    fn caller(&self) -> Result<&'a Caller> {
        let caller = self.caller_within()?;
        if caller.scope.is_all() {
            return Ok(caller);
        }
        let message = "This needs a token for the whole workspace, and yours is limited to some \
                       sequences; an admin makes one by tokenCreate without sequenceIds.";
        Err(coded(Code::Forbidden, message))
    }

    fn caller_within(&self) -> Result<&'a Caller> {
        self.data_opt().ok_or_else(unauthenticated)
    }

    fn require(&self, role: Role) -> Result<&'a Caller> {
        self.require_within(role)?;
        self.caller()
    }

    fn require_within(&self, role: Role) -> Result<&'a Caller> {
        let caller = self.caller_within()?;
        if caller.role >= role {
            return Ok(caller);
        }
        let message = format!(
            "This needs a token with the role {role}, and yours has {}; an admin makes one by \
             tokenCreate.",
            caller.role
        );
        Err(coded(Code::Forbidden, message))
    }

    fn loaders(&self) -> Result<&'a Asking> {
        self.data_opt().ok_or_else(unauthenticated)
    }
}

fn unauthenticated() -> async_graphql::Error {
    coded(Code::Unauthenticated, super::error::NO_TOKEN)
}
