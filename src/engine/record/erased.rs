//! Of somebody who was erased while a message was on its way, it is recorded what became of the message,
//! and nothing that says whose it was.

use std::collections::HashSet;

use super::Recording;
use crate::domain::erasure::{ERASED, forgotten};
use crate::domain::id::{ExecutionId, LeadId};
use crate::domain::lead::LeadStatus;
use crate::engine::Result;
use crate::store::claim::LeadRow;
use crate::store::person::erasure;

impl Recording<'_> {
    /// Takes out of what will be written whatever says something of people who are erased. Their leads are
    /// over, and locked: who is erased later finds what is written here.
    pub(super) async fn forget_erased(&mut self, tx: &sea_orm::DatabaseTransaction) -> Result<()> {
        let stopped = <&str>::from(LeadStatus::Stopped);
        let completed = <&str>::from(LeadStatus::Completed);
        let over: Vec<LeadId> = self
            .leads
            .iter()
            .filter(|lead| lead.status == stopped || lead.status == completed)
            .map(LeadRow::lead_id)
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        let erased = erasure::leads_of_erased(tx, &over).await?;
        if !erased.is_empty() {
            self.forget(&erased);
        }
        Ok(())
    }

    fn forget(&mut self, erased: &HashSet<LeadId>) {
        for lead in &mut self.leads {
            if erased.contains(&lead.lead_id()) {
                lead.thread = None;
            }
        }
        let executions: HashSet<ExecutionId> = self
            .of
            .iter()
            .filter(|(_, lead)| erased.contains(lead))
            .map(|(execution, _)| *execution)
            .collect();
        for settled in &mut self.settled {
            if executions.contains(&settled.id) {
                settled.response = None;
                if let Some((_, message)) = &mut settled.error {
                    *message = ERASED.to_owned();
                }
            }
        }
        // Whoever is erased has no address to be kept from; who has opted out stays so.
        for (message, address) in &mut self.bounced {
            if executions.contains(message) {
                *address = None;
            }
        }
        self.kept
            .retain(|kept| !executions.contains(&kept.execution_id));
        for event in &mut self.events {
            let is_of_erased = event.lead_id.is_some_and(|lead| erased.contains(&lead));
            if is_of_erased && let Some(kept) = event.detail.as_ref().and_then(forgotten) {
                event.detail = Some(kept);
            }
        }
    }
}
