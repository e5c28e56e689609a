//! What a program is asked: one JSON object, one line.
//!
//! A block is sent several times under different schedules. Only the schedule differs, so the block
//! and the state before it are written once and kept until another block comes.

use std::sync::{Arc, Weak};

use comparator::{Failure, Schedule, StateEntryJson};
use storage_snapshot::AssetId;

use super::{BlockJson, PROTOCOL};
use crate::{
    execute::{ExecutableBlock, PreState},
    rules::RULES,
};

/// A request in the parts that are written one after another.
pub(super) type Parts<'a> = [&'a [u8]; 3];

/// Asks who the program is, and tells it what it will be asked.
pub(super) fn initialize(id: u64) -> String {
    let native = AssetId::NATIVE;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"initialize\",\"params\":\
         {{\"protocol\":{PROTOCOL},\"rules\":\"{RULES}\",\"native_asset\":\"{native}\"}}}}\n"
    )
}

/// Asks the program to end.
pub(super) fn shutdown(id: u64) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"shutdown\",\"params\":{{}}}}\n")
}

/// Asks for the execution of a block; what follows is the block, and then [`END`].
pub(super) fn execute_block(id: u64, schedule: Schedule) -> String {
    let Schedule { workers, seed } = schedule;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"execute_block\",\"params\":\
         {{\"schedule\":{{\"workers\":{workers},\"seed\":{seed}}},"
    )
}

/// The end of a request that holds a block.
pub(super) const END: &[u8] = b"}}\n";

/// A block and the state before it, as they stand in a request.
#[derive(Debug)]
pub(super) struct EncodedBlock {
    // Weak, so that a block does not live as long as the memory of it; and while they are held no
    // other block can come to lie at the same place.
    block: Weak<ExecutableBlock>,
    pre_state: Weak<PreState>,
    /// The fields `block` and `pre_state`.
    fields: Vec<u8>,
}

impl EncodedBlock {
    /// Writes a block.
    ///
    /// # Errors
    ///
    /// When it has no JSON form. Such a block is not for executors, so the program is not at fault;
    /// but whoever asks all the same must not be answered as if it were executed.
    pub(super) fn new(
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
    ) -> Result<Self, Failure> {
        let failure = |error: &dyn std::fmt::Display| Failure::Error(format!("not asked: {error}"));
        let json = BlockJson::try_from(&**block).map_err(|error| failure(&error))?;
        // A value that is not known is not listed. The control came to its end without it, so no
        // right execution needs it.
        let entries = pre_state.iter().map(|(key, value)| StateEntryJson::new(&key, Some(value)));
        let mut fields = b"\"block\":".to_vec();
        serde_json::to_writer(&mut fields, &json).map_err(|error| failure(&error))?;
        fields.extend(b",\"pre_state\":");
        let entries: Vec<_> = entries.collect();
        serde_json::to_writer(&mut fields, &entries).map_err(|error| failure(&error))?;
        Ok(Self { block: Arc::downgrade(block), pre_state: Arc::downgrade(pre_state), fields })
    }

    /// Whether this is what was written.
    pub(super) fn is(&self, block: &Arc<ExecutableBlock>, pre_state: &Arc<PreState>) -> bool {
        self.block.as_ptr() == Arc::as_ptr(block)
            && self.pre_state.as_ptr() == Arc::as_ptr(pre_state)
    }

    pub(super) fn fields(&self) -> &[u8] {
        &self.fields
    }
}
