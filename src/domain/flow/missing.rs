//! Which merge tags of a step have no value for a lead.

use super::compile::compile_step;
use super::{CompiledStep, Content, Step, Work};
use crate::domain::template::{MergeData, RenderError};

/// The merge tags without a value and without a default that keep a step's text from being made for a
/// lead of this bucket; none where nothing is missing, or where the text cannot be made at all.
pub fn missing_tags(step: &Step, bucket: i32, data: &MergeData<'_>) -> Vec<String> {
    // Whether an email begins its thread makes no difference to its tags.
    let compiled = compile_step(step, false);
    compiled.map_or_else(|_| Vec::new(), |step| step.missing_tags(bucket, data))
}

impl CompiledStep {
    fn missing_tags(&self, bucket: i32, data: &MergeData<'_>) -> Vec<String> {
        let rendered = match &self.work {
            Work::Message { .. } => self.variant(bucket).map(|variant| match &variant.content {
                Content::Email(content) => content.render(data).err(),
                Content::Text(content) => content.render(data).err(),
            }),
            Work::Task(task) => {
                let title = task.title.render(data).err();
                let instructions = task.instructions.as_ref();
                Some(title.or_else(|| instructions?.render(data).err()))
            }
            Work::Webhook(webhook) => webhook.body.as_ref().map(|body| body.render(data).err()),
            Work::Condition(_) | Work::Split(_) | Work::Update(_) | Work::End => None,
        };
        match rendered.flatten() {
            Some(RenderError::Missing(tags)) => tags,
            Some(RenderError::TooLong { .. } | RenderError::Failed(_)) | None => Vec::new(),
        }
    }
}
