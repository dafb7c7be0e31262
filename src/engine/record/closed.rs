//! Addresses that must not be contacted any more, as messages to them have told.

use super::Recording;
use crate::domain::event::EventKind;
use crate::domain::lead::{Happening, StopReason};
use crate::engine::{Letter, Result};
use crate::store::dispatch::OpenExecution;

impl Recording<'_> {
    /// The address refuses for good: the lead stops, and nobody writes to it again.
    pub(super) fn bounced(&mut self, mut open: OpenExecution, letter: &Letter) -> Result<()> {
        let address = open.channel.zip(letter.address());
        self.bounced.push((open.id, address));
        open.lead.bounced = true;
        self.event(&open, EventKind::Bounced, None);
        self.moved(open, &Happening::Stop(StopReason::Bounced))
    }

    /// The contact has told the provider to let no more messages through, as by answering STOP: the
    /// lead stops, and nobody writes to the address on this channel again.
    pub(super) fn opted_out(&mut self, open: OpenExecution, letter: &Letter) -> Result<()> {
        let (addresses, messages) = &mut self.opted_out;
        // Also of somebody who has been erased meanwhile, or has another address by now.
        addresses.extend(open.channel.zip(letter.address()));
        messages.push(open.id);
        self.event(&open, EventKind::Unsubscribed, None);
        self.moved(open, &Happening::Stop(StopReason::Unsubscribed))
    }
}
